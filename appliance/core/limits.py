"""Every fixed limit, with its unit in its name and its arithmetic beside it.

What an operator may change is in homeport.toml (appliance/core/config.py); these are the bounds that code
relies on. A limit is enforced where its subject enters, before memory is taken for it.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- The log (docs/LOG_FORMAT.md) ---------------------------------------------------------------------
PAGE_BYTES: Final = 4096
"""Frames are padded to the unit in which the kernel writes back."""
FRAME_BYTES_MAX: Final = 512 * KIB
"""Where a block is closed; one record larger than this has a frame of its own."""
FRAME_BYTES_HARD_MAX: Final = 17 * MIB
"""16 MiB of the largest packet, its topic and properties, and the frame's own columns."""
FRAME_RECORD_COUNT_MAX: Final = 65_535
"""Dictionary indexes are 16-bit."""
SEGMENT_BYTES_DEFAULT: Final = 64 * MIB
LEAF_BYTES: Final = 1 * MIB
"""Unit of hashing and repair in a sealed segment."""
SEGMENT_BYTES_MIN: Final = 16 * KIB
"""Header, one small frame and room to spare; real segments are 64 MiB, tests use small ones."""
SEGMENT_BYTES_MAX: Final = 1024 * MIB
INDEX_INTERVAL_BYTES: Final = 256 * KIB
"""One entry of 24 bytes for so much of a segment: 256 entries, 6 KiB, for 64 MiB."""
COMPRESS_BODY_BYTES_MIN: Final = PAGE_BYTES
"""A body of one page can't save a page."""
COMPRESS_BODY_BYTES_MAX: Final = 64 * KIB
"""Larger blocks appear under load, when the CPU is dearer than the disk."""
STREAM_NAME_BYTES_MAX: Final = 64
TORN_FILE_COUNT_MAX: Final = 16
"""Cut tails kept aside; the oldest goes first. One is at most one frame, usually under 512 KiB."""
SCRUB_BYTES_PER_S_MIN: Final = 4 * MIB
"""A segment of 64 MiB is then scrubbed in 16 s, at a few per cent of what an SD card gives."""
SCRUB_RATE_SHARE: Final = 4
"""Within a segment it is read four times as fast as the pass needs on average: the disk is left alone 3/4 of the time."""
SCRUB_DAMAGE_COUNT_MAX: Final = 256
"""Damaged ranges listed for a pass; all are counted. `homeport log verify` lists all."""
WRITE_FAILURE_APART_MS_MIN: Final = 600_000
"""A write or fsync that fails is survived in a new segment; again within ten minutes, and the disk is not to be trusted."""
DISK_CHECK_INTERVAL_MS: Final = 1_000
"""How often the disk's level is looked at: at 300 MB/s, what a fast disk fills in between is 0.3 GB; the space of the
ballast and of the segment that is allocated already is what that is taken from."""
DISK_HYSTERESIS_PERCENT: Final = 2
"""A level is left two points of the used share below where it begins."""
BALLAST_SHARE_MAX: Final = 50
"""The ballast is at most a fiftieth of the file system, two per cent: on one of 1 GiB, 20 MiB."""
RETENTION_INTERVAL_MS: Final = 60_000
"""How often the log's size is compared with what it may be while the disk has room."""
RETENTION_SEGMENT_COUNT_MAX: Final = 64
"""Removed in one go, so that sealing waits for no more than 64 unlinks; 4 GiB of full segments."""
DROPPED_RANGE_COUNT_MAX: Final = 256
"""Ranges listed one by one in the file of dropped records; the two oldest are then told as one."""
READER_SEGMENT_COUNT_MAX: Final = 8
"""Descriptors of segments one reader keeps open."""
READ_BYTES_DEFAULT: Final = 4 * MIB
"""One read of a cursor: eight full blocks."""

# --- MQTT ------------------------------------------------------------------------------------------------
PACKET_BYTES_HARD_MAX: Final = 16 * MIB
"""Upper bound of the configurable maximum packet size (default 1 MiB)."""
TOPIC_BYTES_MAX: Final = 65_535
"""MQTT's own: UTF-8 strings have a 16-bit length."""
TOPIC_LEVEL_COUNT_MAX: Final = 32
REASON_STRING_LENGTH_MAX: Final = 200
"""Characters of what a client is told of an error, 800 bytes at most. An error may quote a topic of 64 KiB, escaped four times
as long, where a string of MQTT ends at 65,535 bytes."""
TOPIC_ALIAS_COUNT_HARD_MAX: Final = 256
"""Upper bound of the configurable topic alias maximum (default 16)."""
TOPIC_ALIAS_TOPIC_BYTES_MAX: Final = 512
"""Of a topic that has an alias: 16 × 512 are 8 KiB a connection, 256 of them 128 KiB; and a packet of 8 bytes becomes at
most 520 for each subscriber, where 64 KiB would be 8,000 times what was sent."""
CLIENT_ID_BYTES_MAX: Final = 256
USER_NAME_BYTES_MAX: Final = 256
PASSWORD_BYTES_MAX: Final = 4 * KIB
SUBSCRIPTION_COUNT_MAX: Final = 1024
"""Per session."""
SUBSCRIPTION_BYTES_MAX: Final = 256 * KIB
"""Characters of all topic filters of a session: 1,024 of 64 KiB would be 64 MiB."""
CONNECT_BYTES_MAX: Final = 128 * KIB
"""Client id 256, user name 256, password 4 KiB, a will's topic 64 KiB, and the rest for its payload."""
CLIENT_RATE_BURST_MS: Final = 2_000
"""A client may have sent so much more than its rate at once: what it kept back while it was away for a moment."""
ROLE_PATTERN_COUNT_MAX: Final = 32
"""Of each list of a [[broker_role]]. They are one tree by level: a topic that none opens costs 1 µs, 10 at the very worst."""
PROXY_HEADER_BYTES_MAX: Final = 4 * KIB
"""PROXY protocol 2 allows 64 KiB behind its 16 bytes; addresses are at most 216, and what proxies add (names, TLS) fits 1 KiB."""
WEBSOCKET_CONNECTION_COUNT_MAX: Final = 1_000
"""Of them all, being opened or open. Each is three descriptors, four tasks and, at the very worst, 256 KiB of a socket pair's
buffers: browsers, not fleets of devices."""
TLS_FILE_BYTES_MAX: Final = 4 * MIB
"""A key, a certificate bundle or a revocation list: the bundle of all public authorities is 0.2 MiB; 100,000 revoked
certificates are 3.5 MiB."""
USER_PROPERTY_COUNT_MAX: Final = 64
"""Per packet."""
MATCH_CACHE_WEIGHT_MAX: Final = 128 * KIB
"""Of one generation of the subscription tree's cache, in units of 64 bytes: 8 MiB, so 16 MiB for both."""

# --- What the node asks of the broker (broker/questions.py) -------------------------------------------------
BROKER_PAGE_ITEM_COUNT_MAX: Final = 500
"""Clients in one answer: names of 0.4 KiB and numbers of 0.6 KiB each, 0.5 MiB of a control frame's 1 MiB."""
BROKER_ANSWER_BYTES_MAX: Final = 512 * KIB
"""Topics and filters of one answer, of up to 64 KiB each: half a control frame; the rest comes with the next page."""
BROKER_QUESTION_COUNT_MAX: Final = 8
"""Questions of one node that are being answered; more wait."""
BROKER_QUESTION_TIMEOUT_MS: Final = 8_000
"""How long the node waits for an answer; a list of 10,000 clients takes about 10 ms."""
CLEAR_TIMEOUT_MS: Final = 5_000
"""How long the disk may take until a retained message is gone; shorter than the node's wait for the answer."""
RETAINED_PREVIEW_BYTES_MAX: Final = 256
"""Of a retained message's payload, shown beside it."""
# --- Bridges (broker/bridge/DESIGN.md) ------------------------------------------------------------------
BRIDGE_COUNT_MAX: Final = 8
"""Each keeps a read of the log (1 MiB, twice that unpacked) and its window: about 4 MB."""
BRIDGE_TOPIC_COUNT_MAX: Final = 256
"""Rules of all bridges together; the topics of a block are compared with each."""
BRIDGE_CONNECT_TIMEOUT_MS: Final = 15_000
"""For TCP and TLS together, and again for CONNACK and SUBACK: three lost packets on a mobile link are about 7 s."""
BRIDGE_SEND_TIMEOUT_MS: Final = 60_000
"""For a batch of BRIDGE_BATCH_BYTES_MAX at 40 kbit/s."""
BRIDGE_PONG_TIMEOUT_MS: Final = 20_000
BRIDGE_RETRY_FIRST_MS: Final = 1_000
BRIDGE_RETRY_MS_MAX: Final = 300_000
"""Every pause is a random one up to 1, 2, 4 … s, at most 5 min: a thousand boxes do not come back at the same moment."""
BRIDGE_STABLE_MS: Final = 60_000
"""A connection that stood this long is healthy: the next pause is the first one again."""
BRIDGE_READ_BYTES: Final = 1 * MIB
"""Read from the log at a time."""
BRIDGE_BATCH_COUNT_MAX: Final = 500
BRIDGE_BATCH_BYTES_MAX: Final = 256 * KIB
"""Messages sent at a time; one that is larger goes alone."""
BRIDGE_SESSION_EXPIRY_S: Final = 30 * 24 * 3_600
"""How long an MQTT 5 remote keeps our session while we are away."""
BRIDGE_CURSOR_INTERVAL_MS: Final = 5_000
"""How often the cursor is saved while it moves: what QoS 1 may send again after a SIGKILL. Two fsyncs each, for as long as
anything at all comes in: every second would wear an SD card for nothing."""
BRIDGE_REPORT_INTERVAL_MS: Final = 1_000
BRIDGE_REPORT_STALE_MS: Final = 10_000
"""A report this old is of a process that is gone."""
BRIDGE_PASSWORD_FILE_BYTES_MAX: Final = 4 * KIB
INGEST_REQUEST_COUNT_MAX: Final = 2 * BRIDGE_COUNT_MAX
"""Requests of the bridge process that the broker has not answered: one a bridge, and one that it left behind."""
INGEST_RECORD_COUNT_MAX: Final = 40_000
"""In one request: 64 KiB of the smallest PUBLISH packets are 13,107."""

# --- Readings ----------------------------------------------------------------------------------------------
DEVICE_ID_BYTES_MAX: Final = 128
METRIC_NAME_BYTES_MAX: Final = 256
METRIC_COUNT_PER_MESSAGE_MAX: Final = 1024
JSON_DEPTH_MAX: Final = 16
TEXT_VALUE_BYTES_MAX: Final = 64 * KIB
POINT_COUNT_PER_MESSAGE_MAX: Final = 10_000
"""Points of one array; an hour of one-second readings is 3,600."""
PAYLOAD_DECODE_BYTES_MAX: Final = 1 * MIB
"""A larger payload is a dead letter unread: 1 MiB of `[],[],` is 350,000 objects, about 22 MB while decoded."""
BOOT_ID_BYTES_MAX: Final = 64
EPOCH_2000_MS: Final = 946_684_800_000
"""2000-01-01 UTC. A device's time before it is a clock that was never set."""
CLOCK_AHEAD_MS_MAX: Final = 86_400_000
"""One day: a device's time further ahead of ours is not believed."""
TOPIC_ROUTE_COUNT_MAX: Final = 65_536
"""Distinct topics whose device and metric prefix are remembered; about 300 bytes each, 20 MB."""
SHAPE_COUNT_MAX: Final = 4_096
"""Payload shapes with a column plan of their own; when full, all are forgotten and found again."""
TYPED_SHAPE_COUNT_MAX: Final = 256
"""Shapes with a decoder of their own; about 5 KiB each. When full, all are forgotten and earned again."""
TYPED_METRIC_COUNT_MAX: Final = 128
SERIES_COUNT_MAX: Final = 1_000_000
"""Per node; about 250 bytes each in memory: 250 MB at the very most, 12 MB for 10,000 devices × 5."""
SERIES_PER_DEVICE_COUNT_MAX: Final = 4_096
"""A device that puts an id or a time into its keys is stopped here."""
DEDUP_INTERVAL_COUNT_MAX: Final = 256
"""Per device and boot: gaps in `seq` that may be filled later. Two 64-bit numbers each: 4 KiB."""
DEDUP_BOOT_COUNT_MAX: Final = 4
"""Boots of one device whose windows are kept: the current one and three whose buffers may still arrive."""

# --- The pipeline and the time-series store ----------------------------------------------------------------
BATCH_BYTES_MAX: Final = 8 * MIB
"""Bytes of blocks that are decoded together: 25,000 messages of 100 bytes are 2.5 MB."""
BATCH_MESSAGES_MIN: Final = 1_000
"""An adapting batch doesn't shrink below this."""
DEAD_LETTER_COUNT_MAX: Final = 100_000
"""Kept in the store; the oldest go first, and are counted."""
DEAD_LETTER_PAYLOAD_BYTES_MAX: Final = 4 * KIB
"""Of each payload; the whole of it is in the log at the dead letter's position."""
DEAD_LETTER_BATCH_BYTES_MAX: Final = 4 * MIB
"""Payload bytes kept per batch; beyond it dead letters have their position and reason only."""
DAY_TABLE_COUNT_MAX: Final = 92
"""Days before today that get a table of their own (90 hot days and two of lateness); older readings share one."""
SET_ASIDE_COUNT_MAX: Final = 3
"""Damaged stores that are kept for a post-mortem; the oldest is removed when a fourth is set aside."""
QUERY_WAITING_COUNT_MAX: Final = 32
"""Queries that wait for one of store.query_concurrency_max; more are refused at once."""
LIVE_SUBSCRIBER_COUNT_MAX: Final = 64
LIVE_CHANGED_COUNT_MAX: Final = 20_000
"""Changed devices a slow subscriber may collect before it is told "everything"."""

# --- The catalog (storage/catalog/DESIGN.md) -----------------------------------------------------------
DEVICE_COUNT_MAX: Final = 100_000
"""The broker keeps every credential in memory: 100,000 × 511 bytes (measured) = 51 MB."""
WAITING_DEVICE_COUNT_MAX: Final = 1_000
"""Devices waiting for adoption; anyone on the network can make one by connecting."""
DEVICE_TOKEN_COUNT_MAX: Final = 2
"""Per device: the one in use and the one it is being changed to."""
DEVICE_NAME_LENGTH_MAX: Final = 200
DEVICE_TAG_COUNT_MAX: Final = 32
DEVICE_TAG_LENGTH_MAX: Final = 64
SETTING_VALUE_BYTES_MAX: Final = 64 * KIB
USER_COUNT_MAX: Final = 1_000
BROWSER_SESSION_COUNT_MAX: Final = 1_000
"""Of all users together; the one unused for longest ends when a new one would exceed it."""
CATALOG_WRITER_QUEUE_DEPTH_MAX: Final = 256
"""A write is one fsync, 1 to 10 ms on flash: a full queue is 0.3 to 3 s of waiting."""
CATALOG_READER_QUEUE_DEPTH_MAX: Final = 512
"""Per pool."""
CATALOG_READER_COUNT: Final = 4
"""Connections per pool; with the default page cache of 2 MiB each, three pools are 24 MiB at most."""
CATALOG_BUSY_TIMEOUT_MS: Final = 2_000
CATALOG_READ_TIMEOUT_MS: Final = 2_000
CATALOG_WRITE_TIMEOUT_MS: Final = 5_000
CATALOG_WAIT_TIMEOUT_MS: Final = 2_000
"""How long a read or write may wait for its turn before it is refused."""
CATALOG_STRIKE_COUNT_MAX: Final = 3
AUTH_BUSY_TIMEOUT_MS: Final = 100
"""The broker's look-up may run in its event loop: a locked catalog must not stop it for longer."""
AUTH_RETRY_AFTER_MS: Final = 1_000
"""After a failed look-up the catalog is left alone for this long and the last known good is served."""
AUTH_LAST_KNOWN_GOOD_MS: Final = 10 * 60 * 1_000
"""How long known devices are let in while the catalog can't be read."""

# --- People and the web (ui/) ----------------------------------------------------------------------------
PASSWORD_LENGTH_MIN: Final = 12
PASSWORD_LENGTH_MAX: Final = 256
USER_NAME_LENGTH_MAX: Final = 64
PASSWORD_HASH_CONCURRENCY_MAX: Final = 1
"""Argon2 with 64 MiB each: one at a time is 64 MiB and one core's worth of a small box."""
PASSWORD_HASH_QUEUE_DEPTH_MAX: Final = 32
"""32 × about 0.1 s: the last in the queue waits some 3 s."""
SETUP_CODE_WINDOW_MS: Final = 15 * 60 * 1_000
SETUP_CODE_ATTEMPT_COUNT_MAX: Final = 20
"""50 bits against 20 guesses: 1 in 5 × 10^13."""
SESSION_LIFETIME_MS: Final = 30 * 24 * 3_600 * 1_000
"""From signing in, however much it is used; ui.session_hours is how long it lasts unused."""
SESSION_TOUCH_MS: Final = 60 * 1_000
"""A session's last use is written at most this often."""
SIGN_IN_BURST_COUNT_MAX: Final = 10
"""Attempts from one address before it has to wait."""
SIGN_IN_REFILL_MS: Final = 15_000
"""One more attempt per address."""
SIGN_IN_TOTAL_BURST_COUNT_MAX: Final = 60
SIGN_IN_TOTAL_REFILL_MS: Final = 1_000
SIGN_IN_ADDRESS_COUNT_MAX: Final = 4_096
"""Addresses remembered (about 200 bytes each); the one unused for longest is forgotten."""
REQUEST_BODY_BYTES_MAX: Final = 1 * MIB
PAGE_ITEM_COUNT_DEFAULT: Final = 100
PAGE_ITEM_COUNT_MAX: Final = 1_000
QUERY_METRIC_COUNT_MAX: Final = 20
QUERY_POINT_COUNT_DEFAULT: Final = 10_000
QUERY_POINT_COUNT_MAX: Final = 100_000
"""Per request: 100,000 points of JSON are about 3 MB."""
QUERY_RANGE_MS_MAX: Final = 731 * 24 * 3_600 * 1_000
"""Two years and a leap day: what the archive holds."""
HEALTH_CHECK_TIMEOUT_MS: Final = 5_000

# --- The supervisor and its children (appliance/run/DESIGN.md) ------------------------------------------
LINK_MESSAGE_BYTES_MAX: Final = 16 * KIB
"""A status line and an announcement of a dozen lines have about 1 KiB."""
STATUS_CHARACTERS_MAX: Final = 200
ANNOUNCE_LINE_COUNT_MAX: Final = 32
HEARTBEAT_INTERVAL_MS: Final = 1000
HEARTBEAT_STALE_MS: Final = 10_000
"""From here on systemd's watchdog isn't fed any more; the unit's WatchdogSec is 30 s."""
HEARTBEAT_LOST_MS: Final = 20_000
"""A child this long without a heartbeat is killed and started again: before 10 + 30 s, when systemd would
restart the healthy child too."""
CHILD_START_MS_MAX: Final = 60_000
"""From start to the first heartbeat: a cold import of everything on a slow SD card takes about 10 s."""
RESTART_DELAY_FIRST_MS: Final = 250
RESTART_DELAY_MS_MAX: Final = 30_000
RESTART_STABLE_MS: Final = 60_000
"""A child that ran this long is healthy: its next restart waits only the first delay again."""
DRAIN_DEADLINE_MS: Final = 8000
"""The promise is under 10 s; 2 s remain for the kernel to take killed processes away."""

# --- Live pages (ui/live, ui/pages) ----------------------------------------------------------------------
HUB_FRAME_INTERVAL_MS: Final = 500
"""A page gets at most two frames a second: what an eye follows."""
HUB_BEAT_INTERVAL_MS: Final = 1_500
"""A page that hears nothing for 4 s (two beats and a margin) says so; the promise is 5 s."""
HUB_KEY_COUNT_MAX: Final = 50_000
"""About 120 bytes each, 6 MB; five times the devices that a node serves."""
HUB_WATCHER_COUNT_MAX: Final = 64
"""Open pages; each renders at most two frames a second of at most PAGE_ROW_COUNT_MAX rows."""
HUB_SEND_TIMEOUT_MS: Final = 20_000
STREAM_SESSION_CHECK_MS: Final = 4_000
"""How long a page stays live after signing out elsewhere: 64 pages look up 16 sessions a second."""
PAGE_ROW_COUNT_DEFAULT: Final = 50
PAGE_ROW_COUNT_MAX: Final = 200
PAGE_WAITING_COUNT_MAX: Final = 20
"""Devices waiting for adoption shown at once; the heading counts all."""
PAGE_FORM_FIELD_COUNT_MAX: Final = 32
PAGE_TEXT_LENGTH_MAX: Final = 200
"""Characters of a text value or a dead letter's payload on a page; the API gives all of it."""
CHART_POINT_COUNT: Final = 480
"""24 h in buckets of 3 min: about two device pixels each on a desktop."""
CHART_METRIC_COUNT_MAX: Final = 6
BROKER_ROWS_INTERVAL_MS: Final = 2_000
"""A page that shows clients asks the broker for its 50 rows this often: 64 pages are 32 questions a second of 0.1 ms."""
OVERVIEW_CACHE_MS: Final = 1_000
"""Counting 10,000 devices by state takes about 20 ms in a thread; once a second whoever asks."""
REQUEST_BODY_TIMEOUT_MS: Final = 30_000
"""For a whole request body: 1 MiB over a link of 300 kbit/s."""
REQUEST_HEADER_TRACE_BYTES_MAX: Final = 256
READINESS_LAG_MS_MAX: Final = 60_000
"""A pipeline further behind is not ready: pages would show a minute-old world as the present one."""
REQUEST_DISCARD_BYTES_MAX: Final = 8 * MIB
"""Of a body that was refused, read and thrown away so that the client gets to see the answer; never kept."""
REQUEST_DISCARD_TIMEOUT_MS: Final = 5_000
