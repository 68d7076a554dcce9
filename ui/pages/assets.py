"""The static files, held in memory: about 200 kB, compressed once at start, named by their content.

A page asks for `/static/app.css?v=HASH`, which may be kept for ever; an upgrade changes the hash.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

STATIC_DIR: Final = Path(__file__).parent.parent / "static"
_MEDIA_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes as they are and gzipped, and the first 12 hex digits of its SHA-256."""

    media_type: str
    body: bytes
    body_gzip: bytes
    version: str


class Assets:
    """All files below a directory whose type a page may ask for; everything else does not exist."""

    def __init__(self, directory: Path = STATIC_DIR) -> None:
        self._by_path: dict[str, Asset] = {}
        for path in sorted(directory.rglob("*")):
            media_type = _MEDIA_TYPES.get(path.suffix)
            if media_type is None or not path.is_file():
                continue
            body = path.read_bytes()
            self._by_path[path.relative_to(directory).as_posix()] = Asset(
                media_type=media_type,
                body=body,
                body_gzip=gzip.compress(body, 9, mtime=0),
                version=hashlib.sha256(body).hexdigest()[:12],
            )

    def url(self, path: str) -> str:
        """Where a page finds the file. Raises KeyError when there is none: a template's mistake."""
        return f"/static/{path}?v={self._by_path[path].version}"

    async def respond(self, request: Request) -> Response:
        """`GET /static/{path}`: never touches the disk, so no path can lead out of the directory."""
        asset = self._by_path.get(request.path_params["path"])
        if asset is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        etag = f'"{asset.version}"'
        known_version = request.query_params.get("v") == asset.version
        headers = {
            "etag": etag,
            "cache-control": _FOR_EVER if known_version else "no-cache",
            "vary": "accept-encoding",
            "content-type": asset.media_type,
        }
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.body_gzip, headers={**headers, "content-encoding": "gzip"})
        return Response(asset.body, headers=headers)
