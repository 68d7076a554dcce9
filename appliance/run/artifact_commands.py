"""What `homeport artifact` asks of the node: an upload that goes on after any cut, manifests, keys.

Must not know: how it is shown.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from appliance.core.errors import Conflict, NotFound, Unavailable, UsageError
from appliance.core.limits import MIB
from appliance.core.limits_updates import (
    ARTIFACT_CLI_PATIENCE_S,
    ARTIFACT_CLI_TIMEOUT_S,
    MANIFEST_BYTES_MAX,
)
from appliance.management import manifest
from appliance.management.artifact_format import recognize
from appliance.management.artifact_image import ArtifactFormat, Found
from appliance.management.manifest import Signed
from appliance.run.local_api import LocalApi

Row = dict[str, Any]
Progress = Callable[[int, int], None]
"""Told how many bytes are there, and of how many."""
OCTETS: Final = "application/octet-stream"
RETRY_PAUSE_S: Final = 1.0
_ARTIFACTS: Final = "/api/v1/artifacts"
_UPLOADS: Final = "/api/v1/artifact-uploads"
_KEYS: Final = "/api/v1/artifact-keys"
_PASSING: Final = frozenset({"node_stopped", "node_silent", "upload_offset", "body_too_slow"})
"""What an upload goes on after: the node is away or starts anew, or some bytes did not get onto its disk."""


class ArtifactCommands:
    """A client of the node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def list(self) -> Row:
        """All artifacts, and the room."""
        found: Row = self._api.get(_ARTIFACTS)
        return found

    def find(self, wanted: str) -> Row:
        """The artifact of that id, or of NAME@VERSION; a bare name is its newest version. Raises NotFound: `artifact_unknown`."""
        name, _, version = wanted.partition("@")
        for each in self.list()["artifacts"]:
            if each["artifact_id"] == wanted or (each["name"] == name and version in ("", each["version"])):
                row: Row = each
                return row
        raise NotFound(
            f"There is no artifact {wanted[:100]}.",
            hint="`homeport artifact list` names them; say its id or NAME@VERSION.",
            code="artifact_unknown",
        )

    def add(self, path: Path, wish: Row, progress: Progress = lambda done, total: None) -> Row:
        """Upload a file and make an artifact of it; an upload of it that was begun is gone on with.

        Args:
            wish: As the API takes it, without size, digest and file name.
        Raises:
            UsageError: it can't be read, or is not what it is said to be. HomeportError: what the node says.
        """
        size_bytes, sha256 = look_at(path)
        body = {"filename": path.name, "size_bytes": size_bytes, "sha256": sha256, **wish}
        upload_id = self._begun(body)
        self._send(upload_id, path, size_bytes, progress)
        made: Row = self._api.request(
            "POST", f"{_UPLOADS}/{upload_id}/finish", timeout_s=ARTIFACT_CLI_TIMEOUT_S
        )
        return made

    def uploads(self) -> Row:
        """Uploads that are not finished."""
        found: Row = self._api.get(_UPLOADS)
        return found

    def remove_upload(self, upload_id: str) -> None:
        """Remove one. Raises NotFound: `upload_unknown`."""
        self._api.request("DELETE", f"{_UPLOADS}/{quote(upload_id, safe='')}")

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact. Raises Conflict: `artifact_in_use`."""
        self._api.request("DELETE", f"{_ARTIFACTS}/{artifact_id}")

    def check(self, artifact_id: str) -> Row:
        """Have its bytes compared."""
        found: Row = self._api.request(
            "POST", f"{_ARTIFACTS}/{artifact_id}/check", timeout_s=ARTIFACT_CLI_TIMEOUT_S
        )
        return found

    def content(self, artifact_id: str) -> Iterator[bytes]:
        """Its bytes."""
        return self._api.download(f"{_ARTIFACTS}/{artifact_id}/content")

    def manifest(self, artifact_id: str, *, expires_at_ms: int | None = None) -> Signed:
        """The manifest that is signed or to be signed."""
        query = "" if expires_at_ms is None else "?" + urlencode({"expires_at_ms": expires_at_ms})
        found = self._api.get(f"{_ARTIFACTS}/{artifact_id}/manifest{query}")
        return Signed(**_signed(found))

    def add_signatures(self, artifact_id: str, signed: Signed) -> Row:
        """Give the node signatures."""
        found: Row = self._api.request("PUT", f"{_ARTIFACTS}/{artifact_id}/manifest", as_body(signed))
        return found

    def sign_on_box(self, artifact_id: str, *, expires_at_ms: int | None = None) -> Row:
        """Have the box sign."""
        body = {} if expires_at_ms is None else {"expires_at_ms": expires_at_ms}
        found: Row = self._api.post(f"{_ARTIFACTS}/{artifact_id}/sign", body)
        return found

    def keys(self) -> Row:
        """Whose signatures count."""
        found: Row = self._api.get(_KEYS)
        return found

    def set_keys(self, signed: Signed, *, sign_here: bool, reset: bool) -> Row:
        """Put a set of keys in force."""
        if reset:
            found: Row = self._api.post(f"{_KEYS}/reset", {"document": signed.document})
        else:
            found = self._api.request("PUT", _KEYS, {**as_body(signed), "sign_here": sign_here})
        return found

    def set_unsigned(self, policy: str) -> Row:
        """Say what may go unsigned."""
        found: Row = self._api.request("PATCH", _KEYS, {"unsigned": policy})
        return found

    def make_box_key(self) -> Row:
        """Have the box make its own key."""
        found: Row = self._api.post(f"{_KEYS}/box", {})
        return found

    def remove_box_key(self) -> None:
        """Have the box forget its own key."""
        self._api.request("DELETE", f"{_KEYS}/box")

    def _begun(self, body: Row) -> str:
        """The upload that becomes this artifact: one that was begun by the same words, or a new one."""
        for each in self.uploads()["uploads"]:
            same = ("name", "filename", "size_bytes")
            if all(each[key] == body[key] for key in same) and each["version"] == body.get("version", ""):
                return str(each["upload_id"])
        return str(self._api.post(_UPLOADS, body)["upload_id"])

    def _send(self, upload_id: str, path: Path, size_bytes: int, progress: Progress) -> None:
        one = f"{_UPLOADS}/{upload_id}"
        give_up_at = time.monotonic() + ARTIFACT_CLI_PATIENCE_S
        best = -1
        while True:
            try:
                offset = int(self._api.get(one)["offset"])
                if offset > best:
                    best, give_up_at = offset, time.monotonic() + ARTIFACT_CLI_PATIENCE_S
                progress(offset, size_bytes)
                if offset >= size_bytes:
                    return
                with path.open("rb") as file:
                    file.seek(offset)
                    self._api.send_file(
                        "PATCH",
                        f"{one}?offset={offset}",
                        _Told(file, offset, size_bytes, progress),
                        media_type=OCTETS,
                        size_bytes=size_bytes - offset,
                        timeout_s=ARTIFACT_CLI_TIMEOUT_S,
                    )
            except (Unavailable, Conflict) as error:
                if error.code not in _PASSING or time.monotonic() > give_up_at:
                    raise
                time.sleep(RETRY_PAUSE_S)


class _Told(io.RawIOBase):
    """A file that says how far it was read."""

    def __init__(self, file: io.BufferedReader, offset: int, size_bytes: int, progress: Progress) -> None:
        self._file = file
        self._at = offset
        self._size = size_bytes
        self._progress = progress

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(min(size, self._size - self._at) if size >= 0 else self._size - self._at)
        self._at += len(data)
        self._progress(self._at, self._size)
        return data


def look_at(path: Path) -> tuple[int, str]:
    """A file's size and SHA-256. Raises UsageError: `file_unreadable`, `artifact_empty`."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size_bytes = 0
            while piece := file.read(MIB):
                digest.update(piece)
                size_bytes += len(piece)
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}.", hint="Name the image's file.", code="file_unreadable"
        ) from error
    if not size_bytes:
        raise UsageError(f"{path} is empty.", hint="Name the image's file.", code="artifact_empty")
    return size_bytes, digest.hexdigest()


def recognize_file(path: Path, said: ArtifactFormat | None) -> Found:
    """What a file is by its own header. Raises UsageError: `artifact_format`, `file_unreadable`."""
    try:
        with path.open("rb") as file:

            def read(offset: int, length: int) -> bytes:
                file.seek(offset)
                return file.read(length)

            return recognize(path.stat().st_size, read, said)
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}.", hint="Name the image's file.", code="file_unreadable"
        ) from error


def read_signed(path: Path) -> Signed:
    """The document and signatures in a file. Raises UsageError: `file_unreadable`, `manifest_invalid`."""
    try:
        with path.open("rb") as file:
            return manifest.parse_signed(file.read(2 * MANIFEST_BYTES_MAX + 1))
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}.",
            hint="Name the document's file.",
            code="file_unreadable",
        ) from error


def as_body(signed: Signed) -> Row:
    """As the API takes it."""
    return {
        "document": signed.document,
        "signatures": [{"keyid": each.keyid, "alg": each.alg, "sig": each.sig} for each in signed.signatures],
    }


def _signed(answer: Row) -> Row:
    return {
        "document": answer["document"],
        "signatures": [manifest.Signature(**each) for each in answer["signatures"]],
    }
