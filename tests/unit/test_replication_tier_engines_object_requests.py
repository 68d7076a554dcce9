"""Requests to an object store: each within its time, counted, tried again where that is right, and in our words when it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.object_engine import ObjectStoreEngine
from replication.tier.engines.object_requests import AlreadyThere
from replication.tier.engines.opening import opening
from tests.s3_stand_in import S3StandIn, s3_stand_in


@pytest.fixture
def store() -> Iterator[S3StandIn]:
    with s3_stand_in() as running:
        yield running


@asynccontextmanager
async def engine_of(store: S3StandIn) -> AsyncIterator[ObjectStoreEngine]:
    async with opening(store.address("site"), store.credentials)() as engine:
        assert isinstance(engine, ObjectStoreEngine)
        yield engine


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (403, "AccessDenied", "s3:GetObject"),
        (403, "InvalidAccessKeyId", "credentials"),
        (403, "SignatureDoesNotMatch", "credentials"),
        (401, "ExpiredToken", "credentials"),
        (403, "RequestTimeTooSkewed", "clock"),
    ],
)
async def test_what_people_must_mend_is_said_without_what_was_signed(
    store: S3StandIn, status: int, code: str, word: str
) -> None:
    async with engine_of(store) as engine:
        store.fault = lambda method, path: (status, code)
        asked = len(store.asked)
        with pytest.raises(TierUnfit) as caught:
            await engine.get_object("x")
        assert len(store.asked) == asked + 1, "it was tried again"
    assert code in str(caught.value)
    assert word in str(caught.value)
    assert "AKID" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "right"),
    [
        ("PUT", "s3:PutObject"),
        ("GET", "s3:GetObject"),
        ("LIST", "s3:ListBucket"),
        ("DELETE", "s3:DeleteObject"),
    ],
)
async def test_the_right_that_is_missing_is_named(store: S3StandIn, method: str, right: str) -> None:
    def forbid(asked: str, path: str) -> tuple[int, str] | None:
        kind = (
            "LIST"
            if path.rstrip("/") == "/copies" and asked == "GET"
            else {"POST": "DELETE"}.get(asked, asked)
        )
        return (403, "AccessDenied") if kind == method else None

    store.fault = forbid
    with pytest.raises(TierUnfit, match=right):
        async with engine_of(store) as engine:
            await engine.remove_object("x")


async def test_a_bucket_that_is_not_there(store: S3StandIn) -> None:
    async with engine_of(store) as engine:
        store.fault = lambda method, path: (404, "NoSuchBucket")
        with pytest.raises(TierUnfit, match="no such bucket"):
            await engine.put_object("x", b"x")
        with pytest.raises(TierUnfit, match="no such bucket"):
            await engine.get_object("x")
        with pytest.raises(TierUnfit, match="no such bucket"):
            await engine.epochs()


async def test_a_store_that_stumbles_is_asked_again_and_counted(store: S3StandIn) -> None:
    async with engine_of(store) as engine:
        before = engine.statistics()
        left = [(503, "SlowDown"), (500, "InternalError")]
        store.fault = lambda method, path: left.pop() if left else None
        assert await engine.get_object("x") is None
        after = engine.statistics()
        assert after.requests["get"] == before.requests["get"] + 3
        assert after.failed_count == before.failed_count + 2
        store.fault = lambda method, path: (503, "SlowDown")
        with pytest.raises(TierAway, match="SlowDown"):
            await engine.get_object("x")
        asked = len(store.asked)
        with pytest.raises(TierAway):
            await engine.put_object("x", b"x")
        assert len(store.asked) == asked + 1, "a second try could not tell who put what is there"


async def test_a_store_that_does_not_answer_is_away_when_the_time_is_up(
    store: S3StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.tier.engines.pace.TIER_CALL_S", 1)
    async with engine_of(store) as engine:
        hung = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def hang(method: str, path: str) -> None:
            trio.from_thread.run(hung.wait, trio_token=token)

        store.fault = hang
        rate = engine.statistics().bytes_per_s
        with pytest.raises(TierAway, match="within 1 s"):
            await engine.put_object("x", bytes(100_000))
        now = engine.statistics().bytes_per_s
        assert now is not None
        assert rate is None or now < rate
        assert engine.piece_bytes_max < 1_000_000
        hung.set()


async def test_what_is_there_already_is_no_failure(store: S3StandIn) -> None:
    async with engine_of(store) as engine:
        with pytest.raises(AlreadyThere):
            await engine._ask.put("probe", b"x")
        assert engine.statistics().failed_count == 0
