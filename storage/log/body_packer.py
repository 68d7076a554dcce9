"""Whether a block's body is stored as it is or compressed."""

from __future__ import annotations

from typing import Final, Literal

import zstandard

from appliance.core.limits import COMPRESS_BODY_BYTES_MAX, COMPRESS_BODY_BYTES_MIN
from storage.log.frame import FLAG_ZSTD, frame_bytes

Compression = Literal["auto", "none", "zstd"]
ZSTD_LEVEL: Final = 1


class BodyPacker:
    """For one thread at a time; keeps its compressor.

    Args:
        compression: auto compresses bodies over 4 KiB and up to 64 KiB where that saves a page.
    """

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)

    def pack(self, body: bytes) -> tuple[int, bytes]:
        """The frame's flags and the body as it is stored."""
        size = len(body)
        if self._compression == "none" or (
            self._compression == "auto" and not COMPRESS_BODY_BYTES_MIN < size <= COMPRESS_BODY_BYTES_MAX
        ):
            return 0, body
        packed = self._compressor.compress(body)
        return (FLAG_ZSTD, packed) if frame_bytes(len(packed)) < frame_bytes(size) else (0, body)
