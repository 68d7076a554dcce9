from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import trio

from appliance.core import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_away_from_a_terminal_every_line_is_json() -> None:
    stream = io.StringIO()
    logs.set_up(process="node", level="info", format="auto", stream=stream)
    logs.get("room.module").info("segment sealed", bytes=7, path=object)
    logging.getLogger("library").warning("%s happened", "it")
    ours, theirs = _lines(stream)
    assert ours["event"] == "segment sealed"
    assert ours["bytes"] == 7
    assert (ours["process"], ours["level"], ours["logger"]) == ("node", "info", "room.module")
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["logger"], theirs["process"]) == ("it happened", "library", "node")


def test_on_a_terminal_lines_are_for_people() -> None:
    stream = Terminal()
    logs.set_up(process="node", level="info", format="auto", stream=stream)
    logs.get("x").info("segment sealed")
    assert "segment sealed" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    logs.set_up(process="node", level="warning", format="json", stream=stream)
    logs.get("x").info("quiet")
    logs.get("x").warning("loud")
    assert [line["event"] for line in _lines(stream)] == ["loud"]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_secrets_are_never_written(stream: io.StringIO) -> None:
    logs.set_up(process="node", level="info", format="auto", stream=stream)
    log = logs.get("x")
    log.info("a", token="hunter2", headers={"Authorization": "hunter2", "path": "/"}, setup_code="hunter2")
    secret = "hunter2"
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("b", password=secret)
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count(logs.REDACTED) == 4
    assert "ValueError: bad" in stream.getvalue()


async def test_every_line_of_a_trace_carries_its_id_and_no_other() -> None:
    stream = io.StringIO()
    logs.set_up(process="node", level="info", format="json", stream=stream)
    log = logs.get("x")

    async def work(name: str) -> None:
        with logs.trace() as trace_id:
            assert logs.current_trace_id() == trace_id
            await trio.lowlevel.checkpoint()
            log.info(name, expected=trace_id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, "a")
        nursery.start_soon(work, "b")
    log.info("outside")
    with logs.trace("ab" * 16):
        log.info("given", expected="ab" * 16)
    lines = _lines(stream)
    assert len({line.get("trace_id") for line in lines}) == 4
    assert all(line.get("trace_id") == line.get("expected") for line in lines)


def test_a_verb_has_warnings_on_standard_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.warnings_only():
        logs.get("x").info("nobody needs to know")
        logs.get("x").warning("look here")
    written = capsys.readouterr()
    assert written.out == ""
    assert "look here" in written.err
    assert "nobody" not in written.err


def test_a_verbs_warnings_hold_no_secret_and_no_variable(capsys: pytest.CaptureFixture[str]) -> None:
    passphrase = "a quiet " + "sentence"
    with logs.warnings_only():
        try:
            raise ValueError("broken")
        except ValueError:
            logs.get("x").exception("it failed", password=passphrase)
    said = capsys.readouterr().err
    assert "ValueError: broken" in said
    assert logs.REDACTED in said
    assert passphrase not in said
