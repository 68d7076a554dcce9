"""The documents say what the program does: every key, verb, option, exit code, metric and room is described."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import click
import pytest

from appliance.cli import main
from appliance.cli.exit_codes import EXIT_CODES
from appliance.core import config_text, limits, limits_requests
from appliance.core.config import BrokerConfig
from appliance.core.settings import settings_of
from appliance.management import permission_text
from broker.limit_counts import Limit
from broker.state.sessions import SessionsStatistics
from broker.tally import ConnectionTotals, PlaneStatistics

ROOT: Final = Path(__file__).parents[1]
WALKED: Final = [
    each for each in sorted(ROOT.iterdir()) if each.is_dir() and each.name[0] != "." and each.name != "var"
]
"""Not `var`: machines for tests of the package come and go there meanwhile."""
DOCUMENTS: Final = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(path for room in WALKED for path in room.rglob("DESIGN.md")),
    ]
)
ROOMS: Final = (
    "appliance/alarms",
    "appliance/anomalies",
    "appliance/notifications",
    "appliance/rules",
    "appliance/tracing",
    "appliance/watch",
    "appliance/device_requests",
    "appliance/twins",
    "appliance/updates",
    "storage/artifacts",
    "appliance/core",
    "appliance/device_port",
    "appliance/identity",
    "appliance/management",
    "appliance/pipeline",
    "appliance/run",
    "broker",
    "broker/bridge",
    "broker/mqtt",
    "broker/site",
    "broker/state",
    "device_fw_sim",
    "replication",
    "replication/gossip",
    "replication/link",
    "replication/membership",
    "replication/simulation",
    "replication/tier",
    "replication/tier/engines",
    "storage/catalog",
    "storage/catalog_stream",
    "storage/log",
    "storage/archive",
    "storage/backup",
    "storage/replicas",
    "storage/site",
    "storage/fleet",
    "storage/telemetry",
    "ui",
)
PASSED_ON: Final = ("sim", "bench")
"""Verbs whose arguments belong to a program of their own."""


@cache
def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that name it."""
    yield from commands_below("", main)


def commands_below(above: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands_below(f"{above}{name} ", command)
        else:
            yield f"{above}{name}", command


def test_every_key_is_described_with_its_default_and_bounds() -> None:
    described = re.search(r"<!-- keys -->\n(.*?)<!-- /keys -->", read("docs/CONFIGURATION.md"), re.DOTALL)
    assert described is not None
    assert described.group(1) == config_text.as_markdown(), "python -m appliance.core.config_text markdown"


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_verb_and_option_is_described(name: str, command: click.Command) -> None:
    text = read("docs/COMMANDS.md")
    assert f"`homeport {name}" in text
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(option in text for option in parameter.opts), f"{name} {parameter.opts}"


def test_every_verb_takes_json() -> None:
    for name, command in commands():
        options = {option for parameter in command.params for option in parameter.opts}
        assert name in PASSED_ON or {"--json", "--config"} <= options, name


def test_every_permission_is_described_with_its_role() -> None:
    described = re.search(
        r"<!-- permissions -->\n(.*?)<!-- /permissions -->", read("docs/PEOPLE.md"), re.DOTALL
    )
    assert described is not None
    assert described.group(1) == permission_text.as_markdown(), (
        "python -m appliance.management.permission_text"
    )


def test_every_exit_code_is_described() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| `(\w+)`: .+ \|$", read("docs/COMMANDS.md"))
    assert rows == [(str(code), kind.__name__) for kind, code in EXIT_CODES.items()]


def test_commands_that_documents_show_exist() -> None:
    known = {name for name, _ in commands()}
    shown = 0
    for path in (ROOT / "README.md", ROOT / "docs" / "HACKING.md"):
        for line in re.findall(r"(?m)^    (\S.*)$", path.read_text(encoding="utf-8")):
            words = line.split("#")[0].split()
            if words[0].startswith("scripts/"):
                assert (ROOT / words[0]).is_file(), line
                shown += 1
            elif words[0] == "homeport":
                assert any(" ".join(words[1:]).startswith(name) for name in known), line
                shown += 1
    assert shown > 8


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_why_it_is_as_it_is(room: str) -> None:
    text = read(f"{room}/DESIGN.md")
    assert len(text.split()) > 50
    assert f"../{room}/" in read("docs/ARCHITECTURE.md"), "the map doesn't show it"


def test_the_list_of_rooms_is_whole() -> None:
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for package in ("appliance", "broker", "storage", "replication", "ui", "device_fw_sim")
        for path in (ROOT / package).glob("**/__init__.py")
    }
    parts = {"appliance", "appliance/cli", "storage"}
    inner = {package for package in packages if package.startswith(("ui/", "device_fw_sim/"))}
    assert packages - parts - inner == set(ROOMS)


def test_every_metric_is_described() -> None:
    exported = set(re.findall(r'Described\("([a-z_]+)"', read("ui/metrics_table.py")))
    described = set(
        re.findall(r"(?m)^\| `([a-z_]+)` \| (?:gauge|counter|histogram) \|", read("docs/METRICS.md"))
    )
    assert exported
    # prometheus-client adds _total to a counter's name by itself.
    assert {name.removesuffix("_total") for name in exported} == {
        name.removesuffix("_total") for name in described
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.split("#")[0]).exists(), target


def test_the_changelog_names_what_is_to_come() -> None:
    assert "## Unreleased" in read("CHANGELOG.md")


def limit_rows() -> list[list[str]]:
    """The table of docs/LIMITS.md: limit, default, where, what is told, metric, test."""
    rows = re.findall(r"(?m)^\| (`\w+` \|.*) \|$", read("docs/LIMITS.md"))
    return [[cell.strip() for cell in re.split(r" \| ", row)] for row in rows]


@pytest.mark.parametrize("row", limit_rows(), ids=lambda row: row[0].strip("`"))
def test_a_limit_has_the_default_metric_and_test_that_the_table_says(row: list[str]) -> None:
    name, default, where, told, metric, shown_by = row
    value = int(default.split()[0].replace(",", ""))
    key = name.strip("`")
    if where == "key":
        assert value == getattr(BrokerConfig(), key)
    else:
        assert where in ("limits.py", "limits_requests.py")
        module = limits if where == "limits.py" else limits_requests
        assert value == getattr(module, key.upper())
    assert told
    metric = metric.strip("`")
    room, _, number = metric.rpartition(".")
    if room:
        known = {
            "plane": PlaneStatistics.__slots__,
            "connections": ConnectionTotals.__slots__,
            "retained": ("messages", "bytes", "refused"),
            "sessions": SessionsStatistics.__slots__,
        }
        assert number in known[room]
    else:
        assert metric in set(Limit)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert f"def {shown_by.strip('`')}(" in tests


def test_every_limit_that_is_counted_has_a_row() -> None:
    assert {row[4].strip("`") for row in limit_rows()} >= set(Limit)
    broker = settings_of(BrokerConfig)
    bounds = {name for name in broker if name.endswith(("_max", "maximum", "_timeout_ms"))}
    assert bounds <= {row[0].strip("`") for row in limit_rows()}
