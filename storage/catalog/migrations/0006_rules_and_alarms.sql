-- compatible-with: 1
-- What is wrong, and who is told: rules, alarms, maintenance, on-call lists and notifications. The release before knows none of it.
-- A table with origin and hlc is replicated; one without is this node's own.

-- A rule as it is now; what it was is in rule_versions.
CREATE TABLE rules (
    rule_id       TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    version       INTEGER NOT NULL,        -- counts the changes of the definition, from 1
    definition    TEXT NOT NULL CHECK (json_valid(definition)), -- management/rule.py
    is_enabled    INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    is_built_in   INTEGER NOT NULL DEFAULT 0 CHECK (is_built_in IN (0, 1)), -- can be changed and switched off, not removed
    created_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;

-- From which record of this node's log on a version holds; definition '' for a rule that was removed or switched off.
CREATE TABLE rule_versions (
    rule_id       TEXT NOT NULL,
    version       INTEGER NOT NULL,
    number        INTEGER NOT NULL,        -- counts the changes of all rules, from 1
    name          TEXT NOT NULL,           -- as the rule was called then
    epoch         INTEGER NOT NULL,
    from_seq      INTEGER NOT NULL,
    definition    TEXT NOT NULL CHECK (definition = '' OR json_valid(definition)),
    changed_by    TEXT NOT NULL,
    changed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (rule_id, number)
) STRICT;
CREATE INDEX rule_versions_by_position ON rule_versions (epoch, from_seq);

-- One row per (device, rule, series): as it is now. management/alarms.py has the states.
CREATE TABLE alarms (
    alarm_id          TEXT PRIMARY KEY,
    rule_id           TEXT NOT NULL,
    rule_name         TEXT NOT NULL,       -- as it was called when it was raised last
    rule_version      INTEGER NOT NULL,
    device_id         TEXT NOT NULL DEFAULT '', -- '' for one of the node, the site or a group
    group_id          TEXT NOT NULL DEFAULT '',
    series            TEXT NOT NULL DEFAULT '', -- the metric, or what is watched; '' for none
    severity          TEXT NOT NULL CHECK (severity IN ('P1', 'P2', 'P3')),
    state             TEXT NOT NULL CHECK (state IN ('normal', 'active_unacknowledged', 'active_acknowledged', 'cleared_unacknowledged')),
    episode           INTEGER NOT NULL DEFAULT 1, -- counts what people are told of: raised again soon is the same one
    raised_count      INTEGER NOT NULL DEFAULT 0, -- in this episode: flapping is one alarm with a count
    raised_total      INTEGER NOT NULL DEFAULT 0,
    episode_began_at_ms INTEGER NOT NULL,
    raised_at_ms      INTEGER NOT NULL,    -- the last time, by the readings
    cleared_at_ms     INTEGER,
    noted_at_ms       INTEGER NOT NULL,    -- when this node learned of the last raise, or that it stands for itself again
    stands_since_ms   INTEGER,             -- since when in this episode people are to be told; NULL while it was set aside all of it
    acknowledged_by   TEXT NOT NULL DEFAULT '',
    acknowledged_at_ms INTEGER,
    acknowledge_note  TEXT NOT NULL DEFAULT '',
    value             REAL,
    unit              TEXT NOT NULL DEFAULT '',
    explanation       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(explanation)), -- {text, …} as management/rule_words.py says
    shelved_by        TEXT NOT NULL DEFAULT '',
    shelved_at_ms     INTEGER,
    shelved_until_ms  INTEGER,
    shelve_reason     TEXT NOT NULL DEFAULT '',
    suppressed_by     TEXT NOT NULL DEFAULT '', -- the maintenance, or the alarm that explains this one (its id), or 'waiting' for one that may
    suppressed_until_ms INTEGER,           -- of 'waiting': until when
    event_number      INTEGER NOT NULL DEFAULT 0, -- of its last event
    trace_id          TEXT NOT NULL DEFAULT '',
    updated_at_ms     INTEGER NOT NULL,
    origin            TEXT NOT NULL,
    hlc               INTEGER NOT NULL,
    place             INTEGER NOT NULL GENERATED ALWAYS AS (CASE WHEN state = 'normal' THEN 4
        WHEN shelved_until_ms IS NOT NULL OR suppressed_by <> '' THEN 3 WHEN state = 'active_unacknowledged' THEN 0
        WHEN state = 'active_acknowledged' THEN 1 ELSE 2 END) VIRTUAL, -- in the order in which somebody should look
    UNIQUE (device_id, rule_id, group_id, series)
) STRICT;
CREATE INDEX alarms_by_place ON alarms (place, severity, raised_at_ms DESC, alarm_id);
CREATE INDEX alarms_by_time ON alarms (raised_at_ms, alarm_id);
CREATE INDEX alarms_by_rule ON alarms (rule_id, state);
CREATE INDEX alarms_shelved ON alarms (shelved_until_ms) WHERE shelved_until_ms IS NOT NULL;
CREATE INDEX alarms_suppressed ON alarms (suppressed_by, suppressed_until_ms) WHERE suppressed_by <> '';

-- Each move of an alarm. Never changed; those older than the limit are removed.
CREATE TABLE alarm_events (
    event_id     TEXT PRIMARY KEY,         -- alarm id and number
    alarm_id     TEXT NOT NULL,
    number       INTEGER NOT NULL,
    at_ms        INTEGER NOT NULL,         -- when it happened, by the readings or by whoever did it
    noted_at_ms  INTEGER NOT NULL,
    event        TEXT NOT NULL,
    from_state   TEXT NOT NULL,
    to_state     TEXT NOT NULL,
    episode      INTEGER NOT NULL,
    actor        TEXT NOT NULL DEFAULT '', -- '' for Homeport itself
    note         TEXT NOT NULL DEFAULT '',
    value        REAL,
    explanation  TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(explanation)),
    rule_version INTEGER NOT NULL DEFAULT 0,
    origin       TEXT NOT NULL,
    hlc          INTEGER NOT NULL,
    UNIQUE (alarm_id, number)
) STRICT;
CREATE INDEX alarm_events_by_time ON alarm_events (at_ms);
CREATE INDEX alarm_events_by_key ON alarm_events (alarm_id, at_ms, event); -- what was found twice is applied once

-- How far this node has taken over what its rules found: all of it at or before is applied.
CREATE TABLE alarm_cursor (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    store_id      TEXT NOT NULL DEFAULT '', -- of which store's outbox `number` counts
    number        INTEGER NOT NULL DEFAULT 0,
    epoch         INTEGER NOT NULL DEFAULT 0, -- and up to which record of the log anything was applied
    seq           INTEGER NOT NULL DEFAULT 0,
    noted_at_ms   INTEGER NOT NULL DEFAULT 0, -- when that was: what happened later is new, wherever it stands in a log that was begun anew
    began_epoch   INTEGER NOT NULL DEFAULT 0, -- epoch, seq and noted_at_ms as they were when this store was begun
    began_seq     INTEGER NOT NULL DEFAULT 0,
    began_noted_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO alarm_cursor (id) VALUES (1);

CREATE TABLE maintenances (
    maintenance_id TEXT PRIMARY KEY,
    scope          TEXT NOT NULL CHECK (json_valid(scope)), -- {all, devices, groups, tags, except} as a rule has it
    reason         TEXT NOT NULL,
    from_at_ms     INTEGER NOT NULL,
    until_at_ms    INTEGER NOT NULL CHECK (until_at_ms > from_at_ms),
    created_by     TEXT NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    updated_at_ms  INTEGER NOT NULL,
    origin         TEXT NOT NULL,
    hlc            INTEGER NOT NULL
) STRICT;
CREATE INDEX maintenances_by_end ON maintenances (until_at_ms);

-- Where somebody or something is told: an address, with what it needs.
CREATE TABLE notification_targets (
    target_id     TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL CHECK (kind IN ('webhook', 'email', 'mqtt')),
    settings      TEXT NOT NULL CHECK (json_valid(settings)), -- by kind; no secret is in here
    secret_sealed TEXT NOT NULL DEFAULT '', -- sealed with the site's key
    is_enabled    INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;

-- Who is told, when, of what.
CREATE TABLE on_call_lists (
    list_id       TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    definition    TEXT NOT NULL CHECK (json_valid(definition)), -- management/on_call.py: scope, severities, steps, quiet hours, members with times
    is_enabled    INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    origin        TEXT NOT NULL,
    hlc           INTEGER NOT NULL
) STRICT;

-- What was to be sent, and what came of it. The key says what it is for, so that it is made once.
CREATE TABLE notifications (
    notification_id TEXT PRIMARY KEY,      -- the idempotency key: hash of (alarm, episode, step, target), or of (digest, target)
    alarm_id        TEXT NOT NULL DEFAULT '', -- '' for a digest or a try
    episode         INTEGER NOT NULL DEFAULT 0,
    step            TEXT NOT NULL,         -- raised, repeated/N, cleared, digest/…, test/…
    target_id       TEXT NOT NULL,
    target_name     TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'sending', 'sent', 'given_up', 'withdrawn')),
    body            TEXT NOT NULL CHECK (json_valid(body)),
    attempts        INTEGER NOT NULL DEFAULT 0,
    due_at_ms       INTEGER NOT NULL,
    next_at_ms      INTEGER NOT NULL,
    error           TEXT NOT NULL DEFAULT '',
    outcome         TEXT NOT NULL DEFAULT '', -- status, message id
    created_at_ms   INTEGER NOT NULL,
    sent_at_ms      INTEGER,
    trace_id        TEXT NOT NULL DEFAULT '',
    origin          TEXT NOT NULL,
    hlc             INTEGER NOT NULL
) STRICT;
CREATE INDEX notifications_open ON notifications (target_id, next_at_ms) WHERE state IN ('waiting', 'sending');
CREATE INDEX notifications_by_alarm ON notifications (alarm_id, episode, created_at_ms);
CREATE INDEX notifications_by_time ON notifications (created_at_ms, notification_id);

-- How far people are told of an alarm (management/escalation.py). This node's own.
CREATE TABLE alarm_escalations (
    alarm_id        TEXT PRIMARY KEY,
    episode         INTEGER NOT NULL,
    round           INTEGER NOT NULL,
    severity        TEXT NOT NULL,
    began_at_ms     INTEGER NOT NULL,
    looked_at_ms    INTEGER NOT NULL,
    cleared_at_ms   INTEGER,
    is_acknowledged INTEGER NOT NULL,
    is_quiet        INTEGER NOT NULL,
    is_over         INTEGER NOT NULL,
    next_at_ms      INTEGER             -- when to look next; NULL for not before it moves
) STRICT;
CREATE INDEX alarm_escalations_due ON alarm_escalations (next_at_ms) WHERE next_at_ms IS NOT NULL;
CREATE INDEX alarm_escalations_by_time ON alarm_escalations (began_at_ms);

-- Up to when the digests of an on-call list were made. This node's own.
CREATE TABLE digest_cursors (
    list_id      TEXT PRIMARY KEY,
    looked_at_ms INTEGER NOT NULL
) STRICT;
