"""The manual page homeport(1), from the command line itself, so that it has every verb and option there is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from appliance.cli import main as homeport


def escaped(text: str) -> str:
    """Text as roff takes it: no escape, no request at the start of a line, hyphens that can be copied, lists of choices that break."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("|", "|\\:")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in text.splitlines())


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that name it."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for inner in command.list_commands(context):
        found = command.get_command(context, inner)
        assert found is not None
        yield from commands(f"{name} {inner}", found)


def described(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    arguments = [piece for parameter in command.params for piece in parameter.get_usage_pieces(context)]
    yield f".SS {escaped(' '.join([name, *arguments]))}"
    yield escaped(" ".join((command.help or "").split()))
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            yield f".TP\n.B {escaped(record[0])}\n{escaped(record[1])}"


def page(version: str) -> Iterator[str]:
    date = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC).date()
    yield f'.TH HOMEPORT 1 "{date}" "Homeport {version}" "Homeport"\n.ad l'  # a list of choices fills a line by itself
    yield ".SH NAME\nhomeport \\- MQTT broker, append\\-only log and time\\-series store for a site"
    yield ".SH SYNOPSIS\n.B homeport\n.I VERB\n.RI [ OPTION ...]"
    yield ".SH DESCRIPTION"
    yield "The command line of Homeport. The verbs talk to the running service; root and the user"
    yield ".B homeport\nmay use it. What a verb that changes data does while the service is stopped, it does as that user."
    yield ".SH VERBS"
    for name, command in commands("homeport", homeport):
        yield from described(name, command)
    yield ".SH FILES"
    yield ".TP\n.I /etc/homeport/homeport.toml\nThe configuration."
    yield ".TP\n.I /var/lib/homeport\nEverything that must survive: log, catalog, time\\-series store, keys."
    yield ".TP\n.I /usr/share/doc/homeport\nThe documentation; docs/INSTALL.md is where to begin."


def main(version: str) -> None:
    sys.stdout.write("\n".join(page(version)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
