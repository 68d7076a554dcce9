"""The command line: `homeport VERB`, one file per verb.

A verb parses, asks a room to do the work, and prints; each takes --json and --config. What an error's exit code is
stands in exit_codes.py, and nowhere else. A verb's module is imported when it is asked for, so that the supervisor,
which is one of them, doesn't carry the others' libraries with it.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from appliance.core.version import VERSION

VERBS: Final = (
    "run",
    "status",
    "setup-code",
    "recovery-kit",
    "ca",
    "certificate",
    "doctor",
    "device",
    "group",
    "tag",
    "twin",
    "command",
    "claim",
    "rollout",
    "work-queue",
    "user",
    "token",
    "session",
    "key",
    "client",
    "retained",
    "query",
    "bridge",
    "peer",
    "tier",
    "site",
    "conflict",
    "sim",
    "bench",
    "simulate",
    "log",
    "mapping",
    "dead-letter",
    "artifact",
    "backup",
    "restore",
    "drill",
    "archive",
    "retention",
    "trace",
    "rule",
    "alarm",
    "maintenance",
    "notify",
    "setting",
    "audit",
    "telemetry",
)


class _Verbs(click.Group):
    """The verbs, each a command of its own in the module of that name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"appliance.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version=VERSION, message="%(version)s")
def main() -> None:
    """Homeport: MQTT broker, append-only log and time-series store in one box."""
