-- compatible-with: 1
-- Days that nodes have in their archives, so that the site's other nodes copy their files. The release before knows nothing of it and goes on.

CREATE TABLE archived_days (
    archived_day_id TEXT PRIMARY KEY,      -- NODE:LINEAGE:YYYY-MM-DD
    lineage         TEXT NOT NULL,         -- of the disk: an archive that was begun anew has another one
    day             INTEGER NOT NULL,      -- days since 1970-01-01 UTC
    generation      INTEGER NOT NULL,
    manifest_sha256 TEXT NOT NULL CHECK (length(manifest_sha256) = 64), -- names its files by their digests
    manifest_bytes  INTEGER NOT NULL,
    total_bytes     INTEGER NOT NULL,      -- of files and manifest
    content         TEXT NOT NULL,         -- rows, and the sum of their hashes: equal where two nodes have the same readings of a day
    made_at_ms      INTEGER NOT NULL,
    origin          TEXT NOT NULL,         -- the node whose day it is
    hlc             INTEGER NOT NULL
) STRICT;
