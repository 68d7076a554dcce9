"""An object store that lists in the order of bytes, as the large ones do, and fails when it is told to. It passes the contract (tests/contracts).

What it knows of S3 is what the engine asks for: put where there is none, get of a range, list with an offset and a delimiter, delete.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from replication.tier.engines.credentials import Credentials

BUCKET: Final = "copies"
Fault = Callable[[str, str], tuple[int, str] | None]
"""From a method and a path to a status and the store's word for it; None where all is well."""


class S3StandIn:
    """Objects by their keys, and what is asked of them.

    Attributes:
        objects: What is there.
        fault: Answers instead of the store.
        overwrites: If-None-Match is not looked at.
        asked: The method and the path of each request.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.objects: dict[str, bytes] = {}
        self.fault: Fault = lambda method, path: None
        self.overwrites = False
        self.page_max = 1_000
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.credentials = Credentials({"access_key_id": "AKID", "secret_access_key": "hidden"})

    def address(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{self.port}"

    def put(self, key: str, data: bytes, is_conditional: bool) -> tuple[int, bytes]:
        with self.lock:
            if key in self.objects and is_conditional and not self.overwrites:
                return 412, error("PreconditionFailed")
            self.objects[key] = data
            return 200, b""

    def listing(self, options: dict[str, str]) -> bytes:
        """ListObjectsV2."""
        prefix, delimiter = options.get("prefix", ""), options.get("delimiter", "")
        after = options.get("continuation-token") or options.get("start-after", "")
        found: list[str] = []
        folders: list[str] = []
        is_cut = False
        with self.lock:
            for key in sorted(self.objects):
                rest = key[len(prefix) :]
                if not key.startswith(prefix) or key <= after:
                    continue
                if delimiter and delimiter in rest:
                    folder = prefix + rest.split(delimiter)[0] + delimiter
                    if folder not in folders:
                        folders.append(folder)
                    continue
                if len(found) == self.page_max:
                    is_cut = True
                    break
                found.append(key)
            rows = "".join(
                f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{etag(self.objects[key])}&quot;</ETag><Size>{len(self.objects[key])}</Size></Contents>"
                for key in found
            )
        rows += "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders
        )
        token = f"<NextContinuationToken>{escape(found[-1])}</NextContinuationToken>" if is_cut else ""
        return (
            f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{str(is_cut).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
        ).encode()


def etag(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


def error(code: str) -> bytes:
    """What a store says of an error; the key id and what was signed among it, as real ones do."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><AWSAccessKeyId>AKID</AWSAccessKeyId></Error>".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # so that an answer leaves in one piece
    store: S3StandIn

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if key := self._key():
            self._answer(*self.store.put(key, data, self.headers["If-None-Match"] == "*"), version=etag(data))

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        options = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        key = self._key()
        if key is None:
            return
        if "list-type" in options:
            self._answer(200, self.store.listing(options))
        elif key not in self.store.objects:
            self._answer(404, error("NoSuchKey"))
        else:
            self._answer_with(self.store.objects[key])

    def do_DELETE(self) -> None:
        if key := self._key():
            with self.store.lock:
                self.store.objects.pop(key, None)
            self._answer(204, b"")

    def _key(self) -> str | None:
        """The object's key; None where a fault was answered with."""
        path = unquote(urlsplit(self.path).path)
        self.store.asked.append((self.command, path))
        fault = self.store.fault(self.command, path)
        if fault is None:
            return path.removeprefix(f"/{BUCKET}").lstrip("/")
        self._answer(fault[0], error(fault[1]))
        return None

    def _answer_with(self, data: bytes) -> None:
        wanted = self.headers["Range"]
        if wanted is None:
            self._answer(200, data, version=etag(data))
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1]
        self._answer(
            206, part, version=etag(data), span=f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        )

    def _answer(self, status: int, body: bytes, *, version: str = "", span: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if version:
            self.send_header("ETag", f'"{version}"')
        if span:
            self.send_header("Content-Range", span)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def s3_stand_in() -> Iterator[S3StandIn]:
    """A running store."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        store = S3StandIn(server.server_address[1])
        server.RequestHandlerClass = type("_HandlerOfOne", (_Handler,), {"store": store})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()
