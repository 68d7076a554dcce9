"""Images get to every box that should have them, whoever leaves meanwhile, and what isn't what its name says is had elsewhere."""

from __future__ import annotations

import hashlib
import random
from collections import deque

import pytest

from appliance.core.limits_replication import BLOB_SERVED_COUNT_MAX, PART_BYTES_MAX, PULL_CREDIT_BYTES_MAX
from replication.blobs import ASK_INTERVAL_MS, IDLE_MS, WATCH_AGAIN_MS, Blobs, Written
from replication.effects import Effect, ReadBlob, Send, WriteBlob
from replication.messages import (
    BlobAsk,
    BlobEntry,
    BlobHave,
    BlobLacking,
    BlobMessage,
    BlobPart,
    BlobWant,
    decode_message,
    encode_message,
)

IMAGE = random.Random(1).randbytes(3 * PULL_CREDIT_BYTES_MAX + 12_345)
NAME = hashlib.sha256(IMAGE).digest()


class Box:
    def __init__(self, name: str, *images: bytes) -> None:
        self.name = name
        self.blobs = Blobs(random.Random(name), 0, part_bytes=lambda _: PART_BYTES_MAX)
        self.files = {hashlib.sha256(image).digest(): image for image in images}
        self.written: dict[bytes, bytes] = {}
        self.blobs.holds({blob: len(image) for blob, image in self.files.items()}, 0)


class Net:
    def __init__(self, *boxes: Box) -> None:
        self.boxes = {box.name: box for box in boxes}
        self.links: set[frozenset[str]] = set()
        self.queue: deque[tuple[str, Effect]] = deque()
        self.now_ms = 0
        self.sent_parts = 0

    def link(self, one: str, two: str) -> None:
        self.links.add(frozenset((one, two)))
        for a, b in ((one, two), (two, one)):
            self.take(a, self.boxes[a].blobs.connected(b, self.now_ms))

    def cut(self, one: str, two: str) -> None:
        self.links.discard(frozenset((one, two)))
        for a, b in ((one, two), (two, one)):
            self.take(a, self.boxes[a].blobs.disconnected(b, self.now_ms))

    def take(self, name: str, effects: list[Effect]) -> None:
        self.queue.extend((name, effect) for effect in effects)

    def run(self, steps: int = 10_000) -> None:
        while self.queue and steps:
            steps -= 1
            name, effect = self.queue.popleft()
            box = self.boxes[name]
            match effect:
                case Send() if frozenset((name, effect.peer)) in self.links:
                    self.sent_parts += isinstance(effect.message, BlobPart)
                    message = decode_message(encode_message(effect.message))
                    assert isinstance(message, BlobMessage)
                    self.take(effect.peer, self.boxes[effect.peer].blobs.receive(name, message, self.now_ms))
                    self.take(name, box.blobs.sent(effect.peer, effect.size_bytes, self.now_ms))
                case ReadBlob():
                    image = box.files.get(effect.blob)
                    data = None if image is None else image[effect.offset : effect.offset + effect.bytes_max]
                    self.take(name, box.blobs.blob_read(effect, data, len(image or b""), self.now_ms))
                case WriteBlob():
                    self.take(name, box.blobs.blob_written(effect, self.write(box, effect), self.now_ms))

    def write(self, box: Box, effect: WriteBlob) -> Written:
        image = box.written.get(effect.blob, b"")[: effect.offset] + effect.data
        box.written[effect.blob] = image
        if len(image) < effect.size_bytes:
            return "more"
        if hashlib.sha256(image).digest() != effect.blob:
            return "wrong"
        box.files[effect.blob] = image
        return "whole"

    def tick(self, ms: int) -> None:
        self.now_ms += ms
        for name, box in self.boxes.items():
            self.take(name, box.blobs.tick(self.now_ms))
        self.run()

    def want(self, name: str, **offsets: int) -> None:
        box = self.boxes[name]
        before = {NAME: offsets["offset"]} if offsets else None
        self.take(name, box.blobs.wants({NAME: len(IMAGE)}, self.now_ms, offsets=before))


def test_an_image_is_fetched_from_whoever_has_it_and_then_passed_on() -> None:
    net = Net(Box("a", IMAGE), Box("b"), Box("c"))
    net.link("a", "b")
    net.link("b", "c")
    net.want("b")
    net.want("c")
    net.run()
    assert net.boxes["c"].files == {NAME: IMAGE}
    numbers = net.boxes["b"].blobs.statistics()
    assert (numbers.fetched_total, numbers.fetched_bytes_total, numbers.wanted_count) == (1, len(IMAGE), 0)
    assert numbers.served_bytes_total == len(IMAGE)
    assert net.boxes["c"].blobs.next_at_ms() is None


def test_it_goes_on_from_the_same_byte_when_its_source_leaves() -> None:
    net = Net(Box("a", IMAGE), Box("b"), Box("c", IMAGE))
    net.link("a", "b")
    net.want("b")
    net.run(45)
    begun = len(net.boxes["b"].written[NAME])
    assert 0 < begun < len(IMAGE)
    net.cut("a", "b")
    net.run()
    net.link("b", "c")
    net.run()
    assert net.boxes["b"].files == {NAME: IMAGE}
    assert net.sent_parts <= len(IMAGE) // PART_BYTES_MAX + 2 * PULL_CREDIT_BYTES_MAX // PART_BYTES_MAX + 8


def test_what_was_written_before_is_not_fetched_again() -> None:
    net = Net(Box("a", IMAGE), Box("b"))
    net.boxes["b"].written[NAME] = IMAGE
    net.link("a", "b")
    net.want("b", offset=len(IMAGE))
    net.run()
    assert net.boxes["b"].files == {NAME: IMAGE}
    assert net.sent_parts == 0


def test_wrong_bytes_are_thrown_away_and_had_from_somebody_else() -> None:
    liar = Box("a")
    liar.files = {NAME: bytes(len(IMAGE))}
    liar.blobs.holds({NAME: len(IMAGE)}, 0)
    net = Net(liar, Box("b"), Box("c", IMAGE))
    net.link("a", "b")
    net.want("b")
    net.run()
    assert net.boxes["b"].files == {}
    assert net.boxes["b"].blobs.statistics().wrong_total == 1
    net.link("b", "c")
    net.run()
    assert net.boxes["b"].files == {NAME: IMAGE}


def test_what_nobody_had_is_asked_for_again() -> None:
    net = Net(Box("a"), Box("b"))
    net.link("a", "b")
    net.want("b")
    net.run()
    a = net.boxes["a"]
    a.files = {NAME: IMAGE}
    a.blobs.holds({NAME: len(IMAGE)}, 0)  # what it says of that gets lost
    net.run()
    assert net.boxes["b"].files == {}
    net.tick(ASK_INTERVAL_MS)
    assert net.boxes["b"].files == {NAME: IMAGE}


def test_who_asked_before_it_was_there_is_told_at_once() -> None:
    net = Net(Box("a"), Box("b"))
    net.link("a", "b")
    net.want("b")
    net.run()
    a = net.boxes["a"]
    a.files = {NAME: IMAGE}
    net.take("a", a.blobs.holds({NAME: len(IMAGE)}, net.now_ms))
    net.run()
    assert net.boxes["b"].files == {NAME: IMAGE}
    assert a.blobs.holds({NAME: len(IMAGE)}, net.now_ms) == [], "it is told once"


def test_a_source_that_says_nothing_is_left_for_another() -> None:
    blobs = Blobs(random.Random(1), 0, part_bytes=lambda _: PART_BYTES_MAX)
    blobs.connected("silent", 0)
    blobs.wants({NAME: 10}, 0)
    (want,) = blobs.receive("silent", BlobHave((BlobEntry(NAME, 10),)), 0)
    assert isinstance(want, Send)
    assert isinstance(want.message, BlobWant)
    blobs.connected("other", 0)
    assert blobs.receive("other", BlobHave((BlobEntry(NAME, 10),)), 0) == []
    (again,) = blobs.tick(IDLE_MS)
    assert isinstance(again, Send)
    assert again.peer == "other"


@pytest.mark.parametrize(
    "message",
    [
        BlobHave((BlobEntry(NAME, 11),)),  # of another size than the catalog says
        BlobHave((BlobEntry(b"x" * 32, 10),)),
        BlobPart(7, NAME, 10, 0, b"unasked"),
        BlobLacking(7, NAME, False),
        BlobAsk((NAME,)),
    ],
)
def test_what_was_not_asked_for_changes_nothing(message: BlobMessage) -> None:
    blobs = Blobs(random.Random(1), 0, part_bytes=lambda _: PART_BYTES_MAX)
    blobs.connected("peer", 0)
    blobs.wants({NAME: 10}, 0)
    assert blobs.receive("peer", message, 0) == []
    assert blobs.receive("stranger", message, 0) == []


def test_parts_out_of_place_are_dropped() -> None:
    blobs = Blobs(random.Random(1), 0, part_bytes=lambda _: PART_BYTES_MAX)
    blobs.connected("peer", 0)
    blobs.wants({NAME: 10}, 0)
    (want,) = blobs.receive("peer", BlobHave((BlobEntry(NAME, 10),)), 0)
    assert isinstance(want, Send)
    assert isinstance(want.message, BlobWant)
    request = want.message.request
    for bad in (
        BlobPart(request, NAME, 10, 5, b"later"),
        BlobPart(request, NAME, 10, 0, b"longer than it is"),
        BlobPart(request, NAME, 10, 0, b""),
        BlobPart(request, NAME, 11, 0, b"01234"),
        BlobPart(request + 1, NAME, 10, 0, b"01234"),
    ):
        assert blobs.receive("peer", bad, 0) == []
    assert blobs.receive("peer", BlobPart(request, NAME, 10, 0, b"01234"), 0) == []
    (write,) = blobs.receive("peer", BlobPart(request, NAME, 10, 5, b"56789"), 0)
    assert isinstance(write, WriteBlob)
    assert write.data == b"0123456789"


def test_who_asks_for_too_much_at_once_is_told_to_wait() -> None:
    blobs = Blobs(random.Random(1), 0, part_bytes=lambda _: PART_BYTES_MAX)
    blobs.holds({NAME: 10}, 0)
    blobs.connected("peer", 0)
    effects = [
        effect
        for n in range(BLOB_SERVED_COUNT_MAX + 3)
        for effect in blobs.receive("peer", BlobWant(n, NAME, 0, 10), 0)
    ]
    assert isinstance(effects[0], ReadBlob)
    assert [send.message for send in effects[1:] if isinstance(send, Send)] == [
        BlobLacking(BLOB_SERVED_COUNT_MAX + n, NAME, True) for n in (1, 2)
    ]


def test_who_has_what_is_watched_is_known_until_a_link_is_made_anew() -> None:
    net = Net(Box("a", IMAGE), Box("b"), Box("c", IMAGE))
    a = net.boxes["a"].blobs
    net.link("a", "b")
    net.link("a", "c")
    net.take("a", a.watches({NAME: len(IMAGE)}, 0))
    net.run()
    assert a.holders(NAME) == {"c"}
    assert a.statistics().watched_count == 1
    net.take("b", net.boxes["b"].blobs.wants({NAME: len(IMAGE)}, 0))
    net.run()
    assert a.holders(NAME) == {"b", "c"}, "it says so by itself once it has it"
    net.cut("a", "c")
    assert "c" in a.holders(NAME), "its copy is still there"
    net.boxes["c"].blobs.holds({}, 0)
    net.link("a", "c")
    net.run()
    assert a.holders(NAME) == {"b"}, "it came back without"
    net.take("a", a.watches({}, 0))
    assert a.holders(NAME) == frozenset()


def test_watched_blobs_are_asked_for_until_somebody_has_them_and_again_later() -> None:
    net = Net(Box("a", IMAGE), Box("b"))
    a, b = net.boxes["a"].blobs, net.boxes["b"].blobs
    net.link("a", "b")
    net.take("a", a.watches({NAME: len(IMAGE)}, 0))
    net.run()
    assert a.next_at_ms() is not None
    assert not a.holders(NAME)
    net.boxes["b"].files[NAME] = IMAGE
    b._held[NAME] = len(IMAGE)
    net.now_ms = ASK_INTERVAL_MS
    net.take("a", a.tick(net.now_ms))
    net.run()
    assert a.holders(NAME) == {"b"}
    b.holds({}, net.now_ms)
    net.now_ms = WATCH_AGAIN_MS
    net.take("a", a.tick(net.now_ms))
    net.run()
    assert not a.holders(NAME), "what a box let go is not told of; it is asked again"


def test_a_blob_of_another_size_is_not_the_one_that_is_watched() -> None:
    box = Box("a", IMAGE)
    box.blobs.connected("b", 0)
    box.blobs.watches({NAME: len(IMAGE)}, 0)
    box.blobs.receive("b", BlobHave((BlobEntry(NAME, len(IMAGE) - 1),)), 0)
    assert not box.blobs.holders(NAME)
