"""Asking before what can't be undone: the name has to be typed, or --yes given."""

from __future__ import annotations

import sys

import click

from appliance.core.errors import UsageError


def confirm(what: str, typed: str, *, yes: bool) -> None:
    """Go on only if the person means it.

    Args:
        what: What will happen, a sentence.
        typed: What has to be typed, such as the device's id.
        yes: --yes was given.
    Raises:
        UsageError: `not_confirmed`: something else was typed, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{what} Nobody is there to confirm it.",
            hint="Give --yes to do it all the same.",
            code="not_confirmed",
        )
    click.echo(what, err=True)
    answer = click.prompt(f"Type {typed} to confirm", default="", show_default=False, err=True)
    if answer != typed:
        raise UsageError("Nothing was changed.", hint=f"Type {typed} exactly.", code="not_confirmed")
