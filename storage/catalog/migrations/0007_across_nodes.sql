-- compatible-with: 1
-- One catalog on several nodes: by which clocks fields were written, what contradicts, how far other nodes' changes were taken over, and
-- which node drives what. The release before writes rows as ever; its changes are captured by the triggers that this one made.

-- Of a change: its clock where it had to be later than its transaction's (it replaces something of a clock that is ahead), the row's
-- generation, what its writer had seen of the registers that people decide, and who decided between values.
ALTER TABLE outbox ADD COLUMN clock INTEGER;
ALTER TABLE outbox ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;
ALTER TABLE outbox ADD COLUMN seen TEXT;
ALTER TABLE outbox ADD COLUMN decided_by TEXT NOT NULL DEFAULT '';

-- A key that is made anew begins its next generation (appliance/management/merge.py).
ALTER TABLE tombstones ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;
CREATE INDEX outbox_deletes ON outbox (table_name, row_key, position) WHERE op = 'delete';
UPDATE outbox SET generation = (SELECT count(*) FROM outbox AS gone WHERE gone.op = 'delete' AND gone.table_name = outbox.table_name
    AND gone.row_key = outbox.row_key AND gone.position < outbox.position) + 1
WHERE EXISTS (SELECT 1 FROM outbox AS gone WHERE gone.op = 'delete' AND gone.table_name = outbox.table_name
    AND gone.row_key = outbox.row_key AND gone.position < outbox.position);
UPDATE tombstones SET generation = (SELECT max(generation) FROM outbox WHERE op = 'delete' AND outbox.table_name = tombstones.table_name
    AND outbox.row_key = tombstones.row_key)
WHERE EXISTS (SELECT 1 FROM outbox WHERE op = 'delete' AND outbox.table_name = tombstones.table_name
    AND outbox.row_key = tombstones.row_key);

-- Of a row whose fields were not all written at once. Register '' stands for all that have no line of their own, and knows the generation;
-- '*' for a whole row whose clock is another than its column says.
CREATE TABLE field_clocks (
    table_name TEXT NOT NULL,
    row_key    TEXT NOT NULL,
    register   TEXT NOT NULL,              -- appliance/management/merge_rules.py
    hlc        INTEGER NOT NULL,
    origin     TEXT NOT NULL,
    is_weak    INTEGER NOT NULL DEFAULT 0, -- came along with a write of something else
    generation INTEGER NOT NULL DEFAULT 1, -- of '' only
    seen       TEXT,                       -- JSON {node id: clock}: what its writer had seen of other nodes
    others     TEXT,                       -- JSON: values that stand beside it, with their clocks
    context    TEXT,                       -- JSON {node id: clock}: what the next writer has seen, where there are others
    PRIMARY KEY (table_name, row_key, register)
) STRICT, WITHOUT ROWID;
INSERT INTO field_clocks (table_name, row_key, register, hlc, origin, generation)
    SELECT table_name, row_key, '', hlc, origin, generation FROM outbox AS made
    WHERE op = 'insert' AND generation > 1 AND NOT EXISTS (SELECT 1 FROM outbox AS gone WHERE gone.op = 'delete'
        AND gone.table_name = made.table_name AND gone.row_key = made.row_key AND gone.position > made.position);
DROP INDEX outbox_deletes;

-- Values that people wrote on nodes that did not know of each other. Of this node's making; every node makes the same.
CREATE TABLE conflicts (
    conflict_id    TEXT PRIMARY KEY,
    table_name     TEXT NOT NULL,
    row_key        TEXT NOT NULL,
    register       TEXT NOT NULL,
    candidates     TEXT NOT NULL CHECK (json_valid(candidates)), -- [{values: {column: value}, hlc, origin}], the one in force first
    found_at_ms    INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('open', 'resolved')),
    resolved_at_ms INTEGER,
    resolved_by    TEXT NOT NULL DEFAULT '' -- who chose; '' where it was simply changed again
) STRICT;
CREATE UNIQUE INDEX conflicts_open ON conflicts (table_name, row_key, register) WHERE state = 'open';
CREATE INDEX conflicts_by_time ON conflicts (found_at_ms);

-- How far another node's changes were taken over: up to and including a sequence of its stream.
CREATE TABLE followed_streams (
    node_id       TEXT PRIMARY KEY CHECK (length(node_id) = 32),
    epoch         INTEGER NOT NULL,
    next_seq      INTEGER NOT NULL,
    hash          BLOB NOT NULL,           -- of the block before next_seq: another one is another log
    applied_total INTEGER NOT NULL DEFAULT 0,
    ahead_ms      INTEGER NOT NULL DEFAULT 0, -- by which its clock was ahead of ours, of the last change that was too far ahead
    ahead_at_ms   INTEGER,
    hlc           INTEGER NOT NULL DEFAULT 0, -- the greatest of its clocks that was followed
    applied_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Records that could not be applied, or not wholly: of a later release, or against a constraint. Tried again after an upgrade.
CREATE TABLE set_aside (
    node_id    TEXT NOT NULL,
    epoch      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    row_key    TEXT NOT NULL,
    why        TEXT NOT NULL CHECK (why IN ('newer', 'constraint', 'damaged')),
    detail     TEXT NOT NULL,
    payload    BLOB NOT NULL,
    at_ms      INTEGER NOT NULL,
    PRIMARY KEY (node_id, epoch, seq)
) STRICT;

-- Two nodes gave something the same unique name: the later one goes by another until the first is gone or called otherwise.
CREATE TABLE renamed_values (
    table_name TEXT NOT NULL,
    row_key    TEXT NOT NULL,
    field      TEXT NOT NULL,
    value      TEXT NOT NULL,              -- JSON: what it would be called
    instead    TEXT NOT NULL,              -- JSON: what it goes by
    PRIMARY KEY (table_name, row_key, field)
) STRICT, WITHOUT ROWID;

-- The node that drives it through its states, and how often that was another one: the higher fence counts.
ALTER TABLE executions ADD COLUMN home TEXT NOT NULL DEFAULT '';
ALTER TABLE executions ADD COLUMN home_fence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN home TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN home_fence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE commands ADD COLUMN home TEXT NOT NULL DEFAULT '';
ALTER TABLE commands ADD COLUMN home_fence INTEGER NOT NULL DEFAULT 0;
UPDATE executions SET home = (SELECT node_id FROM change_clock);
UPDATE rollouts SET home = (SELECT node_id FROM change_clock);
UPDATE commands SET home = (SELECT node_id FROM change_clock);

-- Two nodes may add an event of the same number to an alarm's history: its key names the node as well.
CREATE TABLE alarm_events_anew (
    event_id     TEXT PRIMARY KEY,         -- alarm id, number and node
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
    hlc          INTEGER NOT NULL
) STRICT;
INSERT INTO alarm_events_anew SELECT event_id, alarm_id, number, at_ms, noted_at_ms, event, from_state, to_state, episode, actor, note,
    value, explanation, rule_version, origin, hlc FROM alarm_events ORDER BY rowid;
DROP TABLE alarm_events;
ALTER TABLE alarm_events_anew RENAME TO alarm_events;
CREATE INDEX alarm_events_in_order ON alarm_events (alarm_id, number);
CREATE INDEX alarm_events_by_time ON alarm_events (at_ms);
CREATE INDEX alarm_events_by_key ON alarm_events (alarm_id, at_ms, event); -- what was found twice is applied once
