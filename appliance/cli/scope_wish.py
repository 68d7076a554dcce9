"""What verbs take to say which devices something is for: a rule, a maintenance, a rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def scope_options(function: F) -> F:
    """--device, --group, --tag, --all, --except."""
    for option in reversed(
        (
            click.option("--device", "devices", multiple=True, help="A device's id; repeatable."),
            click.option("--group", "groups", multiple=True, help="All devices of a group; repeatable."),
            click.option("--tag", "tags", multiple=True, help="All devices with a tag; repeatable."),
            click.option("--all", "all_", is_flag=True, help="All devices of the site."),
            click.option("--except", "except_", multiple=True, help="A device that is left out; repeatable."),
        )
    ):
        function = option(function)
    return function


def scope_of(options: dict[str, Any]) -> dict[str, Any] | None:
    """The scope that was given; None for none."""
    found: dict[str, Any] = {
        name: list(options[option])
        for name, option in (
            ("devices", "devices"),
            ("groups", "groups"),
            ("tags", "tags"),
            ("except", "except_"),
        )
        if options[option]
    }
    if options["all_"]:
        found["all"] = True
    return found or None
