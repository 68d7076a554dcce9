"""The Range header of one file: which bytes of it are asked for.

Source: RFC 9110 §13.1.5, §14. One range is served; several, another unit, and what can't be read are ignored, as the standard allows, and
the whole file is sent.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.core.limits_delivery import RANGE_HEADER_BYTES_MAX

_ONE: Final = re.compile(r"bytes=(\d{0,20})-(\d{0,20})", re.ASCII | re.IGNORECASE)


class Unsatisfiable(Exception):  # noqa: N818 - it is answered with 416
    """No byte of the file is in the range."""


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for the whole file.

    Args:
        header: As it was sent; None without one.
        size_bytes: Of the file, at least 1.
    Raises:
        Unsatisfiable: it begins behind the file's end, or is of no bytes.
    """
    if header is None or len(header) > RANGE_HEADER_BYTES_MAX:
        return None
    found = _ONE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        if int(last) == 0:
            raise Unsatisfiable
        return max(0, size_bytes - int(last)), size_bytes
    if last and int(last) < int(first):
        return None
    if int(first) >= size_bytes:
        raise Unsatisfiable
    return int(first), min(size_bytes, int(last) + 1) if last else size_bytes
