"""What every verb shares: its options, how it prints, and how its errors come out."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from appliance.cli.exit_codes import exit_code
from appliance.core import config as configuration
from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.run import layout
from appliance.run.local_api import LocalApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The shared options of a verb.

    Attributes:
        config_path: From --config, None if not given.
        json: The answer is to be one JSON document on standard output.
    """

    config_path: Path | None
    json: bool

    def config(self) -> Config:
        """Load the configuration. Raises ConfigError."""
        return configuration.load(self.config_path, os.environ)

    def api(self) -> LocalApi:
        """A client of the node. Raises ConfigError."""
        return LocalApi(layout.node_socket(self.config()))

    def emit(self, data: Any, text: str) -> None:
        """Print the answer: `data` as JSON, or `text` for people."""
        click.echo(json.dumps(data, indent=2, default=str) if self.json else text)


def verb(function: Callable[..., Any]) -> Callable[..., None]:
    """Give a command --config and --json, and turn its errors into a message, a hint and an exit code.

    The function gets a `Context` first.
    """

    @click.option(
        "--config", "config_path", type=click.Path(path_type=Path), help="The configuration file to read."
    )
    @click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document.")
    @functools.wraps(function)
    def wrapped(*args: Any, config_path: Path | None, as_json: bool, **kwargs: Any) -> None:
        context = Context(config_path=config_path, json=as_json)
        try:
            function(context, *args, **kwargs)
        except HomeportError as error:
            fail(error, as_json)

    return wrapped


def shows_blocks() -> bool:
    """Whether standard output can carry the block characters of a QR code."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")


def fail(error: HomeportError, as_json: bool) -> NoReturn:
    """Print an error and end with its exit code."""
    if as_json:
        problem = {"code": error.code, "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"error": problem}, indent=2))
    else:
        click.secho(_lines(error.message), err=True, fg="red")
        if error.hint:
            click.echo(_lines(error.hint), err=True)
    sys.exit(exit_code(error))


def table(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """Rows as aligned text, without what a terminal would take for a command: much of what stands in them devices have said.

    Args:
        rows: What to show; a key that a row lacks is shown empty.
        columns: key → heading, in order.
    """
    if not rows:
        return "(none)"
    lines = [list(columns.values())] + [[printable(_cell(row.get(key))) for key in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def printable(value: object) -> str:
    """A value without what a terminal would take for a command: texts come from devices."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(value))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
