"""Subjects and headers: what is named there comes back, whatever it is, and what somebody else put there is no piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.tier.engines.jetstream_names import (
    HEADER,
    PREFIX,
    epoch_of,
    header_of,
    key_of,
    mended_subject,
    name_of,
    object_subject,
    pieces_subject,
)
from replication.tier.pieces import PieceName
from storage.replicas.streams import STREAM_NAMES, StreamId

streams = st.builds(
    StreamId,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.sampled_from(STREAM_NAMES),
    st.just("") | st.text("0123456789abcdef", min_size=8, max_size=8),
)
numbers = st.integers(0, 2**63 - 1)
hashes = st.binary(min_size=32, max_size=32)


@given(streams, st.integers(0, 2**32 - 1))
def test_an_epoch_is_known_by_its_subjects(stream: StreamId, epoch: int) -> None:
    pieces, mended = pieces_subject("tier", stream, epoch), mended_subject("tier", stream, epoch)
    assert pieces != mended
    assert pieces.count(".") == 5
    assert epoch_of("tier", pieces) == epoch_of("tier", mended) == (stream, epoch)


@pytest.mark.parametrize("subject", ["tier.o.a.b.c.d", "tier.s.a", "tier.s.0f.telemetry.-.1", "tier.s." + "0f" * 16 + ".other.-.1", "tier.s." + "0f" * 16 + ".telemetry.-.x", "tier.s." + "0f" * 16 + ".telemetry.zz.1"])  # fmt: skip
def test_another_subject_is_no_epochs(subject: str) -> None:
    assert epoch_of("tier", subject) is None


@given(st.lists(st.text("aZ09._-", min_size=1, max_size=20), min_size=1, max_size=5).map("/".join))
def test_an_objects_key_comes_back(key: str) -> None:
    subject = object_subject("tier", key)
    assert key_of("tier", subject) == key
    assert subject.count(".") == key.count("/") + 2


@given(streams, numbers, numbers, numbers, numbers, hashes, hashes, numbers)
def test_a_pieces_name_comes_back(
    stream: StreamId, epoch: int, first: int, following: int, at: int, before: bytes, last: bytes, size: int
) -> None:
    name = PieceName(
        stream=stream, epoch=epoch, first_seq=first, prev_hash=before, next_seq=following, hash=last, size_bytes=size, last_at_ms=at
    )  # fmt: skip
    assert name_of(stream, epoch, {HEADER.lower(): header_of(name)}) == name


@pytest.mark.parametrize(
    "said", [None, "", "1 2 3", "1 aa x bb 1 1", "1 xx 2 bb 1 1", "-1 aa 2 bb 1 1", f"1 aa {2**63} bb 1 1"]
)
def test_what_is_no_name_is_none(said: str | None) -> None:
    headers = {} if said is None else {HEADER.lower(): said}
    assert name_of(StreamId("0f" * 16, "telemetry"), 1, headers) is None


def test_what_a_stream_can_be_called() -> None:
    assert PREFIX.match("homeport")
    assert not any(PREFIX.match(name) for name in ("", "a.b", "a b", "a*", "a/b", "x" * 65, "a\n"))
