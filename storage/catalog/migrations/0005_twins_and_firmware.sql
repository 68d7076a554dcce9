-- compatible-with: 1
-- What devices should be and do: twins, commands, artifacts, rollouts and their executions. The release before knows none of it.
-- A table with origin and hlc is replicated; one without is this node's own, made again from what devices say.

-- What a device is wanted to be, by name of the twin ('' for the unnamed one).
CREATE TABLE twins (
    twin_id       TEXT PRIMARY KEY,        -- device id, or device id/name
    device_id     TEXT NOT NULL,
    name          TEXT NOT NULL DEFAULT '',
    desired       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(desired)),
    desired_at    TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(desired_at)), -- of each leaf, UTC s
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;
CREATE INDEX twins_by_device ON twins (device_id, name);

-- What it says that it is; version counts the changes of both sides.
CREATE TABLE twin_reports (
    twin_id        TEXT PRIMARY KEY,
    device_id      TEXT NOT NULL,
    name           TEXT NOT NULL DEFAULT '',
    version        INTEGER NOT NULL,
    reported       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(reported)),
    reported_at    TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(reported_at)),
    reported_at_ms INTEGER
) STRICT;
CREATE INDEX twin_reports_by_device ON twin_reports (device_id, name);

CREATE TABLE commands (
    command_id     TEXT PRIMARY KEY,       -- the request id
    device_id      TEXT NOT NULL,
    method         TEXT NOT NULL,
    params         TEXT NOT NULL CHECK (json_valid(params)),
    when_away      TEXT NOT NULL CHECK (when_away IN ('queue', 'refuse')),
    state          TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'succeeded', 'failed', 'expired', 'unanswered', 'canceled', 'refused')),
    created_by     TEXT NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    expires_at_ms  INTEGER NOT NULL,
    sent_at_ms     INTEGER,
    ended_at_ms    INTEGER,
    answered_at_ms INTEGER,                -- after ended_at_ms: it came late
    answer         TEXT CHECK (answer IS NULL OR json_valid(answer)),
    error          TEXT NOT NULL DEFAULT '',
    origin         TEXT NOT NULL,
    hlc            INTEGER NOT NULL
) STRICT;
CREATE INDEX commands_by_device ON commands (device_id, created_at_ms);
CREATE INDEX commands_open ON commands (state, expires_at_ms) WHERE state IN ('queued', 'sent');

-- Names for bytes that lie in data_dir/artifacts under their sha256.
CREATE TABLE artifacts (
    artifact_id     TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    version         TEXT NOT NULL,
    sha256          TEXT NOT NULL CHECK (length(sha256) = 64),
    sha1            TEXT NOT NULL CHECK (length(sha1) = 40), -- clients of hawkBit check this one
    size_bytes      INTEGER NOT NULL CHECK (size_bytes > 0),
    filename        TEXT NOT NULL,
    format          TEXT NOT NULL CHECK (format IN ('raw', 'swu', 'raucb', 'mender', 'mcuboot', 'esp32')),
    hw              TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(hw)), -- what it fits; [] for any
    min_version     TEXT NOT NULL DEFAULT '',
    max_version     TEXT NOT NULL DEFAULT '',
    epoch           INTEGER NOT NULL DEFAULT 0,
    release_counter INTEGER NOT NULL DEFAULT 0,
    not_before_ms   INTEGER,
    expires_at_ms   INTEGER,
    is_vendor_signed INTEGER NOT NULL DEFAULT 0 CHECK (is_vendor_signed IN (0, 1)), -- its maker signed the file itself; the device checks that
    manifest        TEXT NOT NULL DEFAULT '' , -- canonical JSON, the very bytes that are signed; '' where there is none
    signatures      TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(signatures)), -- [{keyid, alg, sig}]
    note            TEXT NOT NULL DEFAULT '',
    created_by      TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    updated_at_ms   INTEGER NOT NULL,
    origin          TEXT NOT NULL,
    hlc             INTEGER NOT NULL,
    UNIQUE (name, version)
) STRICT;
CREATE INDEX artifacts_by_sha256 ON artifacts (sha256);

-- Who may sign; a key that was taken out stays, so that what it signed can be told.
CREATE TABLE artifact_keys (
    key_id        TEXT PRIMARY KEY,        -- sha256 of the public key, hexadecimal
    name          TEXT NOT NULL,
    public_key    TEXT NOT NULL,           -- raw Ed25519, base64
    state         TEXT NOT NULL CHECK (state IN ('trusted', 'retired')),
    is_on_box     INTEGER NOT NULL DEFAULT 0 CHECK (is_on_box IN (0, 1)),
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;

CREATE TABLE artifact_uploads (
    upload_id      TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    version        TEXT NOT NULL,
    filename       TEXT NOT NULL,
    size_bytes     INTEGER NOT NULL,
    sha256         TEXT NOT NULL DEFAULT '', -- as announced, '' for not
    fields         TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(fields)), -- what becomes the artifact's row
    created_by     TEXT NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE rollouts (
    rollout_id            TEXT PRIMARY KEY,
    name                  TEXT NOT NULL,
    artifact_id           TEXT NOT NULL,
    state                 TEXT NOT NULL,   -- management/rollouts.py
    before_pause          TEXT NOT NULL DEFAULT '', -- the state that RESUME goes back to
    wave                  INTEGER NOT NULL DEFAULT 0, -- the current one, from 0
    targets               TEXT NOT NULL CHECK (json_valid(targets)), -- {devices, groups, tags, hw, except}
    plan                  TEXT NOT NULL CHECK (json_valid(plan)), -- {waves, gate, stop, on_stop, concurrency_max, bandwidth_bytes_s, start_spread_s, window}
    policy                TEXT NOT NULL CHECK (json_valid(policy)), -- {confirm_s, reboot_s, max_attempts, max_rollback_attempts}
    reason                TEXT NOT NULL DEFAULT '', -- why it is paused, stopped, …
    rollback_from_wave    INTEGER,         -- what goes back: this wave and later ones
    accepted_failures     INTEGER NOT NULL DEFAULT 0, -- somebody looked at so many and went on all the same
    wave_started_at_ms    INTEGER,
    soak_until_at_ms      INTEGER,
    deadline_at_ms        INTEGER,
    fence                 INTEGER NOT NULL DEFAULT 0,
    created_by            TEXT NOT NULL,
    created_by_name       TEXT NOT NULL DEFAULT '',
    approved_by           TEXT NOT NULL DEFAULT '',
    approved_at_ms        INTEGER,
    approved_device_count INTEGER,         -- so many would have been updated then
    created_at_ms         INTEGER NOT NULL,
    started_at_ms         INTEGER,
    ended_at_ms           INTEGER,
    updated_at_ms         INTEGER NOT NULL,
    origin                TEXT NOT NULL,
    hlc                   INTEGER NOT NULL
) STRICT;
CREATE INDEX rollouts_by_time ON rollouts (created_at_ms);

-- Each move of a rollout, by people and by itself. Never changed.
CREATE TABLE rollout_events (
    event_id      TEXT PRIMARY KEY,        -- rollout id and number
    rollout_id    TEXT NOT NULL,
    number        INTEGER NOT NULL,
    at_ms         INTEGER NOT NULL,
    event         TEXT NOT NULL,
    from_state    TEXT NOT NULL,
    to_state      TEXT NOT NULL,
    wave          INTEGER NOT NULL,
    actor         TEXT NOT NULL DEFAULT '', -- '' for Homeport itself
    reason        TEXT NOT NULL DEFAULT '',
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;
CREATE INDEX rollout_events_in_order ON rollout_events (rollout_id, number);

CREATE TABLE executions (
    execution_id              TEXT PRIMARY KEY, -- the job id that the device sees
    rollout_id                TEXT NOT NULL,
    device_id                 TEXT NOT NULL,
    wave                      INTEGER NOT NULL,
    number                    INTEGER NOT NULL,  -- of this device in this rollout, from 1
    state                     TEXT NOT NULL,     -- management/executions.py
    before_pause              TEXT NOT NULL DEFAULT '',
    is_admitted               INTEGER NOT NULL DEFAULT 0 CHECK (is_admitted IN (0, 1)), -- QUEUED and its wave is open
    version                   INTEGER NOT NULL DEFAULT 1, -- grows with each change that its device sees
    attempt                   INTEGER NOT NULL DEFAULT 1,
    max_attempts              INTEGER NOT NULL,
    rollback_attempt_count    INTEGER NOT NULL DEFAULT 0,
    max_rollback_attempts     INTEGER NOT NULL,
    needs_manual_intervention INTEGER NOT NULL DEFAULT 0 CHECK (needs_manual_intervention IN (0, 1)),
    manual_reason             TEXT NOT NULL DEFAULT '',
    from_version              TEXT NOT NULL DEFAULT '',
    from_digest               TEXT NOT NULL DEFAULT '',
    to_version                TEXT NOT NULL,
    to_digest                 TEXT NOT NULL,
    slot_touched              INTEGER NOT NULL DEFAULT 0 CHECK (slot_touched IN (0, 1)),
    boot_id                   TEXT NOT NULL DEFAULT '', -- in which it last reported; another one is a boot in between
    install_boot_id           TEXT NOT NULL DEFAULT '', -- in which it wrote its other slot; a report from that one proves no boot
    report_seq                INTEGER NOT NULL DEFAULT 0,
    report_key                TEXT NOT NULL DEFAULT '', -- of the last report, for those that come twice
    phase                     TEXT NOT NULL DEFAULT '',
    bytes_done                INTEGER NOT NULL DEFAULT 0,
    bytes_total               INTEGER NOT NULL DEFAULT 0,
    error                     TEXT NOT NULL DEFAULT '', -- code
    error_text                TEXT NOT NULL DEFAULT '',
    notify_count              INTEGER NOT NULL DEFAULT 0,
    transition_count          INTEGER NOT NULL DEFAULT 0, -- in this attempt
    deadline_at_ms            INTEGER,           -- of the state
    end_by_at_ms              INTEGER,           -- of the whole (72 h of a download, the rollout's)
    push_due_at_ms            INTEGER,           -- when the device is to be told (again) what is wanted; NULL for nothing
    watch_until_at_ms         INTEGER,           -- of SUCCEEDED
    health                    TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(health)), -- its own baseline and what was seen
    state_since_ms            INTEGER NOT NULL,
    started_at_ms             INTEGER,           -- left QUEUED for the first time
    ended_at_ms               INTEGER,
    created_at_ms             INTEGER NOT NULL,
    updated_at_ms             INTEGER NOT NULL,
    origin                    TEXT NOT NULL,
    hlc                       INTEGER NOT NULL,
    UNIQUE (rollout_id, device_id, number)
) STRICT;
CREATE INDEX executions_by_device ON executions (device_id, created_at_ms);
CREATE INDEX executions_by_rollout ON executions (rollout_id, wave, state);
CREATE INDEX executions_open ON executions (device_id) WHERE ended_at_ms IS NULL;
CREATE INDEX executions_by_digest ON executions (to_digest);
CREATE INDEX executions_in_need ON executions (state_since_ms)
    WHERE needs_manual_intervention = 1 OR state IN ('manual', 'lost', 'regressed', 'rollback_failed');

-- Each move of an execution, and reports that moved nothing (late, doubled, refused). Never changed.
CREATE TABLE execution_events (
    event_id     TEXT PRIMARY KEY,         -- execution id and number
    execution_id TEXT NOT NULL,
    number       INTEGER NOT NULL,
    at_ms        INTEGER NOT NULL,
    source       TEXT NOT NULL,
    event        TEXT NOT NULL,
    from_state   TEXT NOT NULL,
    to_state     TEXT NOT NULL,
    attempt      INTEGER NOT NULL,
    actor        TEXT NOT NULL DEFAULT '',
    detail       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(detail)),
    origin       TEXT NOT NULL,
    hlc          INTEGER NOT NULL
) STRICT;
CREATE INDEX execution_events_in_order ON execution_events (execution_id, number);

-- What a device must not be offered again, and why: its own rollback (device_id set), or its kind of hardware's.
CREATE TABLE known_bad (
    known_bad_id  TEXT PRIMARY KEY,        -- device id or hw:…, and digest
    device_id     TEXT NOT NULL DEFAULT '',
    hw            TEXT NOT NULL DEFAULT '',
    digest        TEXT NOT NULL,
    execution_id  TEXT NOT NULL,
    reason        TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;
CREATE INDEX known_bad_by_digest ON known_bad (digest);

-- What each device last said that it runs.
CREATE TABLE device_firmware (
    device_id      TEXT PRIMARY KEY,
    version        TEXT NOT NULL DEFAULT '',
    digest         TEXT NOT NULL DEFAULT '',
    slot           TEXT NOT NULL DEFAULT '',
    is_confirmed   INTEGER CHECK (is_confirmed IN (0, 1)), -- NULL: it does not say
    epoch          INTEGER,
    hw             TEXT NOT NULL DEFAULT '',
    boot_id        TEXT NOT NULL DEFAULT '',
    session        TEXT NOT NULL DEFAULT '',
    seq            INTEGER NOT NULL DEFAULT 0,
    source         TEXT NOT NULL,          -- status, twin, job, hawkbit …
    reported_at_ms INTEGER NOT NULL,
    booted_at_ms   INTEGER                 -- when the first report of this boot came
) STRICT;
CREATE INDEX device_firmware_by_digest ON device_firmware (digest);
