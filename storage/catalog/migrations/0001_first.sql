-- compatible-with: 1
-- The catalog's first tables. A replicated table has origin (node id, 32 hex digits) and hlc (hybrid clock of the
-- transaction that wrote the row); its capture triggers are made by storage/catalog/capture.py after migrating.

CREATE TABLE change_clock (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    node_id  TEXT NOT NULL CHECK (length(node_id) = 32),
    hlc      INTEGER NOT NULL,          -- of the transaction under way, or of the last one
    capture  INTEGER NOT NULL DEFAULT 1 -- 0 while records of a peer are applied: they are not ours to send on
) STRICT;

CREATE TABLE outbox (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,
    row_key    TEXT NOT NULL,
    op         TEXT NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    row        TEXT NOT NULL,           -- JSON object: the row after the change, before it for a delete
    changed    TEXT,                    -- JSON array of column names for an update, so that merging is per field
    hlc        INTEGER NOT NULL,
    origin     TEXT NOT NULL
) STRICT;

CREATE TABLE tombstones (
    table_name TEXT NOT NULL,
    row_key    TEXT NOT NULL,
    hlc        INTEGER NOT NULL,
    origin     TEXT NOT NULL,
    PRIMARY KEY (table_name, row_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    device_id           TEXT PRIMARY KEY,
    kind                TEXT NOT NULL CHECK (kind IN ('device', 'application')),
    access              TEXT NOT NULL CHECK (access IN ('own', 'site')),
    state               TEXT NOT NULL CHECK (state IN ('active', 'waiting', 'rejected', 'decommissioned')),
    name                TEXT NOT NULL DEFAULT '',
    tags                TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    first_contact_at_ms INTEGER,
    created_at_ms       INTEGER NOT NULL,
    updated_at_ms       INTEGER NOT NULL,
    origin              TEXT NOT NULL,
    hlc                 INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_by_state ON devices (state, device_id);

CREATE TABLE device_tokens (
    token_hash    TEXT PRIMARY KEY CHECK (length(token_hash) = 64), -- keyed hash; the token itself is nowhere
    device_id     TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;
CREATE INDEX device_tokens_by_device ON device_tokens (device_id);

CREATE TABLE users (
    user_id                   TEXT PRIMARY KEY,
    role                      TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'installer', 'admin')),
    password_hash             TEXT NOT NULL, -- argon2id
    disabled                  INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created_at_ms             INTEGER NOT NULL,
    credentials_changed_at_ms INTEGER NOT NULL,
    origin                    TEXT NOT NULL,
    hlc                       INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    key    TEXT PRIMARY KEY,
    value  TEXT NOT NULL CHECK (json_valid(value)),
    origin TEXT NOT NULL,
    hlc    INTEGER NOT NULL
) STRICT;

-- Of this node only: a browser is signed in to one node.
CREATE TABLE browser_sessions (
    session_hash    TEXT PRIMARY KEY CHECK (length(session_hash) = 64), -- keyed hash of the cookie
    user_id         TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    last_used_at_ms INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,
    address         TEXT NOT NULL,
    agent           TEXT NOT NULL
) STRICT;
CREATE INDEX browser_sessions_by_user ON browser_sessions (user_id);
CREATE INDEX browser_sessions_by_use ON browser_sessions (last_used_at_ms);

-- Of this node only: which devices' credentials changed, one row each, the newest change last. The broker process
-- reads what lies beyond the position it knows (storage/catalog/auth.py).
CREATE TABLE auth_changes (
    position  INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL UNIQUE ON CONFLICT REPLACE
) STRICT;

CREATE TRIGGER auth_device_insert AFTER INSERT ON devices
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (NEW.device_id); END;
CREATE TRIGGER auth_device_update AFTER UPDATE OF kind, access, state ON devices
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (NEW.device_id); END;
CREATE TRIGGER auth_device_delete AFTER DELETE ON devices
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (OLD.device_id); END;
CREATE TRIGGER auth_token_insert AFTER INSERT ON device_tokens
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (NEW.device_id); END;
CREATE TRIGGER auth_token_update AFTER UPDATE ON device_tokens
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (NEW.device_id); END;
CREATE TRIGGER auth_token_delete AFTER DELETE ON device_tokens
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (OLD.device_id); END;
