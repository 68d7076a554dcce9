"""The rest of a file over HTTP/1.1, from a byte on: one GET with Range, sans-IO, on h11.

A server that answers with the whole file instead (200) has its first bytes left out, so that what comes out always follows `offset`.
"""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

import h11


class RangeGet:
    """One exchange.

    Args:
        url: Absolute, or a path for `host` and `port`.
        offset: First byte that is wanted.
        host: Where a path leads.
        port: Where a path leads.
        login: User name and token; they are told to `host` only, whatever the URL says.
    """

    def __init__(
        self, url: str, offset: int, *, host: str, port: int, login: tuple[str, str] | None = None
    ) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or host
        self.port = parts.port or (443 if parts.hostname else port)
        self.problem: str | None = None
        self.is_over = False
        self._offset = offset
        self._skip_bytes = 0
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._login = login if self.host == host else None
        self._connection = h11.Connection(h11.CLIENT)

    def request(self) -> bytes:
        """What to send."""
        headers = [
            ("Host", f"{self.host}:{self.port}"),
            ("Range", f"bytes={self._offset}-"),
            ("Connection", "close"),
        ]
        if self._login is not None:
            login = base64.b64encode(":".join(self._login).encode()).decode()
            headers.append(("Authorization", f"Basic {login}"))
        sent = self._connection.send(h11.Request(method="GET", target=self._target, headers=headers)) or b""
        return sent + (self._connection.send(h11.EndOfMessage()) or b"")

    def receive_bytes(self, data: bytes) -> list[bytes]:
        """Pieces of the file; b"" received means that the server closed the connection."""
        pieces: list[bytes] = []
        try:
            self._connection.receive_data(data)
            while not self.is_over:
                event = self._connection.next_event()
                if event is h11.NEED_DATA:
                    break
                if isinstance(event, h11.Response):
                    self._begin(event.status_code)
                elif isinstance(event, h11.Data):
                    piece = bytes(event.data)
                    kept = piece[self._skip_bytes :]
                    self._skip_bytes -= len(piece) - len(kept)
                    pieces.append(kept)
                elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    self.is_over = True
        except h11.RemoteProtocolError as error:
            self.problem, self.is_over = str(error), True
        return [piece for piece in pieces if piece]

    def _begin(self, status: int) -> None:
        if status == 200:
            self._skip_bytes = self._offset
        elif status != 206:
            self.problem, self.is_over = f"the server answered {status}", True
