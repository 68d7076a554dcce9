"""A form with a file, read as it comes: fields first, any cutting of the bytes, bounded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.types import Message

from appliance.core.errors import HomeportError, LimitExceeded, UsageError
from appliance.core.limits_updates import FORM_TEXT_BYTES_MAX
from ui.form_stream import FormStream

TYPE = "multipart/form-data; boundary=XX"


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    more = f'; filename="{filename}"' if filename is not None else ""
    return b'--XX\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
        name.encode(),
        more.encode(),
        data,
    )


END = b"--XX--\r\n"
FILE = bytes(range(256)) * 40 + b"\r\n--X"
WHOLE = (
    part("name", "pümp".encode())
    + part("version", b"")
    + part("file", FILE, "a b.bin")
    + part("late", b"x")
    + END
)


def request_of(pieces: Sequence[bytes], content_type: str = TYPE) -> Request:
    messages = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
    left = iter([*messages, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(left)

    headers = [(b"content-type", content_type.encode())]
    return Request(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive
    )


async def read(stream: FormStream) -> tuple[dict[str, str], bytes]:
    fields = await stream.fields()
    return fields, b"".join([piece async for piece in stream.pieces()])


@pytest.mark.parametrize("size", [1, 7, 100, 4096, len(WHOLE)])
async def test_any_way_of_cutting_gives_the_same(size: int) -> None:
    stream = FormStream(request_of([WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]))
    fields, data = await read(stream)
    assert fields == {"name": "pümp", "version": ""}
    assert (stream.filename, data) == ("a b.bin", FILE)
    assert stream.is_whole
    assert stream.is_read


async def test_a_form_without_a_file_has_none() -> None:
    stream = FormStream(request_of([part("name", b"x") + END]))
    assert await stream.fields() == {"name": "x"}
    assert stream.filename is None
    with pytest.raises(UsageError, match="broke off"):
        assert [piece async for piece in stream.pieces()] == []


async def test_a_form_that_breaks_off_gives_no_file() -> None:
    stream = FormStream(request_of([part("file", FILE, "f")[:5000]]))
    with pytest.raises(UsageError, match="broke off"):
        await read(stream)


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data"])
def test_another_kind_of_body_is_refused(content_type: str) -> None:
    with pytest.raises(UsageError) as caught:
        FormStream(request_of([], content_type))
    assert caught.value.code == "body_invalid"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"--YY nothing of ours" * 10, UsageError),
        (part("a", b"x" * (FORM_TEXT_BYTES_MAX + 1)), LimitExceeded),
        (b"".join(part(f"f{n}", b"") for n in range(2000)), LimitExceeded),
        (b"--XX\r\nX-Long: " + b"y" * (FORM_TEXT_BYTES_MAX + 1), HomeportError),  # the parser has a limit too
    ],
)
async def test_what_can_not_be_read_or_is_too_much_is_refused(body: bytes, kind: type[HomeportError]) -> None:
    with pytest.raises(kind):
        await read(FormStream(request_of([body, END])))
