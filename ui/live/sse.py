"""Server-sent events as bytes. Pure.

Source: HTML Living Standard §9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

import msgspec


def event(data: str, *, name: str = "", seq: int | None = None) -> bytes:
    """One event; every line of `data` gets a `data:` field of its own, whatever line ends it has.

    Args:
        data: HTML for an event without a name, JSON for one with a name.
        name: At most one line; empty for the HTML that the page swaps in.
        seq: Becomes the event's id.
    """
    assert not {"\n", "\r"} & set(name)
    head = f"id: {seq}\n" if seq is not None else ""
    if name:
        head += f"event: {name}\n"
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return (head + "".join(f"data: {line}\n" for line in lines) + "\n").encode()


def json_event(name: str, value: object, *, seq: int | None = None) -> bytes:
    """A named event whose data is JSON in one line."""
    return event(msgspec.json.encode(value).decode(), name=name, seq=seq)
