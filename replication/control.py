"""The replicator's control socket: questions of the node and the command line, one after the other on a connection.

Frame: u32 big-endian length, then a msgpack map. The server begins with `{"t": "hello", "version": 1}`; the client asks
`{"t": "ask", "question": …, "fields": {…}}` and gets `{"t": "answer", "body": {…}}` or `{"t": "answer", "error": {…}}`.
The socket lies in a folder that only this user can enter, so whoever can ask owns the files anyway.

Must not know: what is asked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgpack
import structlog
import trio

from appliance.core.errors import (
    ConfigError,
    Conflict,
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    StorageError,
    Unavailable,
    UsageError,
)
from appliance.core.limits_replication import (
    CONTROL_ANSWER_BYTES_MAX,
    CONTROL_ASKING_COUNT_MAX,
    CONTROL_QUESTION_BYTES_MAX,
    CONTROL_TIMEOUT_S,
)

CONTROL_VERSION: Final = 1
LENGTH_BYTES: Final = 4
REPLICATOR_AWAY: Final = "replicator_away"
ERRORS: Final[dict[str, type[HomeportError]]] = {
    kind.__name__: kind
    for kind in (
        ConfigError,
        UsageError,
        NotFound,
        Conflict,
        NotAuthorized,
        LimitExceeded,
        Unavailable,
        StorageError,
    )
}
Answer: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
log = structlog.get_logger(__name__)


class ControlServer:
    """See the module's docstring.

    Args:
        answer: Knows the answers; raises HomeportError.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._asking = 0

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        self._path.unlink(missing_ok=True)
        listener = trio.socket.from_stdlib_socket(bound(self._path))
        listener.listen(CONTROL_ASKING_COUNT_MAX)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(trio.serve_listeners, self._serve, [trio.SocketListener(listener)])
                task_status.started()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, stream: trio.SocketStream) -> None:
        if self._asking >= CONTROL_ASKING_COUNT_MAX:
            await stream.aclose()
            return
        self._asking += 1
        try:
            async with stream:
                await send_frame(
                    stream, {"t": "hello", "version": CONTROL_VERSION}, CONTROL_QUESTION_BYTES_MAX
                )
                while (asked := await receive_frame(stream, CONTROL_QUESTION_BYTES_MAX)) is not None:
                    await send_frame(stream, await self._answered(asked), CONTROL_ANSWER_BYTES_MAX)
        except (trio.BrokenResourceError, trio.ClosedResourceError, UsageError) as error:
            log.debug("a control connection ended", reason=str(error))
        finally:
            self._asking -= 1

    async def _answered(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        match asked:
            case {"t": "ask", "question": str(question), "fields": dict(fields)}:
                try:
                    return {"t": "answer", "body": dict(await self._answer(question, fields))}
                except HomeportError as error:
                    return {"t": "answer", "error": encode_error(error)}
            case _:
                raise UsageError("That is no question.")


async def ask(path: Path, question: str, **fields: Any) -> dict[str, Any]:
    """Ask the replicator something, or have it do something.

    Raises:
        Unavailable: `replicator_away`: it is not there, or does not answer in time. HomeportError: as the replicator says.
    """
    with trio.move_on_after(CONTROL_TIMEOUT_S):
        try:
            async with await trio.open_unix_socket(path) as stream:
                hello = await receive_frame(stream, CONTROL_QUESTION_BYTES_MAX)
                if hello is None or hello.get("version") != CONTROL_VERSION:
                    raise away("it is of another version")
                await send_frame(
                    stream,
                    {"t": "ask", "question": question, "fields": fields},
                    CONTROL_QUESTION_BYTES_MAX,
                )
                answer = await receive_frame(stream, CONTROL_ANSWER_BYTES_MAX)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise away(str(error)) from error
        match answer:
            case {"body": dict(body)}:
                return body
            case {"error": error_fields}:
                raise decode_error(error_fields)
        raise away("it hung up")
    raise away("it does not answer")


def encode_error(error: HomeportError) -> dict[str, str]:
    """An error as an answer holds it."""
    kind = next((name for name, kind in ERRORS.items() if isinstance(error, kind)), "")
    return {"kind": kind, "message": error.message, "hint": error.hint, "code": error.code}


def decode_error(fields: object) -> HomeportError:
    """The error that `encode_error` was given."""
    match fields:
        case {"kind": str(kind), "message": str(message), "hint": str(hint), "code": str(code)}:
            return ERRORS.get(kind, HomeportError)(message, hint=hint, code=code)
    return away("its answer is none")


async def send_frame(stream: trio.SocketStream, message: Mapping[str, Any], bytes_max: int) -> None:
    """Send one message with its length.

    Raises:
        UsageError: it is too large. trio.BrokenResourceError: the connection has ended.
    """
    body: bytes = msgpack.packb(message)
    if len(body) > bytes_max:
        raise UsageError(f"A message of {len(body)} bytes is too large for the control socket.")
    await stream.send_all(len(body).to_bytes(LENGTH_BYTES, "big") + body)


async def receive_frame(stream: trio.SocketStream, bytes_max: int) -> dict[str, Any] | None:
    """The next message; None at the end.

    Raises:
        UsageError: it is too large or none.
    """
    head = await _exactly(stream, LENGTH_BYTES)
    if head is None:
        return None
    size_bytes = int.from_bytes(head, "big")
    if size_bytes > bytes_max:
        raise UsageError(f"A message of {size_bytes} bytes is too large for the control socket.")
    body = await _exactly(stream, size_bytes)
    if body is None:
        return None
    try:
        message = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise UsageError("That is no message.") from error
    if not isinstance(message, dict):
        raise UsageError("That is no message.")
    return message


async def _exactly(stream: trio.SocketStream, size_bytes: int) -> bytes | None:
    data = bytearray()
    while len(data) < size_bytes:
        piece = await stream.receive_some(size_bytes - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def bound(path: Path) -> socket.socket:
    """A Unix socket at a path that only this user can connect to."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Nothing else runs in between: the mask is the whole process's.
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def away(why: str) -> Unavailable:
    """The replicator is not there, or not to be understood."""
    return Unavailable(
        f"The replicator can't be asked: {why}.",
        hint="It runs with Homeport once this box belongs to a fleet: homeport peer list.",
        code=REPLICATOR_AWAY,
    )
