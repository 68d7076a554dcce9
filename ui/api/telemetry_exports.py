"""The endpoint that sends readings as a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

import structlog
import trio
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from appliance.core.errors import HomeportError
from appliance.core.limits import EXPORT_DEVICE_COUNT_MAX, EXPORT_PIECE_BYTES, EXPORT_SEND_TIMEOUT_MS
from ui import telemetry_file
from ui.api import telemetry_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.telemetry_site import range_of
from ui.auth import require_still
from ui.services import Services
from ui.telemetry_exports import ExportPlace, TelemetryExports
from ui.telemetry_series import find_devices, metrics_of, require_seen

log = structlog.get_logger(__name__)


async def export_telemetry(call: Call) -> Reply:
    services, query = call.services, call.query
    from_ms, to_ms = range_of(query.from_, query.to, services.clock.now_ms())
    devices = await find_devices(services, query.device, call.scope, count_max=EXPORT_DEVICE_COUNT_MAX)
    metrics = await metrics_of(services.live, devices, query.metric)
    export: TextExport | ParquetExport
    if query.format == "parquet":
        export = ParquetExport(services, devices, metrics, from_ms, to_ms)
    else:
        export = TextExport(services, query.format, devices, metrics, from_ms, to_ms)

    async def still_allowed() -> None:
        await require_still(call.request)
        await require_seen(services, devices, call.scope)

    return Reply(
        content=None,
        response=ExportResponse(export, services.exports, query.format, still_allowed=still_allowed),
    )


class TextExport:
    """CSV or JSON lines, a batch of the store at a time."""

    def __init__(
        self,
        services: Services,
        format_: telemetry_file.Format,
        devices: Sequence[str],
        metrics: Sequence[str],
        from_ms: int,
        to_ms: int,
    ) -> None:
        self._format = format_
        self._batches: AsyncIterator[telemetry_file.Columns] = (
            services.telemetry.stream(devices, metrics, from_ms, to_ms) if devices else _nothing()
        )

    async def portions(self) -> AsyncGenerator[bytes]:
        """The file, none of them empty. The first has readings in it if there are any, so that what is wrong with the store shows before the answer begins."""
        header = telemetry_file.first_line(self._format)
        async for batch in self._batches:
            yield header + await trio.to_thread.run_sync(telemetry_file.lines, self._format, batch)
            header = b""
        if header:
            yield header


class ParquetExport:
    """A file that the store wrote, and that is gone when this ends."""

    def __init__(
        self,
        services: Services,
        devices: Sequence[str],
        metrics: Sequence[str],
        from_ms: int,
        to_ms: int,
    ) -> None:
        self._write = partial(services.parquet.write, devices, metrics, from_ms, to_ms)

    async def portions(self) -> AsyncGenerator[bytes]:
        """The file in portions of EXPORT_PIECE_BYTES."""
        path = trio.Path(await self._write())
        try:
            async with await path.open("rb") as file:
                while portion := await file.read(EXPORT_PIECE_BYTES):
                    yield portion
        finally:
            with trio.CancelScope(shield=True):
                await path.unlink(missing_ok=True)


class ExportResponse(Response):
    """A file that is made while it is sent, for as long as whoever asked for it still may have it.

    What is wrong before the first piece is an answer like any other. What fails later (the store, a right that was taken away)
    stands in the file's last line: the status is sent then. A client that goes away ends the question.
    """

    def __init__(
        self,
        export: TextExport | ParquetExport,
        exports: TelemetryExports,
        format_: telemetry_file.Format,
        *,
        still_allowed: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__()
        self._export = export
        self._exports = exports
        self._format = format_
        self._still_allowed = still_allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._exports.place() as place, trio.CancelScope() as whole:

            async def send_in_time(message: Message) -> None:
                with trio.move_on_after(EXPORT_SEND_TIMEOUT_MS / 1_000) as sending:
                    await send(message)
                if sending.cancelled_caught:
                    log.warning("an export of readings was not taken in time", sent_bytes=place.sent_bytes)
                    whole.cancel()
                    await trio.lowlevel.checkpoint()

            async with aclosing(self._export.portions()) as portions:
                first = await _first(portions, receive, whole)
                async with aclosing(self._checked(first, portions, place)) as body:
                    response = StreamingResponse(
                        body,
                        media_type=telemetry_file.MEDIA[self._format],
                        headers={
                            "content-disposition": f'attachment; filename="homeport-telemetry.{self._format}"'
                        },
                    )
                    await response(scope, receive, send_in_time)

    async def _checked(
        self, portion: bytes, portions: AsyncIterator[bytes], place: ExportPlace
    ) -> AsyncGenerator[bytes]:
        try:
            while portion:
                for at in range(0, len(portion), EXPORT_PIECE_BYTES):
                    piece = portion[at : at + EXPORT_PIECE_BYTES]
                    yield piece
                    place.sent_bytes += len(piece)
                portion = await anext(portions, b"")
                await self._still_allowed()
        except HomeportError as error:
            log.warning("an export of readings broke off", code=error.code, error=error.message)
            # Parquet has its footer at the end: without it, it is no file at all, and every reader says so.
            if self._format != "parquet":
                yield telemetry_file.broken_off(self._format, error.message)
        else:
            place.is_whole = True


async def _first(portions: AsyncIterator[bytes], receive: Receive, whole: trio.CancelScope) -> bytes:
    """The first portion, b"" where there is none; a client that goes away before it came ends everything.

    Raises:
        HomeportError: what is wrong with the question or the store.
    """
    found: list[bytes] = []
    failed: list[HomeportError] = []

    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            try:
                found.append(await anext(portions, b""))
            except HomeportError as error:
                failed.append(error)
            nursery.cancel_scope.cancel()

        nursery.start_soon(ask)
        while (await receive())["type"] != "http.disconnect":
            pass
        whole.cancel()
    if failed:
        raise failed[0]
    return found[0]


async def _nothing() -> AsyncGenerator[telemetry_file.Columns]:
    return
    yield


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/telemetry/export",
        handler=export_telemetry,
        needs="telemetry.read",
        is_bulk=True,
        summary="Readings as a file: CSV, JSON lines or Parquet",
        query=structs.ExportQuery,
        media=tuple(telemetry_file.MEDIA.values()),
        errors=(404,),
        codes={
            404: ("device_unknown",),
            422: (
                "time_invalid",
                "range_invalid",
                "device_count_too_large",
                "wildcard_count_too_large",
                "telemetry_export_too_large",
            ),
            429: ("telemetry_export_count",),
            503: ("telemetry_export_timeout",),
        },
        tags=("telemetry",),
    ),
)
