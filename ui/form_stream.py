"""A form with a file, read as it comes: its text fields first, then the file piece by piece, which never lies in memory or in a temporary file.

The fields must stand before the file, as they do in a browser's form.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

import python_multipart as multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from appliance.core.errors import LimitExceeded, UsageError
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from appliance.core.limits_updates import FORM_TEXT_BYTES_MAX

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_TYPE: Final = b"multipart/form-data"


class FormStream:
    """See the module's docstring. `fields`, then `pieces`; `aclose` at the end.

    Args:
        request: Its body is read here and nowhere else.
    Raises:
        UsageError: `body_type`: it is no such form.
    """

    def __init__(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if kind != _TYPE or not boundary:
            raise _unreadable("The form can't be read.")
        self._stream = request.stream()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_begins,
            "on_part_data": self._data,
            "on_part_end": self._part_ends,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
        }
        self._parser = multipart.MultipartParser(boundary, callbacks)
        self._fields: dict[str, str] = {}
        self._text_bytes = 0
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._name = ""
        self._value = bytearray()
        self._in_file = False
        self._held: list[bytes] = []
        self.filename: str | None = None
        """Of the file, None while none has begun."""
        self.is_whole = False
        """Whether the file has ended."""
        self.is_read = False
        """Whether the body was read to its end."""

    async def fields(self) -> dict[str, str]:
        """The text fields before the file.

        Raises:
            UsageError: `body_invalid`. LimitExceeded: `body_too_large`: there are too many or they are too long.
        """
        while self.filename is None and await self._more():
            pass
        return self._fields

    async def aclose(self) -> None:
        """Read no more."""
        await self._stream.aclose()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The file's bytes, after `fields`. Raises as `fields`, also for a form that breaks off."""
        while True:
            held, self._held = self._held, []
            for piece in held:
                yield piece
            if self.is_whole:
                break
            if not await self._more():
                raise _unreadable("The form broke off before the file's end.")
        while await self._more():  # whatever a browser puts behind the file
            self._held.clear()

    async def _more(self) -> bool:
        """Take in the next piece of the body; False at its end."""
        async for chunk in self._stream:
            if chunk:
                try:
                    self._parser.write(chunk)
                except FormParserError as error:
                    raise _unreadable("The form can't be read.") from error
                return True
        self.is_read = True
        return False

    def _count_text(self, size: int) -> None:
        self._text_bytes += size
        if self._text_bytes > FORM_TEXT_BYTES_MAX:
            raise LimitExceeded(
                f"The form's fields have more than {FORM_TEXT_BYTES_MAX} bytes.",
                hint="Write less into them.",
                code="body_too_large",
            )

    def _part_begins(self) -> None:
        self._name, self._value, self._in_file = "", bytearray(), False

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_text(end - start)
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_text(end - start)
        self._header[1].extend(data[start:end])

    def _header_ends(self) -> None:
        name, value = (bytes(each) for each in self._header)
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = options.get(b"name", b"").decode(errors="replace")
            if b"filename" in options:
                self._in_file = True
                self._name = options[b"filename"].decode(errors="replace")
        self._header = (bytearray(), bytearray())

    def _headers_end(self) -> None:
        if self._in_file and self.filename is None:
            self.filename = self._name

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            if not self.is_whole:
                self._held.append(data[start:end])
            return
        self._count_text(end - start)
        self._value.extend(data[start:end])

    def _part_ends(self) -> None:
        if self._in_file:
            self.is_whole = True
        elif self.filename is None:
            if len(self._fields) >= PAGE_FORM_FIELD_COUNT_MAX:
                raise LimitExceeded(
                    f"The form has more than {PAGE_FORM_FIELD_COUNT_MAX} fields.",
                    hint="Use the page's own form.",
                    code="body_too_large",
                )
            self._fields[self._name] = self._value.decode(errors="replace")


def _unreadable(message: str) -> UsageError:
    return UsageError(
        message, hint="Send it again with a browser, the file after all fields.", code="body_invalid"
    )
