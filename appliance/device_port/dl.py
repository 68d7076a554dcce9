"""Firmware over HTTPS: `GET /dl/{sha256}`, from any byte on, at the pace of the budgets.

Who asks says so by a certificate, by the device's id and token, or has an address that was signed for it. What it may have is what an update of it
names (appliance/updates/delivery.py), which is looked at again while it is sent: a pause ends the answer in its middle, and the device goes on from
there later.

Source: RFC 9110 §13, §14 (Range, If-Range, ETag).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from appliance.core.errors import LimitExceeded, Unavailable
from appliance.core.limits import KIB
from appliance.core.limits_delivery import (
    DOWNLOAD_COUNT_MAX,
    DOWNLOAD_PER_DEVICE_COUNT_MAX,
    DOWNLOAD_PIECE_BYTES,
)
from appliance.device_port.doorkeeper import Doorkeeper
from appliance.device_port.messages import Request, Response, Route
from appliance.device_port.ranges import Unsatisfiable, byte_range
from appliance.updates.delivery import Delivery, Right
from appliance.updates.signed_urls import PREFIX, SignedUrls

WAY: Final = "https"
SEND_BYTES: Final = 16 * KIB
"""Sent at once, each with its deadline: 0.8 KiB a second are enough. As much as a TLS record has."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


class Downloads:
    """See the module's docstring. Used from one event loop."""

    def __init__(self, delivery: Delivery, doorkeeper: Doorkeeper, urls: SignedUrls) -> None:
        self._delivery = delivery
        self._doorkeeper = doorkeeper
        self._urls = urls
        self._running: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        return [Route(name="download", method="GET", path=f"{PREFIX}{{sha256}}", handler=self._download)]

    @property
    def running(self) -> int:
        """Downloads under way."""
        return self._running.total()

    async def _download(self, request: Request) -> Response:
        sha256 = request.names["sha256"].lower()
        device_id = self._urls.device_of(request.query, sha256)
        if device_id is None:
            named = parse_qs(request.query).get("d", [""])[0] if request.query.count("&") < 8 else ""
            device_id = (await self._doorkeeper.device(request, name=named)).device_id
        right = await self._delivery.by_digest(device_id, sha256)
        etag = f'"{right.sha256}"'
        headers = [("accept-ranges", "bytes"), ("etag", etag), ("cache-control", "no-store")]
        # Without If-Range, or with the very tag: another one, or a date, means that what the peer has is of something else.
        is_same = request.headers.get("if-range", etag) == etag
        try:
            asked = byte_range(request.headers.get("range") if is_same else None, right.size_bytes)
        except Unsatisfiable:
            return Response(
                status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                body=f"The file has {right.size_bytes} bytes, and none of these.\n".encode(),
                headers=(*headers, ("content-range", f"bytes */{right.size_bytes}")),
            )
        first, end = asked or (0, right.size_bytes)
        if asked is not None:
            headers.append(("content-range", f"bytes {first}-{end - 1}/{right.size_bytes}"))
        headers.append(
            ("content-disposition", f'attachment; filename="{_UNSAFE.sub("_", right.filename)[:100]}"')
        )
        if request.method != "HEAD":
            self._check_place(device_id)
        return Response(
            status=HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT,
            content_type="application/octet-stream",
            headers=tuple(headers),
            pieces=self._pieces(right, request.address, first, end),
            length_bytes=end - first,
        )

    def _check_place(self, device_id: str) -> None:
        if self._running[device_id] >= DOWNLOAD_PER_DEVICE_COUNT_MAX or self.running >= DOWNLOAD_COUNT_MAX:
            whose = "of this device" if self._running[device_id] else "at once"
            raise LimitExceeded(
                f"There are as many downloads {whose} as may be.",
                hint="Wait until one has ended.",
                code="download_places",
            )

    async def _pieces(self, right: Right, address: str, at: int, end: int) -> AsyncGenerator[bytes, None]:
        device_id = right.device_id
        self._running[device_id] += 1
        try:
            while at < end:
                right = await self._delivery.by_digest(device_id, right.sha256)
                want_bytes = min(DOWNLOAD_PIECE_BYTES, end - at)
                try:
                    granted_bytes = await self._delivery.budgets.take(
                        right.claim(address), want_bytes, min(SEND_BYTES, want_bytes)
                    )
                except Unavailable as error:
                    if error.code != "budget_turn":
                        raise
                    continue  # The connection is its place in the queue.
                data = await self._delivery.read(right, at, granted_bytes)
                for begin in range(0, len(data), SEND_BYTES):
                    yield data[begin : begin + SEND_BYTES]
                at += len(data)
                await self._delivery.sent(right, WAY, len(data), at)
        finally:
            self._running[device_id] -= 1
            if not self._running[device_id]:
                del self._running[device_id]
