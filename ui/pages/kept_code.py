"""The code that templates were compiled to, kept beside the program's own: in `__pycache__`, as Python keeps what it compiles.

A hundred templates take most of a second to compile and a thirtieth of that to read. What is kept is taken only for the same source and
the same version of Jinja and Python, and only if it is whole; where the folder can't be written (a package's), nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

SUFFIX: Final = f".jinja.{sys.implementation.cache_tag}"
_DIGEST_BYTES: Final = hashlib.sha256().digest_size


class KeptCode(BytecodeCache):
    """In files of one folder, which is made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load_bytecode(self, bucket: Bucket) -> None:
        """Called by Jinja; what is not there, or not whole, is compiled."""
        try:
            kept = self._path(bucket).read_bytes()
        except OSError:
            return
        digest, code = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
        if hashlib.sha256(code).digest() == digest:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Called by Jinja with what it compiled; the file is replaced as a whole, since processes start beside each other."""
        if sys.dont_write_bytecode:
            return
        code = bucket.bytecode_to_string()
        path = self._path(bucket)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        # As with Python's own: a folder that can't be written costs time, and nothing else.
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            unfinished.write_bytes(hashlib.sha256(code).digest() + code)
            unfinished.replace(path)

    def _path(self, bucket: Bucket) -> Path:
        return self._folder / f"{bucket.key}{SUFFIX}"
