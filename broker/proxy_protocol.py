"""PROXY protocol version 2, the receiver's side: for whom a proxy connects. Bytes in, a header out; no socket here.

The reader never asks for a byte behind the header, so that whatever follows (TLS, MQTT) is still the socket's. A length
that is too large is refused before anything of it is taken.

Source: The PROXY protocol, versions 1 & 2 (HAProxy Technologies, 2020/03/05), §2.2.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import PROXY_HEADER_BYTES_MAX

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
VERSION_1: Final = b"PROXY "
FIXED_BYTES: Final = 16
"""Signature, version and command, family and protocol, length."""
LOCAL: Final = 0x20
PROXY: Final = 0x21
UNSPECIFIED: Final = 0
INTERNET: Final = 1
INTERNET_6: Final = 2
UNIX: Final = 3
STREAM: Final = 1
ADDRESS_BYTES: Final = {UNSPECIFIED: 0, INTERNET: 12, INTERNET_6: 36, UNIX: 216}
"""Of both addresses and ports, by family."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the proxy said.

    Attributes:
        source: The client's IP address; None where the connection is the proxy's own (LOCAL, its health check) or the
            family has no address that means anything here: it then counts as the proxy's.
    """

    source: str | None


class HeaderReader:
    """Reads one header, however its bytes are cut."""

    def __init__(self) -> None:
        self._data = b""
        self._total_bytes = FIXED_BYTES

    @property
    def needed_bytes(self) -> int:
        """How many bytes are to be given next, at most; 0 once the header was returned."""
        return self._total_bytes - len(self._data)

    def receive_bytes(self, data: bytes) -> Header | None:
        """Take at most `needed_bytes` bytes; the header when it is whole.

        Raises:
            RemoteProtocolError: it is no header of version 2 (`proxy_header_missing`, `proxy_version_1`), or one that
                breaks its rules or is too long (`proxy_header_invalid`).
        """
        assert len(data) <= self.needed_bytes
        self._data += data
        if not SIGNATURE.startswith(self._data[: len(SIGNATURE)]):
            self._refuse_signature()
            return None
        if len(self._data) == FIXED_BYTES == self._total_bytes:
            self._begin()
        return self._end() if len(self._data) == self._total_bytes else None

    def _refuse_signature(self) -> None:
        if self._data[: len(VERSION_1)] == VERSION_1:
            raise RemoteProtocolError(
                "A proxy sent a PROXY protocol header of version 1.",
                hint="Set the proxy to version 2 (HAProxy: send-proxy-v2).",
                code="proxy_version_1",
            )
        if not VERSION_1.startswith(self._data):
            raise RemoteProtocolError(
                "A proxy connected without a PROXY protocol header.",
                hint="Have it send one of version 2, or take its address out of broker.proxy_protocol.",
                code="proxy_header_missing",
            )

    def _begin(self) -> None:
        command, family = self._data[12], self._data[13] >> 4
        if command not in (LOCAL, PROXY):
            raise _invalid(f"version and command are 0x{command:02x}")
        length = int.from_bytes(self._data[14:16], "big")
        if length > PROXY_HEADER_BYTES_MAX:
            raise _invalid(f"{length} bytes are announced, and {PROXY_HEADER_BYTES_MAX} are taken")
        if command == PROXY:
            if family not in ADDRESS_BYTES or (family != UNSPECIFIED and self._data[13] & 15 != STREAM):
                raise _invalid(f"family and protocol are 0x{self._data[13]:02x}")
            if length < ADDRESS_BYTES[family]:
                raise _invalid(f"{length} bytes are too few for its addresses")
        self._total_bytes += length

    def _end(self) -> Header:
        if self._data[12] == PROXY:
            family = self._data[13] >> 4
            if family == INTERNET:
                return Header(str(ipaddress.IPv4Address(self._data[16:20])))
            if family == INTERNET_6:
                return Header(str(ipaddress.IPv6Address(self._data[16:32])))
        return Header(None)


def _invalid(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"A PROXY protocol header is not valid: {what}.",
        hint="See that the proxy speaks version 2 for TCP.",
        code="proxy_header_invalid",
    )
