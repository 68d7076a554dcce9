"""Limits of a site that is read as one log (storage/site) and of what follows from it."""

from __future__ import annotations

from typing import Final

SITE_STREAM_COUNT_MAX: Final = 64
"""Streams beside the own one: nodes of a site, and branches of those that forked. A reader has a few descriptors for each."""
SITE_ENTRY_COUNT_MAX: Final = 1_000_000
"""Entries of the order's file, 76 bytes each: 76 MB, and 12 MB of memory. See SITE_TURN_MS for how long they last."""
SITE_TURN_MS: Final = (1_000, 4_000, 15_000, 60_000)
"""How often others' new records are taken, by the quarter to which the order is full. A turn makes an entry for each stream that
has something: three busy nodes fill a quarter in a day, all of it in three weeks; compaction begins long before."""
SITE_TURN_RECORDS_MAX: Final = 32_768
"""Records of others in one turn, shared among those who have some: what own readings may wait behind. A third of a batch."""
SITE_LOOK_MS: Final = 2_000
"""How often it is looked for streams that are new."""
SITE_RETRY_MS: Final = 60_000
"""After the order could not be written: until then nothing is taken from others."""
SITE_COMPACT_ENTRIES_MIN: Final = 4_096
"""Entries whose records are gone, below which the file is not written anew: 304 KiB."""
