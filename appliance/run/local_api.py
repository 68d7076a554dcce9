"""The node's API as the command line uses it: HTTP over a Unix socket, whose folder only this user can enter.

Must not know: what the answers mean; the verbs do.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from appliance.core import errors
from appliance.core.errors import HomeportError, Unavailable

TIMEOUT_S: Final = 15.0
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""A page of devices has about 0.3 MiB; what is beyond this is no answer of ours."""
_PIECE_BYTES: Final = 64 * 1024
NODE_STOPPED: Final = "node_stopped"


class LocalApi:
    """A client of the node's socket; one connection per request.

    Args:
        path: run_dir/node.sock.
        timeout_s: For connecting, and for each read, seconds.
    """

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def get(self, target: str) -> Any:
        """The decoded answer of a GET. Raises as `request`."""
        return self.request("GET", target)

    def post(self, target: str, body: object) -> Any:
        """The decoded answer of a POST with a JSON body. Raises as `request`."""
        return self.request("POST", target, body)

    def upload(self, target: str, file: BinaryIO, *, media_type: str, timeout_s: float) -> Any:
        """The decoded answer of a POST whose body is read from a file piece by piece.

        Args:
            timeout_s: For each piece and for the answer: it comes when all was taken in.
        Raises:
            As `request`.
        """
        connection = _UnixConnection(self._path, timeout_s)
        headers = {"Accept": "application/json", "Content-Type": media_type, "Transfer-Encoding": "chunked"}
        with self._answer(connection, "POST", target, file, headers) as response:
            data = response.read(ANSWER_BYTES_MAX)
            if response.status >= 400:
                raise from_problem(response.status, data)
            return json.loads(data)

    def send_file(
        self,
        method: str,
        target: str,
        file: io.RawIOBase,
        *,
        media_type: str,
        size_bytes: int,
        timeout_s: float,
    ) -> Any:
        """The decoded answer of a request whose body is so many bytes of a file.

        Args:
            timeout_s: For each piece and for the answer.
        Raises:
            As `request`.
        """
        connection = _UnixConnection(self._path, timeout_s)
        connection.blocksize = _PIECE_BYTES
        headers = {
            "Accept": "application/json",
            "Content-Type": media_type,
            "Content-Length": str(size_bytes),
        }
        with self._answer(connection, method, target, file, headers) as response:
            status, data = response.status, response.read(ANSWER_BYTES_MAX)
        if status >= 400:
            raise from_problem(status, data)
        return json.loads(data)

    def download(self, target: str, body: object = None) -> Iterator[bytes]:
        """The pieces of an answer of any length, of a POST where there is a body. Raises as `request`, for one that breaks off too."""
        connection = _UnixConnection(self._path, self._timeout_s)
        method, content = ("GET", None) if body is None else ("POST", json.dumps(body))
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._answer(connection, method, target, content, headers) as response:
            if response.status >= 400:
                raise from_problem(response.status, response.read(ANSWER_BYTES_MAX))
            while piece := response.read(_PIECE_BYTES):
                yield piece

    def request(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        accept: tuple[int, ...] = (),
        timeout_s: float | None = None,
    ) -> Any:
        """Ask, and decode the JSON answer (None if it is empty).

        Args:
            accept: Error statuses whose body is an answer all the same, such as 503 of a health check.
            timeout_s: For each read; None for the client's.
        Raises:
            Unavailable: code "node_stopped" when nobody listens; another code when the node doesn't answer in time.
            HomeportError: of the class and with message, hint and code that the node's problem details name.
        """
        connection = _UnixConnection(self._path, timeout_s or self._timeout_s)
        headers = {"Accept": "application/json"}
        content = None
        if body is not None:
            content = json.dumps(body)
            headers["Content-Type"] = "application/json"
        with self._answer(connection, method, target, content, headers) as response:
            status, data = response.status, response.read(ANSWER_BYTES_MAX)
        if status >= 400 and status not in accept:
            raise from_problem(status, data)
        return json.loads(data) if data else None

    @contextmanager
    def _answer(
        self,
        connection: _UnixConnection,
        method: str,
        target: str,
        content: str | BinaryIO | io.RawIOBase | None,
        headers: dict[str, str],
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and have its answer read within; whatever fails on the way is Unavailable."""
        try:
            try:
                connection.request(
                    method, target, content, headers, encode_chunked="Transfer-Encoding" in headers
                )
            except BrokenPipeError:
                # Who needs no body answers and closes before it is sent: the answer is there to be read.
                pass
            yield connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Unavailable(
                f"The node doesn't run: nobody listens on {self._path}.",
                hint="Start it with `homeport run`, or name the right --config.",
                code=NODE_STOPPED,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"The node doesn't answer on {self._path}: {error}.",
                hint="Look at its log and run `homeport doctor`.",
                code="node_silent",
            ) from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(str(self._path))


_BY_STATUS: Final[dict[int, type[HomeportError]]] = {
    400: errors.UsageError,
    401: errors.NotAuthorized,
    403: errors.NotAuthorized,
    404: errors.NotFound,
    409: errors.Conflict,
    422: errors.UsageError,
    429: errors.LimitExceeded,
    503: errors.Unavailable,
    507: errors.StorageError,
}


def from_problem(status: int, data: bytes) -> HomeportError:
    """The error that an answer with an error status stands for. Source: RFC 9457, and ui/problem.py for ours."""
    try:
        problem = json.loads(data)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = _BY_STATUS.get(status, HomeportError)
    message = str(problem.get("detail") or problem.get("title") or f"The node answered with status {status}.")
    code = problem.get("code")
    return kind(message, hint=str(problem.get("hint") or ""), code=str(code) if code else None)
