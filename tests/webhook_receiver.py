"""A small HTTP server for tests: takes POSTs, over TLS where it has a certificate, and remembers them. It can be told what to answer."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

OK: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Request:
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebhookReceiver:
    """Serves until left; `answers` are given one after another, the last again and again."""

    context: ssl.SSLContext | None = None
    answers: list[bytes] = field(default_factory=lambda: [OK])
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://localhost:{self.port}/alarms?from=box"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            client.settimeout(20)
            if self.context is not None:
                client = self.context.wrap_socket(client, server_side=True)
            with client, client.makefile("rb") as lines:
                target = lines.readline().split(b" ")
                headers = {}
                while (line := lines.readline().strip()) != b"":
                    name, _, value = line.partition(b":")
                    headers[name.decode().lower()] = value.decode().strip()
                body = lines.read(int(headers["content-length"]))
                if len(target) < 2 or len(body) < int(headers["content-length"]):
                    return  # Whoever sent it was killed.
                with self._lock:
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                    self.requests.append(Request(target[1].decode(), headers, body))
                client.sendall(answer)
        except (OSError, KeyError):
            pass  # Whoever sends was killed, or does not trust the certificate.
