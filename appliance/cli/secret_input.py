"""Passwords for verbs: from the terminal, unseen and twice, or the first line of standard input; never from arguments, which
other users of the machine can read.
"""

from __future__ import annotations

import sys
from typing import Final

import click

from appliance.core.errors import UsageError

LINE_BYTES_MAX: Final = 4096


def read_new_password() -> str:
    """A new password, not yet checked.

    Raises:
        UsageError: `password_missing`: standard input is empty.
    """
    if sys.stdin.isatty():
        typed: str = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    line = sys.stdin.readline(LINE_BYTES_MAX).rstrip("\r\n")
    if not line:
        raise UsageError(
            "There is no password on standard input.",
            hint="Type it at a terminal, or send it as one line: homeport … < FILE",
            code="password_missing",
        )
    return line


def read_secret(label: str, *, is_new: bool) -> str:
    """A secret that is kept for somebody else: typed unseen, or the first line of standard input.

    Args:
        label: What it is called at a terminal.
        is_new: It is typed twice.
    Raises:
        UsageError: `password_missing`: standard input is empty.
    """
    if sys.stdin.isatty():
        typed: str = click.prompt(label, hide_input=True, confirmation_prompt=is_new, err=True)
        return typed
    line = sys.stdin.readline(LINE_BYTES_MAX).rstrip("\r\n")
    if not line:
        raise UsageError(
            f"There is no {label.lower()} on standard input.",
            hint="Type it at a terminal, or send it as one line: homeport … < FILE",
            code="password_missing",
        )
    return line


def read_passphrase(*, asked: bool, is_new: bool) -> bytes:
    """A key's passphrase, b"" where none is asked for.

    Args:
        is_new: It is typed twice.
    Raises:
        UsageError: `password_missing`: standard input is empty.
    """
    if not asked:
        return b""
    if sys.stdin.isatty():
        typed: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
        return typed.encode()
    line = sys.stdin.readline(LINE_BYTES_MAX).rstrip("\r\n")
    if not line:
        raise UsageError(
            "There is no passphrase on standard input.",
            hint="Type it at a terminal, or send it as one line: homeport … < FILE",
            code="password_missing",
        )
    return line.encode()


def confirm(question: str, *, yes: bool) -> None:
    """Have somebody say yes to what can't be undone.

    Args:
        yes: They said so with --yes.
    Raises:
        UsageError: `not_confirmed`: they didn't, or there is no terminal to ask at.
    """
    if yes or (sys.stdin.isatty() and click.confirm(question, err=True)):
        return
    raise UsageError(f"{question} That was not confirmed.", hint="Give --yes.", code="not_confirmed")
