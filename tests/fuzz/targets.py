"""What is fuzzed: each target takes any bytes and raises where a promise is broken.

1. `codec`: any bytes are packets or RemoteProtocolError, however they are cut; what was read can be written and read again.
2. `publish_parser`: the broker's hot path finds the publishes that the codec finds, however they are cut and however full the
   blocks are.
3. `topics`: filters and topics are refused or match as a reading of the rules word for word says, alone and in the tree.
4. `refusals`: whatever a CONNECT is, its refusal is nothing or a CONNACK in its version, no larger than the client takes.
5. `proxy_protocol`: any bytes are a header or RemoteProtocolError, however they are cut, and not one byte too many is asked for.

A target's first bytes say how the rest is used, so that the search can choose that too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import PROXY_HEADER_BYTES_MAX
from broker.mqtt.codec import PacketReader, decode, encode
from broker.mqtt.constants import Sender, Version
from broker.mqtt.packets import Connack, Connect, Packet
from broker.mqtt.subscriptions import SubscriptionTree
from broker.mqtt.topics import matches, validate_topic_filter, validate_topic_name
from broker.proxy_protocol import FIXED_BYTES, Header, HeaderReader
from broker.refusals import UnreadableConnect, packet_bytes_max, refusal
from tests.properties.publish_model import OWN, assert_agreement, assert_same, run

PACKET_BYTES_MAX: Final = 20_000
REASON_CODES: Final = range(0x80, 0xA3)
VERSIONS: Final = (None, *Version)
SENDERS: Final = (None, *Sender)
SEPARATOR: Final = b"\n"
"""Between the filters and topics of an input; a topic that holds one is not reached, and nothing is special about it."""


def codec(data: bytes) -> None:
    """Mode: version and sender; then where to cut; then the stream."""
    mode, place, stream = data[0] if data else 0, data[1] if len(data) > 1 else 0, data[2:]
    version = VERSIONS[mode % len(VERSIONS)]
    sender = SENDERS[mode // len(VERSIONS) % len(SENDERS)]
    found, code, learned = _read([stream], version, sender)
    at = place % (len(stream) + 1)
    assert _read([stream[:at], stream[at:]], version, sender) == (found, code, learned), (
        "cut, and read otherwise"
    )
    for packet in found:
        if isinstance(packet, Connect):
            again = _read([encode(packet, packet.version)], None, Sender.CLIENT)
        else:
            assert learned is not None
            whose = sender or (Sender.CLIENT if version is None else Sender.SERVER)
            again = _read([encode(packet, learned)], learned, whose)
        assert again[:2] == ([packet], None), "what was read can't be written and read again"


def _read(
    pieces: list[bytes], version: Version | None, sender: Sender | None
) -> tuple[list[Packet], int | None, Version | None]:
    """Packets, the reason code of the error behind them, and the version that the reader knows."""
    reader = PacketReader(version, packet_bytes_max=PACKET_BYTES_MAX, sender=sender)
    found: list[Packet] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (packet := reader.next_packet()) is not None:
                found.append(packet)
        except RemoteProtocolError as error:
            assert error.hint
            assert error.reason_code in REASON_CODES
            return found, error.reason_code, reader.version
        assert reader.buffered_bytes <= PACKET_BYTES_MAX
    return found, None, reader.version


def publish_parser(data: bytes) -> None:
    """Mode: version, and whose rights; then two cuts and how full the block is; then the stream."""
    head, stream = data[:4].ljust(4, b"\0"), data[4:]
    version = Version.MQTT_5 if head[0] & 1 else Version.MQTT_3_1_1
    assert_agreement(version, stream)
    cuts = sorted({head[1] % (len(stream) + 1), head[2] % (len(stream) + 1)})
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    slacks = [head[3]] * 3
    assert_same(run(version, pieces, slacks), run(version, [stream]))
    if head[0] & 2:
        own = run(version, pieces, slacks, OWN)
        assert all(record[0].startswith(b"dm/a/") for record in own.records), "a topic that is another's"


def topics(data: bytes) -> None:
    """Lines; the first half of them are filters, the others topics."""
    lines = data.split(SEPARATOR)[:16]
    filters, names = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    tree: SubscriptionTree[None] = SubscriptionTree(cache_weight_max=20)
    held: dict[int, str] = {}
    for number, raw in enumerate(filters):
        text = _text(raw)
        valid = _is_valid(text, validate_topic_filter)
        assert valid is _filter_by_the_book(text), f"filter {text!r}"
        if valid and not text.startswith("$share/"):
            tree.add(text, number, None)
            held[number] = text
    for turn in range(2):
        for raw in names:
            name = _text(raw)
            valid = _is_valid(name, validate_topic_name)
            assert valid is _name_by_the_book(name), f"topic {name!r}"
            if valid:
                expected = [number for number, text in held.items() if _matches_by_the_book(text, name)]
                assert [number for number, text in held.items() if matches(text, name)] == expected, name
                assert sorted(key for key, _ in tree.match(name)) == expected, name
        if turn == 0 and held:
            gone = next(iter(held))
            assert tree.remove(held.pop(gone), gone)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _is_valid(text: str, check: Callable[[str], object]) -> bool:
    try:
        check(text)
    except RemoteProtocolError as error:
        assert error.reason_code in REASON_CODES
        return False
    return True


def _name_by_the_book(name: str) -> bool:
    """MQTT 5.0 §4.7, and at most 32 levels of all together 65,535 bytes."""
    return bool(name) and not set(name) & set("+#\0") and _is_small(name)


def _filter_by_the_book(text: str) -> bool:
    """MQTT 5.0 §4.7.1, §4.8.2."""
    if not _is_small(text) or "\0" in text:
        return False
    if text.startswith("$share/"):
        parts = text.split("/", 2)
        if len(parts) < 3 or not parts[1] or set(parts[1]) & set("+#"):
            return False
        text = parts[2]
    levels = text.split("/")
    last = len(levels) - 1
    return bool(text) and all(
        level == "+" or (level == "#" and place == last) or not set(level) & set("+#")
        for place, level in enumerate(levels)
    )


def _is_small(text: str) -> bool:
    return len(text.split("/")) <= 32 and len(text.encode()) <= 65_535


def _matches_by_the_book(text: str, name: str) -> bool:
    """One level after the other, by recursion; `matches` and the tree go other ways."""

    def rest(wanted: list[str], levels: list[str]) -> bool:
        if wanted == ["#"]:
            return True
        if not wanted or not levels:
            return not wanted and not levels
        return wanted[0] in ("+", levels[0]) and rest(wanted[1:], levels[1:])

    wanted, levels = text.split("/"), name.split("/")
    return not (name[0] == "$" and text[0] in "+#") and rest(wanted, levels)


def refusals(data: bytes) -> None:
    """Mode: the reason code, and whether it is told why; then all of CONNECT behind its remaining length."""
    mode, body = data[0] if data else 0, data[1:]
    connect, room = None, None
    try:
        packet = decode(0x10, body, None)
        assert isinstance(packet, Connect)
        connect, room, version = packet, packet_bytes_max(packet), packet.version
        quoted = repr((connect.client_id, connect.username, connect.will)) * 9
        error = RemoteProtocolError(quoted, reason_code=REASON_CODES[mode % len(REASON_CODES)])
    except RemoteProtocolError as unreadable:
        error = UnreadableConnect(unreadable, body)
        version = error.version or Version.MQTT_3_1_1
    told = refusal(error, connect, tells_why=mode >= 0x80)
    if told:
        assert room is None or len(told) <= room
        (answer,), code, _ = _read([told], version, Sender.SERVER)
        assert code is None
        assert isinstance(answer, Connack)
        assert answer.reason_code != 0
        assert not answer.session_present


def proxy_protocol(data: bytes) -> None:
    """Mode: how the bytes are cut; then the bytes."""
    step, stream = (data[0] if data else 0) % 7 + 1, data[1:]
    assert _header(stream, FIXED_BYTES + PROXY_HEADER_BYTES_MAX) == _header(stream, step)


def _header(stream: bytes, step: int) -> tuple[Header | None, str, int]:
    """The header, or the code of what is wrong; and how many bytes it took."""
    reader, at = HeaderReader(), 0
    while at < len(stream):
        wanted = reader.needed_bytes
        assert 0 < wanted <= FIXED_BYTES + PROXY_HEADER_BYTES_MAX
        piece = stream[at : at + min(wanted, step)]
        at += len(piece)
        try:
            header = reader.receive_bytes(piece)
        except RemoteProtocolError as error:
            assert error.hint
            # Where it stops depends on the cut; what is wrong does not, but for what is only half there.
            return None, error.code, 0
        if header is not None:
            assert reader.needed_bytes == 0
            return header, "", at
    return None, "incomplete", at


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "codec": codec,
    "publish_parser": publish_parser,
    "topics": topics,
    "refusals": refusals,
    "proxy_protocol": proxy_protocol,
}
