"""Credentials come from private places only."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from device_fw_sim import credentials
from device_fw_sim.errors import OptionsError
from device_fw_sim.load import Credential

A = Credential(username="a", password="1")
B = Credential(username="b", password="2")


def private(folder: Path, text: str) -> str:
    path = folder / "credentials.json"
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"username": "a", "password": "1"}', (A,)),
        ('[{"device": "a", "token": "1"}, {"device_id": "b", "token": "2"}]', (A, B)),
        ('{"devices": [{"username": "a", "password": "1"}]}', (A,)),
    ],
)
def test_forms_of_the_file(tmp_path: Path, text: str, wanted: tuple[Credential, ...]) -> None:
    assert credentials.load(private(tmp_path, text), {}) == wanted


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path, '{"username": "a", "password": "1"}')
    Path(path).chmod(0o640)
    with pytest.raises(OptionsError, match="chmod 600"):
        credentials.load(path, {})


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"username": "a"}', '{"username": 1, "password": "1"}', '{"username": "", "password": ""}'],
)
def test_bad_file_is_refused_without_showing_a_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(OptionsError) as caught:
        credentials.load(private(tmp_path, text), {})
    assert caught.value.hint


def test_missing_file_and_wrong_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="can't be read"):
        credentials.load(str(tmp_path / "none"), {})
    path = private(tmp_path, "")
    Path(path).write_bytes(b"\xff")
    with pytest.raises(OptionsError, match="UTF-8"):
        credentials.load(path, {})


def test_environment() -> None:
    assert credentials.load(None, {}) == ()
    environ = {"HOMEPORT_SIM_USERNAME": "a", "HOMEPORT_SIM_PASSWORD": "1"}
    assert credentials.load(None, environ) == (A,)
    with pytest.raises(OptionsError, match="without"):
        credentials.load(None, {"HOMEPORT_SIM_USERNAME": "a"})


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"username": "a", "password": "1"}'))
    assert credentials.load("-", {}) == (A,)


def test_too_long_input_is_refused() -> None:
    with pytest.raises(OptionsError, match="8 MiB"):
        credentials.parse(" " * (8 * 1024 * 1024 + 1), "here")


def test_a_token_is_not_shown() -> None:
    assert "1" not in repr(A)
