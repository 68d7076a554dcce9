"""A small SMTP server for tests: takes mails, over STARTTLS or TLS from the first byte on where it has a certificate, and remembers them.

Written over sockets and not over smtplib, so that what is sent is read by something that nobody here shares code with. It can be told to
refuse. Source: RFC 5321.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from types import TracebackType
from typing import Self


@dataclass
class Mail:
    sender: str
    recipient: str
    data: bytes
    is_encrypted: bool
    user: str

    @property
    def message(self) -> Message:
        return message_from_bytes(self.data)


@dataclass
class SmtpReceiver:
    """Serves until left; `replies` says otherwise than yes, by command."""

    context: ssl.SSLContext | None = None
    is_implicit: bool = False
    password: str = ""
    replies: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self.is_implicit and self.context is not None:
                client = self.context.wrap_socket(client, server_side=True)
            self._talk(client, is_encrypted=self.is_implicit)
        except OSError:
            pass  # Whoever sends was killed, or does not trust the certificate.

    def _talk(self, client: socket.socket, *, is_encrypted: bool) -> None:
        try:
            client = self._converse(client, is_encrypted)
        finally:
            client.close()

    def _converse(self, client: socket.socket, is_encrypted: bool) -> socket.socket:
        """Until whoever sends is done; returns the connection as it is then."""
        lines = client.makefile("rb")
        sender = recipient = user = ""

        def say(text: str) -> None:
            client.sendall(text.encode() + b"\r\n")

        say("220 receiver")
        while line := lines.readline():
            words = line.decode("latin-1").strip()
            command = words.split(" ")[0].upper()
            if command in self.replies:
                say(self.replies[command])
            elif command == "EHLO":
                offers = ["250-receiver"]
                if self.context is not None and not is_encrypted:
                    offers.append("250-STARTTLS")
                if self.password:
                    offers.append("250-AUTH PLAIN")
                say("\r\n".join([*offers, "250 8BITMIME"]))
            elif command == "STARTTLS" and self.context is not None:
                say("220 go on")
                client = self.context.wrap_socket(client, server_side=True)
                lines, is_encrypted = client.makefile("rb"), True
            elif command == "AUTH":
                _, user, password = base64.b64decode(words.split(" ")[2]).decode().split("\0")
                say("235 welcome" if password == self.password else "535 no")
            elif command == "MAIL":
                sender = words.partition("<")[2].partition(">")[0]
                say("250 ok")
            elif command == "RCPT":
                recipient = words.partition("<")[2].partition(">")[0]
                say("250 ok")
            elif command == "DATA":
                say("354 go on")
                data = b""
                while (line := lines.readline()) not in (b".\r\n", b""):
                    data += line.removeprefix(b".")
                if line:
                    self.mails.append(Mail(sender, recipient, data, is_encrypted, user))
                    say(self.replies.get("END", "250 taken"))
            elif command == "QUIT":
                say("221 bye")
                break
            else:
                say("250 ok")
        lines.close()
        return client
