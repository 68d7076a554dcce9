"""The replicator's control socket: questions, answers, and those who ask nonsense."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from appliance.core.errors import Conflict, HomeportError, Unavailable
from appliance.core.limits_replication import CONTROL_ASKING_COUNT_MAX, CONTROL_QUESTION_BYTES_MAX
from replication.control import ControlServer, ask, decode_error


async def answer(question: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if question == "fail":
        raise Conflict("No.", hint="Never.", code="never")
    if question == "hang":
        await trio.sleep_forever()
    return {"asked": question, **fields}


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Path]:
    path = folder / "replicator.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(path, answer).serve)
        yield path
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_a_question_is_answered_and_an_error_comes_as_it_was_raised(tmp_path: Path) -> None:
    async with served(tmp_path) as path:
        assert oct(path.stat().st_mode)[-3:] == "600"
        assert await ask(path, "status", of="all") == {"asked": "status", "of": "all"}
        with pytest.raises(Conflict) as caught:
            await ask(path, "fail")
        assert (caught.value.message, caught.value.hint, caught.value.code) == ("No.", "Never.", "never")


async def test_nobody_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable) as caught:
        await ask(tmp_path / "none.sock", "status")
    assert caught.value.code == "replicator_away"
    monkeypatch.setattr("replication.control.CONTROL_TIMEOUT_S", 0.1)
    async with served(tmp_path) as path:
        with pytest.raises(Unavailable):
            await ask(path, "hang")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (CONTROL_QUESTION_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\0\0\0\1\xc1",
        b"\0\0\0\1\x01",
        len(msgpack.packb({"t": "what"})).to_bytes(4, "big") + msgpack.packb({"t": "what"}),
    ],
)
async def test_nonsense_ends_the_connection_and_nothing_else(tmp_path: Path, data: bytes) -> None:
    async with served(tmp_path) as path:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(data)
            with trio.fail_after(60):
                while await stream.receive_some():
                    pass
        assert await ask(path, "status") == {"asked": "status"}


async def test_so_many_may_ask_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as path:
        streams = [await trio.open_unix_socket(path) for _ in range(CONTROL_ASKING_COUNT_MAX)]
        for stream in streams:
            assert await stream.receive_some()
        with pytest.raises(Unavailable):
            await ask(path, "status")
        for stream in streams:
            await stream.aclose()
        with trio.fail_after(60):
            while True:
                try:
                    assert await ask(path, "status")
                    break
                except Unavailable:
                    await trio.sleep(0.01)


def test_an_answer_of_another_version_is_an_error() -> None:
    assert decode_error({"kind": "?"}).code == "replicator_away"
    assert type(decode_error({"kind": "New", "message": "m", "hint": "", "code": "c"})) is HomeportError
