"""Limits of the catalog's changes as they go from node to node, as limits.py has those of everything else."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import KIB, MIB

# --- A record of the `catalog` stream (storage/catalog_stream/record.py) ---------------------------------------
CATALOG_RECORD_BYTES_MAX: Final = 15 * MIB
"""A block of one record may have 16 MiB and its columns (docs/LOG_FORMAT.md). Rows come through an API whose bodies have 1 MiB; JSON escapes make
six bytes of one at worst, so 6 MiB."""
CATALOG_RECORD_TABLE_LENGTH_MAX: Final = 64
CATALOG_RECORD_KEY_LENGTH_MAX: Final = 2 * KIB
"""An alarm's id of a device, a rule, a group and a series is the longest: four names of up to 256 characters."""
CATALOG_RECORD_FIELD_COUNT_MAX: Final = 256
"""Columns of a row; executions have 40."""
CATALOG_RECORD_SEEN_COUNT_MAX: Final = 1_024
"""Nodes of a fleet (ROSTER_NODE_COUNT_MAX), for each field that a person decides."""
CATALOG_RECORD_BY_LENGTH_MAX: Final = 256

# --- Taking over other nodes' changes (storage/catalog/merging.py) ---------------------------------------------
CONFLICT_KEPT_COUNT_MAX: Final = 1_000
"""Resolved ones, the newest; open ones are no more than there are rows."""
MERGE_RECORD_COUNT_MAX: Final = 500
"""In one transaction, if there is time for as many: its commit costs as much as twenty of them."""
SET_ASIDE_COUNT_MAX: Final = 100_000
"""Of all nodes together, 400 bytes each in the usual case: 40 MB. When there are more, the stream that they come from waits for the upgrade."""

# --- Standing in for a node that is gone (appliance/run/standing_in.py) ----------------------------------------
TAKE_OVER_AFTER_MS: Final = 30_000
"""So long a node has to be dead, as the site sees it, before another one drives what it drove. Rebooting a box takes that long."""
HAND_OVER_AFTER_MS: Final = 10_000
"""So long a device has to be connected at another box alone before its update goes on there: longer than a look, shorter than anybody waits."""
STANDING_IN_LOOK_MS: Final = 5_000
TAKE_OVER_DEVICE_COUNT_MAX: Final = 1_000
"""In one look: about 0.3 ms for each of their executions."""
