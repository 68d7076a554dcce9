"""The node's watches: table, runbooks and sentences belong together."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from appliance.cli import main
from appliance.management.node_watches import WATCHES, definition_of, is_wrong, sentence
from appliance.management.rule import check

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"


@pytest.mark.parametrize("name", WATCHES)
def test_each_watch_is_a_rule_with_a_runbook(name: str) -> None:
    watched, definition = WATCHES[name], definition_of(name)
    check(watched.title, definition)
    assert definition.text == watched.todo
    text = (RUNBOOKS.parent / definition.runbook).read_text("utf-8")
    assert text.startswith(f"# {name}\n")
    for heading in ("## What it means", "## What to look at", "## When it is over"):
        assert len(text.partition(heading)[2].partition("##")[0].split()) >= 4, heading


def test_each_runbook_is_of_a_watch() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(WATCHES)


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_names_commands_that_there_are(path: Path) -> None:
    text = path.read_text("utf-8") + WATCHES[path.stem].todo
    for words in re.findall(r"`homeport ([a-z -]+)", text):
        command: click.Command = main
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            found = command.get_command(click.Context(command), word)
            assert found is not None, f"homeport {words}"
            command = found


def test_titles_are_names_of_rules_and_there_once() -> None:
    titles = [watched.title for watched in WATCHES.values()]
    assert len(set(titles)) == len(titles)


def test_a_limit_is_crossed_on_its_side() -> None:
    disk, lag = WATCHES["disk_days"], WATCHES["lag"]
    assert is_wrong(disk, None, 6.9)
    assert not is_wrong(disk, None, 7)
    assert not is_wrong(disk, 3, 6.9)
    assert is_wrong(lag, None, 61)
    assert not is_wrong(lag, 100, 61)


def test_it_says_number_and_limit() -> None:
    assert sentence(WATCHES["disk_days"], None, 3.456789).startswith(
        "At the present rate the disk is full in 3.457 days; 7"
    )
    assert "100 s are the limit" in sentence(WATCHES["lag"], 100, 161)
