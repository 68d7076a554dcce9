-- compatible-with: 1
-- Who may, and how devices come in: audit, scopes, tokens of people, groups, claims, certificates. The release before
-- reads what it knows and enforces neither scopes nor second factors: docs/INSTALL.md says what going back means.

-- Values of the changed columns as they were before an update; the audit needs both sides.
ALTER TABLE outbox ADD COLUMN before TEXT;

-- Every change and sign-in. Append-only, one hash chain per node (origin); appliance/management/audit.py says what is hashed.
CREATE TABLE audit (
    entry_id      TEXT PRIMARY KEY,    -- origin and seq: unique among nodes
    seq           INTEGER NOT NULL CHECK (seq >= 1),
    at_ms         INTEGER NOT NULL,
    actor         TEXT NOT NULL,       -- user id, device id, '' for somebody unknown
    actor_kind    TEXT NOT NULL CHECK (actor_kind IN ('user', 'api_token', 'local', 'device', 'system', 'nobody')),
    address       TEXT NOT NULL,
    action        TEXT NOT NULL,       -- device.adopt, session.sign_in …
    object_kind   TEXT NOT NULL,
    object_id     TEXT NOT NULL,
    outcome       TEXT NOT NULL CHECK (outcome IN ('done', 'refused')),
    before        TEXT CHECK (before IS NULL OR json_valid(before)),
    after         TEXT CHECK (after IS NULL OR json_valid(after)),
    detail        TEXT NOT NULL DEFAULT '',
    trace_id      TEXT NOT NULL,
    previous_hash TEXT NOT NULL CHECK (length(previous_hash) = 64),
    hash          TEXT NOT NULL CHECK (length(hash) = 64),
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX audit_by_seq ON audit (origin, seq);
CREATE INDEX audit_by_time ON audit (at_ms);
CREATE INDEX audit_by_actor ON audit (actor, at_ms);
CREATE INDEX audit_by_object ON audit (object_kind, object_id, at_ms);
CREATE INDEX audit_by_action ON audit (action, at_ms);
CREATE INDEX audit_by_refusal ON audit (at_ms) WHERE outcome = 'refused';
CREATE INDEX audit_by_trace ON audit (trace_id) WHERE trace_id != '';
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit: entries never change'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit: entries never go'); END;

-- Of this node only: the newest entry of a day, signed by the node's key (appliance/management/audit_chain.py).
CREATE TABLE audit_heads (
    origin       TEXT NOT NULL,
    day          INTEGER NOT NULL,        -- UTC, days since 1970; the last head of a day replaces those before it
    seq          INTEGER NOT NULL CHECK (seq >= 1),
    hash         TEXT NOT NULL CHECK (length(hash) = 64),
    signed_at_ms INTEGER NOT NULL,
    key_id       TEXT NOT NULL CHECK (length(key_id) = 64),      -- the raw Ed25519 public key
    signature    TEXT NOT NULL CHECK (length(signature) = 128),
    PRIMARY KEY (origin, day)
) STRICT, WITHOUT ROWID;

-- People. A scope is JSON: null for the whole site, an array of group ids otherwise ([]: nothing at all).
ALTER TABLE users ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN scope TEXT NOT NULL DEFAULT 'null' CHECK (json_valid(scope));
ALTER TABLE users ADD COLUMN totp_sealed TEXT; -- the secret, sealed by the site key; null: no second factor
ALTER TABLE users ADD COLUMN updated_at_ms INTEGER NOT NULL DEFAULT 0;

-- Of this node only: the last time step whose code was used, so that no code counts twice (RFC 6238 §5.2).
CREATE TABLE totp_uses (
    user_id TEXT PRIMARY KEY,
    step    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Of this node only: failed sign-ins of an account or an address, and until when it is locked out.
CREATE TABLE lockouts (
    subject            TEXT PRIMARY KEY, -- 'user:…' or 'address:…'
    failure_count      INTEGER NOT NULL,
    last_failure_at_ms INTEGER NOT NULL,
    locked_until_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX lockouts_by_age ON lockouts (last_failure_at_ms);

-- Of this node only: where somebody signed in from. A locked account isn't locked for these addresses.
CREATE TABLE sign_in_addresses (
    user_id              TEXT NOT NULL,
    address              TEXT NOT NULL, -- an IPv4 address, or an IPv6 network of 64 bits
    last_signed_in_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, address)
) STRICT, WITHOUT ROWID;

-- Of this node only: a program signed in for a person. Access tokens name their family; refresh tokens are used once.
CREATE TABLE token_families (
    family_id       TEXT PRIMARY KEY,
    user_id         TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    last_used_at_ms INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,
    address         TEXT NOT NULL,
    agent           TEXT NOT NULL,
    revoked_at_ms   INTEGER,
    revoked_because TEXT
) STRICT;
CREATE INDEX token_families_by_user ON token_families (user_id);
CREATE TABLE refresh_tokens (
    token_hash    TEXT PRIMARY KEY CHECK (length(token_hash) = 64), -- keyed hash
    family_id     TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    used_at_ms    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);
-- Access tokens ended one by one; kept as long as their family, so that a clock that was ahead makes none valid again.
CREATE TABLE revoked_access_tokens (
    token_id      TEXT PRIMARY KEY,
    family_id     TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_access_tokens_by_family ON revoked_access_tokens (family_id);

-- Tokens of programs: made by a user, never more than that user may.
CREATE TABLE api_tokens (
    token_id      TEXT PRIMARY KEY,
    token_hash    TEXT NOT NULL UNIQUE CHECK (length(token_hash) = 64), -- keyed hash
    user_id       TEXT NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'installer', 'admin')),
    scope         TEXT NOT NULL DEFAULT 'null' CHECK (json_valid(scope)),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;
CREATE INDEX api_tokens_by_user ON api_tokens (user_id);
CREATE TABLE api_token_uses (
    token_id        TEXT PRIMARY KEY,
    last_used_at_ms INTEGER NOT NULL,
    address         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Groups of devices; a device names those it is in, as it does its tags.
CREATE TABLE groups (
    group_id      TEXT PRIMARY KEY,
    name          TEXT NOT NULL DEFAULT '',
    description   TEXT NOT NULL DEFAULT '',
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;
ALTER TABLE devices ADD COLUMN groups TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(groups));
ALTER TABLE devices ADD COLUMN serial TEXT NOT NULL DEFAULT ''; -- the hardware's own, as printed on it
ALTER TABLE devices ADD COLUMN replaced_at_ms INTEGER;          -- when other hardware last took over this id
CREATE INDEX devices_by_serial ON devices (serial) WHERE serial != '';

-- Claims: a token that lets one device or a batch come in, so many times until then.
CREATE TABLE claims (
    claim_id      TEXT PRIMARY KEY,
    token_hash    TEXT NOT NULL UNIQUE CHECK (length(token_hash) = 64), -- keyed hash
    name          TEXT NOT NULL DEFAULT '',
    device_id     TEXT NOT NULL DEFAULT '',                  -- '' for any id that nobody has
    groups        TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(groups)),
    tags          TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    adopt         INTEGER NOT NULL DEFAULT 0 CHECK (adopt IN (0, 1)), -- 1: active at once; 0: waits for adoption
    use_count     INTEGER NOT NULL DEFAULT 0,
    use_count_max INTEGER NOT NULL CHECK (use_count_max >= 1),
    created_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL,
    CHECK (use_count <= use_count_max)
) STRICT;

-- What a device came in with, by which claim: who asks once more with the same key gets the same device, anybody else nothing.
CREATE TABLE enrolments (
    device_id      TEXT PRIMARY KEY,
    claim_id       TEXT NOT NULL,
    key_hash       TEXT NOT NULL CHECK (length(key_hash) = 64), -- keyed hash: of its public key, or of what it made up itself
    enrolled_at_ms INTEGER NOT NULL,
    given_at_ms    INTEGER,            -- when it was first given its identity; it may ask again for a while
    origin         TEXT NOT NULL,
    hlc            INTEGER NOT NULL
) STRICT;

CREATE INDEX enrolments_by_key ON enrolments (key_hash);

-- Certificates that the site's CA issued to devices.
CREATE TABLE certificates (
    serial           TEXT PRIMARY KEY,      -- hexadecimal, lower case
    device_id        TEXT NOT NULL,
    fingerprint      TEXT NOT NULL CHECK (length(fingerprint) = 64), -- SHA-256 of the DER form
    key_hash         TEXT NOT NULL DEFAULT '', -- SHA-256 of the public key: one that was revoked gets no other certificate
    issuer_key_id    TEXT NOT NULL,         -- of the issuing CA
    issued_by        TEXT NOT NULL CHECK (issued_by IN ('est', 'mqtt', 'api', 'cli')),
    not_before_at_ms INTEGER NOT NULL,
    not_after_at_ms  INTEGER NOT NULL,
    issued_at_ms     INTEGER NOT NULL,
    revoked_at_ms    INTEGER,
    revoked_because  TEXT,                  -- RFC 5280 §5.3.1 reason
    origin           TEXT NOT NULL,
    hlc              INTEGER NOT NULL
) STRICT;
CREATE INDEX certificates_by_device ON certificates (device_id);
CREATE INDEX certificates_by_key ON certificates (key_hash);
CREATE INDEX certificates_by_end ON certificates (not_after_at_ms);
CREATE TRIGGER auth_certificate_insert AFTER INSERT ON certificates
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (NEW.device_id); END;
CREATE TRIGGER auth_certificate_update AFTER UPDATE ON certificates
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (NEW.device_id); END;

-- Of this node only: answers to requests that carried an idempotency key, sealed, since they may hold a token.
CREATE TABLE idempotent_answers (
    key_hash      TEXT PRIMARY KEY CHECK (length(key_hash) = 64), -- of who asked and the key
    request_hash  TEXT NOT NULL,
    status        INTEGER NOT NULL,
    answer_sealed BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotent_answers_by_age ON idempotent_answers (created_at_ms);
