"""The corpus: inputs from which the search begins, and which every test run goes through. `python -m tests.fuzz.corpus` writes them.

One file each in `corpus/<target>/`. Packets come from the independent builder. An input that once broke a promise is kept as
`found_…`, written by hand.
"""

from __future__ import annotations

from typing import Final

from broker.proxy_protocol import SIGNATURE
from tests.protocol import builder as b

from . import FOLDER

FOUND: Final = "found_"
ALIAS: Final = 0x23


def _packets(version: int) -> dict[str, bytes]:
    """One of each packet, by name, as that version has it."""
    is_5 = version == 5
    none = b"" if is_5 else None
    many = (
        b.p8(1, 1) + b.p32(2, 60) + b.ptext(3, "t") + b.ptext(8, "r") + b.ptext(9, b"\0") + b.puser("k", "v")
    )
    will = b.will_fields("w", b"gone", properties=b.p32(0x18, 5) if is_5 else None)
    packets = {
        "connect": b.connect("c", version=version),
        "connect_all": b.connect(
            "client",
            version=version,
            properties=b.p32(0x11, 60) + b.p16(0x21, 9) + b.p32(0x27, 999) + b.p16(0x22, 3) if is_5 else b"",
            will=will,
            will_flags=0x2C,
            username="u",
            password=b"p",
        ),
        "connack": b.connack(1, 0, b.p16(0x22, 16) + b.ptext(0x12, "c") if is_5 else None),
        "publish": b.publish("dm/a/t", b"21.5", qos=1, packet_id=1, properties=none),
        "publish_0": b.publish("x", b"", properties=none),
        "publish_2": b.publish(
            "dm/a/t", b"1", qos=2, retain=True, packet_id=2, properties=many if is_5 else None
        ),
        "publish_2_again": b.publish("dm/a/t", b"1", qos=2, dup=True, packet_id=2, properties=none),
        "puback": b.ack(b.PUBACK, 1),
        "pubrec": b.ack(b.PUBREC, 2, 0x87 if is_5 else None, b.ptext(0x1F, "no") if is_5 else None),
        "pubrel": b.ack(b.PUBREL, 2),
        "pubcomp": b.ack(b.PUBCOMP, 2),
        "subscribe": b.subscribe(3, ("a/+", 1), ("#", 2), properties=b.pvar(0x0B, 7) if is_5 else None),
        "suback": b.suback(3, 1, 0x80, properties=none),
        "unsubscribe": b.unsubscribe(4, "a/+", "#", properties=none),
        "unsuback": b.unsuback(4, *((0, 0x11) if is_5 else ()), properties=none),
        "pingreq": b.PINGREQ_PACKET,
        "pingresp": b.PINGRESP_PACKET,
        "disconnect": b.disconnect(0x04 if is_5 else None, b.p32(0x11, 1) if is_5 else None),
    }
    if is_5:
        packets["auth"] = b.packet(b.AUTH, b.u8(0x18), b.props(b.ptext(0x15, "m") + b.ptext(0x16, b"d")))
        packets["publish_alias"] = b.publish("a", b"1", properties=b.p16(ALIAS, 1))
        packets["publish_alias_alone"] = b.publish("", b"2", qos=1, packet_id=5, properties=b.p16(ALIAS, 1))
        packets["subscribe_shared"] = b.subscribe(6, ("$share/g/t", 0x2D), properties=b"")
    return packets


def corpus() -> dict[str, dict[str, bytes]]:
    """All of it: target, name, bytes."""
    v4, v5 = _packets(4), _packets(5)
    publishes = [name for name in v5 if name.startswith("publish")]
    codec = {"empty": b""}
    for version, mode, packets in ((4, 2, v4), (5, 3, v5)):
        codec |= {f"{version}_{name}": bytes((mode, 3)) + data for name, data in packets.items()}
        codec[f"{version}_from_connect"] = (
            b"\0\x0b" + packets["connect"] + packets["subscribe"] + packets["publish"]
        )
        codec[f"{version}_length_of_five"] = bytes((mode, 3)) + b"\x30\xff\xff\xff\xff\x01"
    parser = {"empty": b""}
    for version, mode, packets in ((4, 0, v4), (5, 3, v5)):
        named = [packets[name] for name in publishes if name in packets]
        head = bytes((mode, 7, 40, 100))
        parser[f"{version}_publishes"] = head + b"".join(named)
        parser[f"{version}_publishes_and_others"] = head + packets["pingreq"].join(
            [*named, packets["publish_0"]]
        )
        parser[f"{version}_same_topic"] = head + packets["publish"] * 3 + packets["publish_0"]
        parser[f"{version}_wildcard"] = head + b.publish("a/#", properties=b"" if version == 5 else None)
        parser[f"{version}_others_topic"] = head + b.publish(
            "$SYS/x", properties=b"" if version == 5 else None
        )
    topics = {
        "empty": b"",
        "wildcards": b"#\n+/b\na/#\na/+/c\na/b\na\na/b/c\n$SYS/b",
        "dollar": b"$SYS/#\n+/x\n#\n$SYS/x\n$SYS\na/$SYS",
        "empty_levels": b"//\n+/+\n/+\n/\n//\na//b",
        "shared": b"$share/g/a/#\n$share//a\n$share/g\n$share/g+/a\na\nb\nc\nd",
        "wrong": b"a#\n#/a\na+\n+a\na/b#\n\na+\n#",
        "many_levels": b"/" * 31 + b"\n" + b"/" * 32 + b"\n" + b"/" * 31 + b"\n" + b"/" * 32,
        "text": "é/+\n\ufeff\n#\né/é\n\ufeff\n\0".encode(),
    }
    refusals = {
        "empty": b"",
        "small_room": b"\x85" + b.connect("c", version=5, properties=b.p32(0x27, 9))[2:],
    }
    for version, packets in ((4, v4), (5, v5)):
        refusals[f"{version}_plain"] = b"\x05" + packets["connect"][2:]
        refusals[f"{version}_all"] = b"\x87" + packets["connect_all"][2:]
        refusals[f"{version}_cut"] = b"\x81" + packets["connect_all"][2:-1]
        refusals[f"{version}_empty_client_id"] = b"\x85" + b.connect("", version=version, clean=False)[2:]
    refusals["7_plain"] = b"\x84" + b.connect("c", version=7)[2:]
    four = bytes((203, 0, 113, 9, 192, 0, 2, 1)) + b.u16(40_000) + b.u16(1883)
    proxy = {
        "empty": b"",
        "local": b"\2" + SIGNATURE + b"\x20\0\0\0",
        "internet": b"\0" + SIGNATURE + b"\x21\x11" + b.u16(12) + four,
        "internet_with_more": b"\3" + SIGNATURE + b"\x21\x11" + b.u16(19) + four + b"\x04\0\4abcd" + b"MQTT",
        "internet_6": b"\1" + SIGNATURE + b"\x21\x21" + b.u16(36) + bytes(36),
        "unix": b"\5" + SIGNATURE + b"\x21\x31" + b.u16(216) + bytes(216),
        "datagrams": b"\0" + SIGNATURE + b"\x21\x12" + b.u16(12) + four,
        "too_long": b"\0" + SIGNATURE + b"\x21\x11\xff\xff",
        "too_short": b"\0" + SIGNATURE + b"\x21\x11" + b.u16(4) + four,
        "version_1": b"\0PROXY TCP4 203.0.113.9 192.0.2.1 40000 1883\r\n",
        "none": b"\0" + v4["connect"],
    }
    return {
        "codec": codec,
        "publish_parser": parser,
        "topics": topics,
        "refusals": refusals,
        "proxy_protocol": proxy,
    }


def write() -> None:
    """Write the files anew; what was found stays."""
    for target, inputs in corpus().items():
        folder = FOLDER / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if not path.name.startswith(FOUND):
                path.unlink()
        for name, data in inputs.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    write()
