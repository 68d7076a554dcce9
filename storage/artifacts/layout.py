"""Where the bytes of artifacts lie, below data_dir/artifacts:

sha256/ab/abcdef…           a blob under its digest; never changed
sha256/ab/abcdef….damaged   one whose bytes are not what its name says any more
uploads/ID                  what has arrived of an upload
fetching/abcdef…            what has come of a blob of another box of the site
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FOLDER: Final = "artifacts"
BLOBS: Final = "sha256"
UPLOADS: Final = "uploads"
DAMAGED: Final = ".damaged"
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_UPLOAD_ID: Final = re.compile(r"[0-9a-z]{8,64}\Z")


def is_sha256(text: str) -> bool:
    """Whether a text is a SHA-256 in lower-case hexadecimal digits."""
    return _SHA256.match(text) is not None


def is_upload_id(text: str) -> bool:
    """Whether a text can be an upload's id."""
    return _UPLOAD_ID.match(text) is not None


def blob_path(root: Path, sha256: str) -> Path:
    """Where a blob lies."""
    assert is_sha256(sha256)
    return root / BLOBS / sha256[:2] / sha256


def upload_path(root: Path, upload_id: str) -> Path:
    """Where an upload lies."""
    assert is_upload_id(upload_id)
    return root / UPLOADS / upload_id
