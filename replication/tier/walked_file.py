"""How far audits have walked a region, kept over restarts. What is lost of it is walked again. Blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import structlog

from appliance.core.limits_replication import TIER_WALKED_BYTES_MAX
from replication.tier.auditing import Walked
from storage.log.disk import OsDisk
from storage.log.manifest import replace_file
from storage.replicas.streams import StreamId

_SUFFIX: Final = ".audit"
_decode = msgspec.msgpack.Decoder(list[tuple[StreamId, Walked]]).decode
log = structlog.get_logger(__name__)


def read_walked(folder: Path, region: str) -> dict[StreamId, Walked]:
    """What is known; nothing where there is no file, or none that can be understood."""
    path = folder / f"{region}{_SUFFIX}"
    try:
        if path.stat().st_size > TIER_WALKED_BYTES_MAX:
            raise msgspec.DecodeError("it is too large")
        return dict(_decode(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.warning("how far a region was walked is not known any more", region=region, error=str(error))
        return {}


def write_walked(folder: Path, region: str, walked: dict[StreamId, Walked]) -> None:
    """Keep it. A disk that doesn't take it costs another walk, and no more."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{region}{_SUFFIX}"
        replace_file(OsDisk(), folder, name, f"{name}.new", msgspec.msgpack.encode(list(walked.items())))
    except OSError as error:
        log.warning("how far a region was walked is not kept", region=region, error=str(error))
