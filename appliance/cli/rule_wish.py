"""What `homeport rule` takes to say for which devices a rule is and what it looks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from appliance.core.errors import UsageError
from appliance.core.limits_alarms import RULE_FILE_BYTES_MAX
from appliance.management.rule import SEVERITIES

F = TypeVar("F", bound=Callable[..., Any])


def wish_options(function: F) -> F:
    """--metric, --above, … and --definition for what has no option."""
    for option in reversed(
        (
            click.option("--metric", help="A metric's name, or one with * in place of a part."),
            click.option("--above", type=float, help="A value above this."),
            click.option("--below", type=float, help="A value below this."),
            click.option("--hysteresis", type=float, help="How far back it must be until it is over."),
            click.option(
                "--no-data",
                "no_data_s",
                type=float,
                help="No reading for 3 times so many seconds; 0 for what is usual.",
            ),
            click.option(
                "--stuck", "stuck_s", type=float, help="A value that has not moved for so many seconds."
            ),
            click.option("--for", "on_delay_s", type=float, help="So long it must be so, seconds."),
            click.option("--over-for", "off_delay_s", type=float, help="So long it must be over, seconds."),
            click.option("--severity", type=click.Choice(SEVERITIES), help="How bad it is; P2 if not given."),
            click.option("--text", help="What whoever sees the alarm is to do."),
            click.option(
                "--definition",
                type=click.Path(path_type=Path),
                help="A JSON file with the rest; - for standard input.",
            ),
        )
    ):
        function = option(function)
    return function


def condition_of(options: dict[str, Any]) -> dict[str, Any] | None:
    """The condition that was given; None for none. Raises UsageError: more than one, or a part of none."""
    found: list[dict[str, Any]] = [
        {"kind": "threshold", "is": word, "limit": options[word]}
        for word in ("above", "below")
        if options[word] is not None
    ]
    if options["no_data_s"] is not None:
        found.append({"kind": "no_data", "expected_s": options["no_data_s"] or None})
    if options["stuck_s"] is not None:
        found.append({"kind": "stuck", "for_s": options["stuck_s"]})
    if len(found) > 1:
        raise UsageError(
            "A rule looks for one thing.",
            hint="Add a rule for each; between two limits is a threshold `inside`, by --definition.",
        )
    if options["hysteresis"] is not None:
        if not found or found[0]["kind"] != "threshold":
            raise UsageError("--hysteresis goes with --above or --below.", hint="Give one of them as well.")
        found[0]["hysteresis"] = options["hysteresis"]
    return found[0] if found else None


def read_file(file: Path, standard_input: TextIO) -> Any:
    """What a file of JSON says; - is standard input.

    Raises:
        UsageError: `file_unreadable`: not there, too large, or no JSON.
    """
    try:
        if str(file) == "-":
            text = standard_input.read(RULE_FILE_BYTES_MAX + 1)
        else:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(RULE_FILE_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(
            f"{file} can't be read: {reason}.", hint="Name another file.", code="file_unreadable"
        ) from error
    if len(text) > RULE_FILE_BYTES_MAX:
        raise UsageError(f"{file} is larger than 1 MiB.", hint="Split it.", code="file_unreadable")
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{file} is no JSON: {error}.",
            hint="`homeport rule export` shows how a rule is written.",
            code="file_unreadable",
        ) from error
