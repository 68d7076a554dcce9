"""Passwords come from the terminal or standard input, and what can't be undone wants a yes."""

from __future__ import annotations

import io
from typing import Any

import click
import pytest

from appliance.cli.secret_input import confirm, read_new_password, read_secret
from appliance.core.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_of_standard_input_is_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" with spaces \r\nsecond line\n"))
    assert read_new_password() == " with spaces "
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(UsageError) as refused:
        read_new_password()
    assert refused.value.code == "password_missing"


def test_a_secret_for_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    assert read_secret("Secret", is_new=True) == "s3cret"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(UsageError, match="no secret on standard input"):
        read_secret("Secret", is_new=True)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(click, "prompt", lambda label, **options: f"{label} {options['confirmation_prompt']}")
    assert read_secret("Password", is_new=False) == "Password False"


def test_at_a_terminal_it_is_typed_unseen_and_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def prompt(text: str, **options: Any) -> str:
        asked.update(options)
        return "typed"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(click, "prompt", prompt)
    assert read_new_password() == "typed"
    assert (asked["hide_input"], asked["confirmation_prompt"]) == (True, True)


def test_yes_is_said_at_the_terminal_or_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    confirm("Remove it?", yes=True)
    with pytest.raises(UsageError) as refused:
        confirm("Remove it?", yes=False)
    assert refused.value.code == "not_confirmed"
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(click, "confirm", lambda question, **_: True)
    confirm("Remove it?", yes=False)
    monkeypatch.setattr(click, "confirm", lambda question, **_: False)
    with pytest.raises(UsageError):
        confirm("Remove it?", yes=False)
