-- compatible-with: 1
-- How payloads are read and how long readings are kept: mappings with the log position from which they hold, replays of
-- dead letters, erasures, retention. The release before knows none of it and reads payloads by its configuration alone.

-- What operators wrote. Tried in order of position, before the configuration's.
CREATE TABLE mappings (
    mapping_id    TEXT PRIMARY KEY,
    position      INTEGER NOT NULL,
    pattern       TEXT NOT NULL,           -- topic pattern, docs/READINGS.md
    format        TEXT NOT NULL,           -- json, text, cbor, msgpack, senml, senml_cbor …
    metric        TEXT,
    fields        TEXT NOT NULL DEFAULT 'null' CHECK (json_valid(fields)), -- null: all of the payload's; else {only, rules}
    note          TEXT NOT NULL DEFAULT '',
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;

-- Every set of mappings that was ever in force, the configuration's included, and from which record of the node's log on.
-- A rebuild reads each record as it was read the first time. Never changed; only
-- when there are a thousand, the oldest go that no record of the log was read by.
CREATE TABLE mapping_sets (
    set_id     TEXT PRIMARY KEY,           -- origin and number
    number     INTEGER NOT NULL CHECK (number >= 1),
    epoch      INTEGER NOT NULL,
    from_seq   INTEGER NOT NULL,
    mappings   TEXT NOT NULL CHECK (json_valid(mappings)),
    made_at_ms INTEGER NOT NULL,
    origin     TEXT NOT NULL,
    hlc        INTEGER NOT NULL
) STRICT;

-- Dead letters of records before (epoch, at_seq), read again by a newer set of mappings, in parts: [[epoch, at_seq of the cursor,
-- epoch and seq after which, epoch and seq up to which letters were taken], …].
CREATE TABLE replays (
    replay_id       TEXT PRIMARY KEY,
    reason          TEXT NOT NULL,         -- '' for any
    topic           TEXT NOT NULL,         -- pattern, '' for any
    device_id       TEXT NOT NULL,         -- '' for any
    epoch           INTEGER NOT NULL,
    at_seq          INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('requested', 'done', 'failed')),
    parts           TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(parts)),
    letter_count    INTEGER NOT NULL DEFAULT 0,
    message_count   INTEGER NOT NULL DEFAULT 0,
    row_count       INTEGER NOT NULL DEFAULT 0,
    still_dead      INTEGER NOT NULL DEFAULT 0,
    detail          TEXT NOT NULL DEFAULT '',
    requested_at_ms INTEGER NOT NULL,
    done_at_ms      INTEGER,
    origin          TEXT NOT NULL,
    hlc             INTEGER NOT NULL
) STRICT;

-- A device's readings that must go: nothing that came before before_seq is kept, also not after a rebuild from the log.
CREATE TABLE erasures (
    erasure_id       TEXT PRIMARY KEY,
    device_id        TEXT NOT NULL,
    epoch            INTEGER NOT NULL,
    before_seq       INTEGER NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('requested', 'erased', 'complete')), -- erased: not from the log yet
    reading_count    INTEGER NOT NULL DEFAULT 0,
    requested_at_ms  INTEGER NOT NULL,
    erased_at_ms     INTEGER,
    completed_at_ms  INTEGER,
    origin           TEXT NOT NULL,
    hlc              INTEGER NOT NULL
) STRICT;
CREATE INDEX erasures_by_device ON erasures (device_id);

-- How long readings are kept, by metric. The first whose pattern fits counts; what fits none has the configuration's.
CREATE TABLE retention_classes (
    class_id      TEXT PRIMARY KEY CHECK (length(class_id) BETWEEN 1 AND 32),
    position      INTEGER NOT NULL,
    metric        TEXT NOT NULL,           -- glob: * and ?
    hot_days      INTEGER NOT NULL CHECK (hot_days >= 1),
    archive_days  INTEGER NOT NULL CHECK (archive_days >= 0),
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;

-- Of this node only: backups that were made, the newest of them to be shown.
CREATE TABLE backups (
    backup_id      TEXT PRIMARY KEY,
    directory      TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    started_at_ms  INTEGER NOT NULL,
    finished_at_ms INTEGER,
    verified_at_ms INTEGER,
    file_count     INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0,     -- of what was backed up
    new_bytes      INTEGER NOT NULL DEFAULT 0,     -- written this time
    detail         TEXT NOT NULL DEFAULT ''
) STRICT;
