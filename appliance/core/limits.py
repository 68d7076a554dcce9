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
# --- Connections that enrol; requests have their limits in limits_requests.py -------------------------------
PROVISIONING_CONNECTION_COUNT_MAX: Final = 256
"""Connections that enrol, at once; more are told to come back."""
PROVISIONING_CONNECTION_MS: Final = 300_000
"""How long such a connection may last: asking takes seconds, and whoever waits for adoption comes back."""
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

KEPT_COPY_TOPIC_COUNT_MAX: Final = 20_000
"""Topics with RETAIN that a bridge's or an application's connection is remembered for, about 250 bytes each: 5 MB if it uses them all."""
KEPT_COPY_REPEAT_MS: Final = 60_000
"""The same payload again within it may be the same copy; a device that has nothing new to say says it later, too."""

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
CBOR_DEPTH_MAX: Final = JSON_DEPTH_MAX + 4
"""Of CBOR, tags counted: an array of points, the envelope and its values stand around what JSON_DEPTH_MAX is about."""
CBOR_ITEM_COUNT_MAX: Final = 250_000
"""Values and keys of one CBOR payload: 10,000 points of eight values; about 0.15 s."""
CBOR_BIGNUM_BYTES_MAX: Final = 128
"""2^1024 is beyond the doubles."""
BOOT_ID_BYTES_MAX: Final = 64
EPOCH_2000_MS: Final = 946_684_800_000
"""2000-01-01 UTC. A device's time before it is a clock that was never set."""
CLOCK_AHEAD_MS_MAX: Final = 86_400_000
"""One day: a device's time further ahead of ours is not believed."""
CLOCK_WRONG_BEFORE_MS: Final = 1_672_531_200_000
"""2023-01-01 UTC. This program did not exist before: a box that says so starts without a battery or a time server."""
CLOCK_UNCHECKED_MS_MAX: Final = 4_102_444_800_000
"""2100-01-01 UTC. While our own clock is known to be wrong a device's time can't be held against it, and is believed up to here."""
CLOCK_LEAP_MS: Final = 3 * 86_400_000
"""Our clock this far from where it was last, plus what has passed, is doubted. A box that was off over a weekend has not leapt."""
CLOCK_BACK_HELD_MS: Final = 86_400_000
"""A clock that went back by a leap is believed once it has stood for so long: then it was wrong before."""
CLOCK_STEP_MS: Final = 10_000
"""Our clock set by less is not told of: time servers slew that."""
CLOCK_STEP_TOLD_MS: Final = 86_400_000
"""For so long the Overview says that the clock was set."""
CLOCK_SAVE_MS: Final = 3_600_000
"""The believed time is written so often: 100 bytes an hour; less than CLOCK_LEAP_MS is lost by a power cut."""
CLOCK_AHEAD_TOLERANCE_MS: Final = 10_000
"""A reading this far ahead of its arrival was timed by a wrong clock. Devices that ask a time server are off by less than a second;
a crystal of 100 ppm drifts 8.6 s a day."""
CLOCK_BEHIND_TOLERANCE_MS: Final = 60_000
"""Behind, what the way takes comes on top: a gateway that sends once a minute is no wrong clock."""
CLOCK_SLOT_MS: Final = 600_000
"""Lowest delays are kept for the two newest slots with messages, ten minutes each: a clock set right is seen within twenty, or two messages."""
CLOCK_FLAT_MS: Final = 5_000
"""A slow clock is as slow in the next slot. A device that catches up comes nearer by more: a tenth faster than live is 60 s a slot."""
CLOCK_COMMON_DEVICE_COUNT_MIN: Final = 3
"""As many clocks off by the same must be, and more than half of all, for this box's own to be the wrong one."""
WATERMARK_SERIES_COUNT_MAX: Final = 100
"""Devices with a series of their own in the metrics; with more there are only the sums: a collector keeps each series for ever."""
EXPECT_MS_MIN: Final = 2_000
"""A status's `expect_s` below it counts as this: a commit every 0.2 s and pages once a second can't tell more."""
EXPECT_MS_MAX: Final = 30 * 86_400_000
"""A larger `expect_s` is not believed."""
TOPIC_ROUTE_COUNT_MAX: Final = 65_536
"""Distinct topics whose device and metric prefix are remembered; about 300 bytes each, 20 MB."""
MAPPING_COUNT_MAX: Final = 256
"""That operators write, beside those of the configuration: a topic seen for the first time is held against all of them, 0.5 ms."""
MAPPING_FIELD_COUNT_MAX: Final = 256
"""Fields of one mapping: 256 with names of 40 characters are 30 KiB of JSON."""
MAPPING_NOTE_LENGTH_MAX: Final = 1_000
MAPPING_SET_BYTES_MAX: Final = 256 * KIB
"""All mappings in force, as the catalog keeps them for each change: 256 of 1 KiB."""
MAPPING_SET_COUNT_MAX: Final = 1_000
"""Changes of mappings that are remembered for a rebuild: 256 MiB of catalog at the very most, 1 MB with ten mappings."""
TRY_OUT_COUNT_MAX: Final = 100
"""Messages that a mapping is tried on: about 1 ms each."""
TRY_OUT_WAITING_COUNT_MAX: Final = 4
"""Try-outs that wait for the one under way, 2 s each at most; and changes of mappings that wait for another."""
TRY_OUT_ROW_COUNT_MAX: Final = 50
"""Readings shown of each of them."""
RECENT_LOOK_BYTES_MAX: Final = 64 * MIB
RECENT_LOOK_MS_MAX: Final = 2_000
"""How far back the log is looked through for messages of some topics: half a million small ones, beside everything else."""
MAPPING_ROUTER_COUNT_MAX: Final = 4
"""Sets of mappings whose topics are remembered at a time: the newest, and those that a rebuild passes through. 80 MB at the very most."""
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
LETTER_GROUP_COUNT_MAX: Final = 200
"""Groups of dead letters by reason and topic pattern that are shown, the newest first; each with a sample of up to 4 KiB."""
REPLAY_PART_LETTER_COUNT_MAX: Final = 1_000
"""Dead letters that are read again in one transaction: about 0.2 s in which readings wait; 100 parts at most."""
REPLAY_PART_BYTES_MAX: Final = 8 * MIB
"""Of their payloads, which are taken from the log and may be large."""
REPLAY_WAITING_COUNT_MAX: Final = 16
REPLAY_COUNT_MAX: Final = 1_000
"""That are remembered; a rebuild goes back a day or two and does those again that lie on its way."""
DAY_TABLE_COUNT_MAX: Final = 92
"""Days before today that get a table of their own (90 hot days and two of lateness); older readings share one."""
BACKLOG_RECORDS_MIN: Final = 500_000
"""Records behind the head from which on new readings go first and the older ones follow: 3 to 5 s of work."""
BACKLOG_RANGE_COUNT_MAX: Final = 64
"""Times that a backlog may be begun before the first has ended; then the pipeline reads in order again."""
BACKLOG_BATCH_MESSAGES_MAX: Final = 25_000
"""Of a batch from the backlog: 0.1 to 0.2 s in which new readings wait."""
BACKLOG_BOOT_FACTOR: Final = 4
"""Times DEDUP_BOOT_COUNT_MAX while a backlog is worked off: its boots and those of now."""
SNAPSHOT_COUNT_MAX: Final = 40
"""Copies of the store's state, one a day: a rebuild can begin before a day that couldn't be archived for a month."""
SNAPSHOT_BYTES_MAX: Final = 2_048 * MIB
"""Of one, unpacked: a million series, 10,000 devices and the dead letters are about 500 MB."""
SET_ASIDE_COUNT_MAX: Final = 3
"""Damaged stores that are kept for a post-mortem; the oldest is removed when a fourth is set aside."""
STORE_WORK_COUNT_MAX: Final = 16
"""Pieces of work that wait for the store's writer beside its batches: retention, archive, erasures, replays and a person or two."""
RETENTION_CLASS_COUNT_MAX: Final = 32
"""Each has files of its own in every archived day, and each metric is compared with all."""
RETENTION_PATTERN_LENGTH_MAX: Final = 256
RETENTION_DAYS_MAX: Final = 36_500
"""A hundred years; 0 days in the archive are for ever."""
ARCHIVE_FILE_ROW_COUNT_MAX: Final = 2_000_000
"""Rows of a Parquet file, unless one device alone has more: sorted at 60 bytes each, 120 MB; what is beyond
store.memory_limit_mib is sorted on disk. An erasure rewrites the files that its device is in."""
ARCHIVE_ROW_GROUP_ROW_COUNT: Final = 65_536
"""Rows of a Parquet file that are skipped together: a device's day at 1 s with one metric is 86,400."""
ARCHIVE_MANIFEST_BYTES_MAX: Final = 4 * MIB
"""300 bytes a file: 10,000 files, 20 thousand million rows of one day."""
ARCHIVE_READ_BYTES: Final = 1 * MIB
"""Read at a time to check a file, and between two looks at whether to stop."""
ARCHIVE_RESTORE_ROW_COUNT: Final = 100_000
"""Rows that are brought back in one transaction: 60 ms on a busy machine, in which readings wait."""
ARCHIVE_REQUEST_COUNT_MAX: Final = 8
"""Checks, restored days and erasures that people wait for; each may take minutes."""
QUERY_WAITING_COUNT_MAX: Final = 32
"""Queries that wait for one of store.query_concurrency_max; more are refused at once."""
EXPORT_CONCURRENCY_MAX: Final = 1
"""Portions of exports read at once, of all exports together: they share one place beside store.query_concurrency_max."""
EXPORT_PORTION_ROWS_MAX: Final = 100_000
"""Readings of one portion: 2.6 MB of columns without their texts, of which each export holds one."""
# --- Questions in SQL (storage/telemetry/sql_check.py) ------------------------------------------------------
SQL_TEXT_BYTES_MAX: Final = 16 * KIB
"""A long question of a person has 2 KiB; DuckDB parses 16 KiB in 25 ms."""
SQL_DEPTH_MAX: Final = 60
"""Of brackets and of nodes within nodes. DuckDB takes 6 s for 3,000 brackets, 5 ms for 60; json and this walk go some 900 deep."""
SQL_NODE_COUNT_MAX: Final = 4_000
"""Of the tree, an alias counted again in full wherever it is named: `1 AS a, a+a AS b, b+b AS c …` doubles with each."""
SQL_TABLE_COUNT_MAX: Final = 12
"""Each is a view over two tables for each of 92 days: 2,200 scans, which DuckDB plans in 0.2 s."""
SQL_STAR_COUNT_MAX: Final = 8
"""With 12 tables at most 6^4 × 7 columns (2 stars × 3 tables, four times nested), 9,000, which are planned in 1 s."""
SQL_GROUPING_COUNT_MAX: Final = 64
"""CUBE of six columns; each grouping is a pass over the rows."""
SQL_JOINED_GROWTH_MAX: Final = 25
"""How much longer texts become by joining them: a SELECT's joins and one, times those of the SELECTs within it. DuckDB works on 2,048
rows at once and isn't interrupted meanwhile: with 16 KiB of text in each that is 0.8 GiB at most."""
SQL_LIST_COLUMN_COUNT_MAX: Final = 8
"""Of an answer. A list has the 4,000 values that were written out at most, joined 25 times: a million in a row, 50 ms."""
SQL_MEMORY_WATCH_MS: Final = 100
"""How often the process's memory is looked at while a question runs: texts are outside of what DuckDB limits."""
SQL_MEMORY_PERCENT_MAX: Final = 50
"""Of store.memory_limit_mib, of what DuckDB can't put on the disk, before a question is interrupted. What it can put there may take
the rest: it goes when a commit needs it."""
SQL_MEMORY_GROWTH_MIB_MAX: Final = 256
"""How much the process may grow beyond store.memory_limit_mib while a question runs, before it is interrupted."""
SQL_WAITING_COUNT_MAX: Final = 4
"""Questions that wait for the one that runs; more are refused at once."""
SQL_ANSWER_BYTES_MAX: Final = 8 * MIB
"""Of an answer's texts, about: 10,000 rows of ten columns are 1 MiB. More are cut off."""
SQL_COLUMN_COUNT_MAX: Final = 200
SQL_NICENESS: Final = 10
"""How much nicer the thread is that works on a question: with both busy on one core, the pipeline's has nine tenths of it."""
SQL_FETCH_ROW_COUNT: Final = 256
"""Rows made into Python's values at once: with 200 columns 50,000 values."""
SQL_PAGE_ROW_COUNT_MAX: Final = 500
"""Rows of an answer that the page shows; a file has all."""
SQL_LINK_BYTES_MAX: Final = 6 * KIB
"""Of a link to a question: what chat programs and proxies let through."""
SQL_TEMPORARY_DISK_MIB_MAX: Final = 2_048
"""What the store may put aside on the disk while it sorts or groups, for all questions together."""
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
DEVICE_GROUP_COUNT_MAX: Final = 32
GROUP_COUNT_MAX: Final = 1_000
"""They fit one page of the API, and a scope of all of them is 64 KiB of JSON."""
GROUP_ID_LENGTH_MAX: Final = 64
GROUP_NAME_LENGTH_MAX: Final = 200
GROUP_DESCRIPTION_LENGTH_MAX: Final = 1_000
CATALOG_CHUNK_ROW_COUNT_MAX: Final = 100
"""Rows that a long change writes in one transaction, at 0.3 ms each with their audit entries (measured): 30 ms."""
CATALOG_CHUNK_MS: Final = 50
"""After which a long change lets other writers have their turn. Entries of the audit and the commit come on top; the promise is 250 ms."""
DEVICE_IMPORT_ROW_COUNT_MAX: Final = DEVICE_COUNT_MAX
DEVICE_IMPORT_BYTES_MAX: Final = 32 * MIB
"""100,000 rows of 335 bytes; it is read as it comes, a line at a time."""
DEVICE_IMPORT_LINE_BYTES_MAX: Final = 16 * KIB
"""An id, a name, 32 tags and 32 groups of the greatest length have 14 KiB in UTF-8."""
DEVICE_IMPORT_PROBLEM_COUNT_MAX: Final = 10_000
"""Rows that a report names, about 250 bytes each: 2.5 MB. All are counted."""
DEVICE_IMPORT_TIMEOUT_MS: Final = 10 * 60 * 1_000
"""For a list to arrive: it is read no faster than its devices are written, 100,000 in about 2 minutes."""
DEVICE_IMPORT_CONCURRENCY_MAX: Final = 1
"""Lists that are read at the same time: 100,000 ids and tokens are about 30 MB."""
DEVICE_BULK_COUNT_MAX: Final = 1_000
SETTING_VALUE_BYTES_MAX: Final = 64 * KIB
USER_COUNT_MAX: Final = 1_000
BROWSER_SESSION_COUNT_MAX: Final = 1_000
"""Of all users together; the one unused for longest ends when a new one would exceed it."""
CATALOG_WRITER_QUEUE_DEPTH_MAX: Final = 256
"""A write is one fsync, 1 to 10 ms on flash: a full queue is 0.3 to 3 s of waiting."""
CATALOG_READER_QUEUE_DEPTH_MAX: Final = 512
"""Per pool."""
CATALOG_READER_COUNT: Final = 4
"""Connections per pool; with the default page cache of 2 MiB each, four pools are 32 MiB at most."""
CATALOG_BUSY_TIMEOUT_MS: Final = 2_000
CATALOG_READ_TIMEOUT_MS: Final = 2_000
CATALOG_WRITE_TIMEOUT_MS: Final = 5_000
CATALOG_WAIT_TIMEOUT_MS: Final = 2_000
"""How long a read or write may wait for its turn before it is refused."""
CATALOG_GRACE_MS: Final = 500
"""Behind a time limit that SQLite should have kept; then whoever waits is let go, and the thread is overdue."""
CATALOG_CLOSE_TIMEOUT_MS: Final = 6_000
"""For everything to end when the node stops: the longest limit and its grace."""
POOL_LOOK_INTERVAL_MS: Final = 1_000
POOL_ALARM_RATIO: Final = 0.8
"""Mean use of a pool over an interval: 3.2 of 4 connections, or the one writer for 0.8 s of each second."""
POOL_ALARM_COUNT: Final = 5
"""Intervals in a row at or above it until there is an alarm, and below it until it is over."""
CACHE_STRIKE_COUNT_MAX: Final = 3
"""Failed reads in a row after which a cache of look-ups takes the catalog for away."""
CACHE_LOAD_TIMEOUT_MS: Final = 500
"""For one read of a cache: a row takes 0.3 ms, 5 ms at the 99th percentile. Three of them until the last known good is
served: nobody who is known waits for more than 1.5 s, and that once."""
CACHE_RETRY_AFTER_MS: Final = 1_000
"""While the catalog is away, one look-up this often finds out whether it is back."""
CACHE_TTL_MS: Final = 30_000
"""Changes of this process are told at once; this bounds what another program's could do."""
CACHE_LAST_KNOWN_GOOD_MS: Final = 10 * 60 * 1_000
"""How long who is known is served while the catalog is away: as long as the broker lets known devices in."""
CACHE_ENTRY_COUNT_MAX: Final = 4_096
"""Per cache; 1,000 browsers, 1,000 users and their tokens. About 1 KiB each, 4 MiB."""
AUTH_BUSY_TIMEOUT_MS: Final = 100
"""The broker's look-up may run in its event loop: a locked catalog must not stop it for longer."""
ENQUIRY_TIMEOUT_MS: Final = 1_000
"""For the broker's thread that asks who they are; then another one asks, which the catalog's file does not hold up again."""
AUTH_RETRY_AFTER_MS: Final = 1_000
"""After a failed look-up the catalog is left alone for this long and the last known good is served."""
AUTH_LAST_KNOWN_GOOD_MS: Final = 10 * 60 * 1_000
"""How long known devices are let in while the catalog can't be read."""

# --- Backups (storage/backup/DESIGN.md) ------------------------------------------------------------------
BACKUP_CHUNK_BYTES: Final = 4 * MIB
"""A file is cut into pieces of this size: an fsync of some 50 ms on a USB stick for each, and at most 4 MiB written again
where a page of the catalog changed."""
BACKUP_CHUNK_STORED_BYTES_MAX: Final = BACKUP_CHUNK_BYTES + 4 * KIB
"""What can't be compressed is stored as it is; nonce, tag and header are 60 bytes."""
BACKUP_HEADER_BYTES_MAX: Final = 16 * KIB
"""The plain header of a repository has about 1 KiB."""
BACKUP_MANIFEST_BYTES_MAX: Final = 64 * MIB
"""Unpacked: 36 bytes a chunk are 7 TB, 150 bytes a file are 400,000 files; memory for one at a time."""
BACKUP_FILE_COUNT_MAX: Final = 200_000
"""In one backup: ten years of days with 50 files each."""
BACKUP_FILE_BYTES_MAX: Final = 1024 * 1024 * MIB
"""Of one file: a catalog, a segment or a Parquet file is far below 1 TiB."""
BACKUP_LIST_COUNT_MAX: Final = 10_000
"""Backups in one repository: what `backup.keep` allows."""
BACKUP_SMALL_FILE_BYTES_MAX: Final = 4 * MIB
"""Of a file that is read as a whole, in one go with its neighbours: keys, certificates, cursors."""
BACKUP_WALK_COUNT_MAX: Final = 5
"""How often a day of the archive that changes while it is copied is begun again."""
BACKUP_FILE_LIST_COUNT_MAX: Final = 1_000
"""Files of a backup that the API lists; 100 KiB of JSON."""
PATH_LENGTH_MAX: Final = 4_000
"""Characters of a folder's path, as in the configuration; the kernel takes 4,095 bytes."""
BACKUP_DISK_TIMEOUT_MS: Final = 5_000
"""A disk that takes longer to say what is in a folder counts as away; one that spins up takes three seconds."""
BACKUP_SCHEDULE_INTERVAL_MS: Final = 60_000
"""How often it is looked whether a backup is due and its disk connected: one look at a folder."""
BACKUP_RETRY_MS: Final = 3_600_000
"""After one that failed, before the schedule tries again."""
BACKUP_SEAL_WAIT_MS: Final = 30_000
"""How long a segment that is being sealed is waited for; sealing one of 64 MiB takes a second."""

# --- Enrolment (docs/ENROLMENT.md) ----------------------------------------------------------------------
CLAIM_USE_COUNT_MAX: Final = DEVICE_COUNT_MAX
"""Of one claim: as many devices as a node serves."""
CLAIM_COUNT_MAX: Final = 1_000
"""That can still be used, at once; each is a secret that somebody has to look after."""
CLAIM_LIFE_MS_MAX: Final = 366 * 24 * 3_600 * 1_000
"""From its making to its end: a year and a leap day."""
CLAIM_NAME_LENGTH_MAX: Final = 200
CLAIM_GROUP_COUNT_MAX: Final = 32
CLAIM_GUESS_COUNT_MAX: Final = 10
"""Wrong claim tokens from one network before all of its are refused unread; 192 bits are not guessed, but it fills the log."""
CLAIM_GUESS_REFILL_MS: Final = 60_000
"""One more guess for each network."""
CLAIM_GUESS_NETWORK_COUNT_MAX: Final = 4_096
"""Networks remembered (about 200 bytes each); the one that guessed longest ago is forgotten."""
SERIAL_LENGTH_MAX: Final = 128
"""Of the number that is printed on a device."""
NONCE_LENGTH_MIN: Final = 16
NONCE_LENGTH_MAX: Final = 128
"""Of the text that a device without a key makes up once, to be known by when it asks again."""
DEVICE_TOKEN_INTERVAL_MS: Final = 10_000
"""Between two tokens that a device asks for: each is a write of the catalog, and the answer to the first may have got lost."""
ENROLMENT_REPEAT_MS: Final = 3_600_000
"""How long a device may ask once more for the identity that it was given first: answers get lost, devices lose their power. Later a
claim's token and a key that somebody took out of a device open nothing any more."""
ADOPTION_RETRY_S: Final = 60
"""When a device that waits for adoption is to ask again."""
ENROLMENT_RETRY_S: Final = 10
"""When a device is to ask again that could not be answered now."""
DEVICE_TOKEN_OVERLAP_MS: Final = 24 * 3_600 * 1_000
"""How long a device's old token is good beside the one that it asked for."""

# --- People and the web (ui/) ----------------------------------------------------------------------------
PASSWORD_LENGTH_MIN: Final = 12
PASSWORD_LENGTH_MAX: Final = 256
PASSWORD_GUESSES_LOG10_MIN: Final = 10.5
"""Guesses that a new password must be worth, as a power of ten: over the network some 100 an hour are answered; with a stolen
catalog and argon2id's 0.12 s each, on 1,000 cores, it is a month and a half."""
PASSWORD_JUDGED_LENGTH_MAX: Final = 72
"""Characters that are judged: the work grows with their square (20 ms for so many, measured)."""
AUDIT_DETAIL_LENGTH_MAX: Final = 1_000
"""Characters of an audit entry's words; an entry is then 3 KiB at most beside the values of the row."""
AUDIT_OBJECT_ID_LENGTH_MAX: Final = 1_000
"""Of what is noted; a topic may have 64 KiB."""
AUDIT_ACTIONS_OF_NOUN_MAX: Final = 64
"""Actions come from the program, not from people; devices have the most, some 20."""
AUDIT_SIGN_INTERVAL_MS: Final = 60_000
"""A new entry is signed after a minute at the latest: what can be rewritten without the key is a minute."""
AUDIT_LAST_SIGN_TIMEOUT_MS: Final = 2_000
"""A node that stops signs once more, and does not wait for a slow disk longer than for requests under way."""
AUDIT_UNSIGNED_MS_MAX: Final = 3_600_000
"""An entry without a signature after it is a fault from here on; with a busy catalog signing is tried again each minute."""
AUDIT_UNSIGNED_COUNT_MAX: Final = 1_000
"""So many old entries and no signature at all are no new box, but one whose signatures somebody removed."""
AUDIT_BATCH_COUNT: Final = 500
"""Entries read at a time while the audit is verified or exported: at most 5 KiB each, 2.5 MiB."""
AUDIT_EXPORT_COUNT_MAX: Final = 2
"""Sent at once; each holds one batch."""
AUDIT_ENTRY_COUNT_ALARM: Final = 2_000_000
"""Entries are never deleted; from here on the node says so. With 1.2 KiB each that is 2.4 GiB."""
USER_NAME_LENGTH_MAX: Final = 64
SITE_NAME_LENGTH_MAX: Final = 60
"""Characters; one line beside the logo of a desktop's page, two on a phone's."""
PASSWORD_HASH_CONCURRENCY_MAX: Final = 1
"""Argon2 with 64 MiB each: one at a time is 64 MiB and one core's worth of a small box."""
PASSWORD_HASH_QUEUE_DEPTH_MAX: Final = 32
"""32 × about 0.1 s: the last in the queue waits some 3 s."""
FRESH_SESSION_MS: Final = 15 * 60 * 1_000
"""How long after signing in the recovery kit is shown without signing in again: as long as the first run's window."""
SETUP_CODE_WINDOW_MS: Final = 15 * 60 * 1_000
SETUP_CODE_ATTEMPT_COUNT_MAX: Final = 20
"""50 bits against 20 guesses: 1 in 5 × 10^13."""
SESSION_LIFETIME_MS: Final = 30 * 24 * 3_600 * 1_000
"""From signing in, however much it is used; ui.session_hours is how long it lasts unused."""
SESSION_TOUCH_MS: Final = 60 * 1_000
"""A session's last use is written at most this often."""
USER_DISPLAY_NAME_LENGTH_MAX: Final = 100
SCOPE_GROUP_COUNT_MAX: Final = 64
"""Groups in the scope of a user or token: 64 ids of 128 bytes are 8 KiB, read with every request of theirs."""
ACCESS_TOKEN_LIFETIME_MS: Final = 3_600 * 1_000
ACCESS_TOKEN_BYTES_MAX: Final = 2 * KIB
"""Of what stands behind "Bearer": ours have about 400 bytes with the longest user name; more is not decoded."""
TOKEN_FAMILY_LIFETIME_MS: Final = 30 * 24 * 3_600 * 1_000
"""From signing in, however often it is refreshed."""
TOKEN_FAMILY_COUNT_MAX: Final = 1_000
"""Programs signed in for people, of all users together; the one unused for longest ends when a new one would exceed it."""
TOKEN_FAMILY_PER_USER_COUNT_MAX: Final = 50
REFRESH_TOKEN_KEPT_COUNT_MAX: Final = 750
"""Used refresh tokens kept per family, so that one that comes again is noticed: 30 days of one an hour are 720. A family's are
then 150 KiB at most."""
REVOKED_TOKEN_PER_FAMILY_COUNT_MAX: Final = 1_000
"""Access tokens ended one by one within a sign-in, 100 bytes each and read with it; one more ends the sign-in. 30 days of one an
hour are 720."""
API_TOKEN_LIFETIME_MS_MAX: Final = 366 * 24 * 3_600 * 1_000
API_TOKEN_PER_USER_COUNT_MAX: Final = 20
"""Valid ones."""
API_TOKEN_KEPT_COUNT_MAX: Final = 50
"""Ended ones per user that lists still show; the oldest go first, the audit keeps them all."""
API_TOKEN_NAME_LENGTH_MAX: Final = 64
API_TOKEN_TOUCH_MS: Final = 60 * 1_000
"""A token's last use is written at most this often."""
TOUCH_PAUSE_MS: Final = 10_000
"""After a last use that could not be written: for so long nobody tries, so that requests don't wait for a locked catalog."""
TOTP_STEP_MS: Final = 30_000
TOTP_STEP_DRIFT_MAX: Final = 1
"""Steps that a phone's clock may be off, either way: a code holds for 90 s, and three in a million guesses hit."""
TOTP_ENROLMENT_MS: Final = 15 * 60 * 1_000
"""From showing a secret to the first code that it made."""
LOCKOUT_ACCOUNT_FREE_COUNT: Final = 5
"""Failures of an account before it waits, for addresses that never signed in to it."""
LOCKOUT_ADDRESS_FREE_COUNT: Final = 20
"""Failures of an address before it waits: an office of people behind one address mistypes too."""
LOCKOUT_WAIT_FIRST_MS: Final = 30_000
LOCKOUT_WAIT_MS_MAX: Final = 15 * 60 * 1_000
"""Waits double from 30 s to 15 min: 96 guesses a day then, 35,000 in a year, against 12 characters that nobody could guess."""
LOCKOUT_FORGET_MS: Final = 24 * 3_600 * 1_000
"""Without a failure for so long, the count begins anew."""
LOCKOUT_COUNT_MAX: Final = 10_000
"""Accounts and addresses remembered, 150 bytes each; the one that failed longest ago is forgotten."""
SIGN_IN_ADDRESS_PER_USER_COUNT_MAX: Final = 20
"""Addresses somebody signed in from; the oldest is forgotten."""
REFUSAL_FOLD_MS: Final = 10 * 60 * 1_000
"""Refusals of one kind from one address become one entry of the audit, and one more with their number after so long."""
REFUSAL_FOLD_COUNT_MAX: Final = 256
"""Kinds of refusals folded at once; beyond it they are counted together. 256 entries of 1 KiB each ten minutes are 37 MB a day
at the very worst, by somebody with hundreds of addresses."""
SIGN_IN_BURST_COUNT_MAX: Final = 10
"""Attempts from one address before it has to wait."""
SIGN_IN_REFILL_MS: Final = 15_000
"""One more attempt per address."""
SIGN_IN_TOTAL_BURST_COUNT_MAX: Final = 60
SIGN_IN_TOTAL_REFILL_MS: Final = 1_000
SIGN_IN_ADDRESS_COUNT_MAX: Final = 4_096
"""Addresses remembered (about 200 bytes each); the one unused for longest is forgotten."""
RATE_LIMIT_SUBJECT_COUNT_MAX: Final = 4_096
"""Users, tokens and addresses remembered, of each kind and for each kind of request: 300 bytes each, 11 MB at the very most."""
RATE_LIMIT_STRANGER_RATIO: Final = 0.2
"""Of the total that users have, for all who are not signed in together: 1,200 reads a minute, which is 20 sign-in pages a second."""
RATE_LIMIT_RESERVE_RATIO: Final = 0.2
"""Of the total, for those who have used less than half of their own: 1,200 reads when ten users take all they may."""
RATE_LIMIT_PAUSE_MS: Final = 250
"""Before a refusal is answered: a connection that asks without a pause gets four a second, instead of some hundred."""
RATE_LIMIT_PAUSED_COUNT_MAX: Final = 256
"""Refusals that wait so; beyond it they are answered at once, since each is a task of some KiB."""
STREAM_OPENS_PER_MIN_MAX: Final = 120
"""Of a subject: each page that is looked at opens one, and a browser on a bad link one every few seconds."""
STREAM_RETRY_AFTER_S: Final = 10
DEVICE_PORT_REQUESTS_PER_ADDRESS_MAX: Final = 120
"""A minute: a workshop's installer enrols devices behind one address, each in four requests."""
DEVICE_PORT_REQUESTS_PER_DEVICE_MAX: Final = 12
"""A minute: enrolling is four requests, once in 60 days."""
DEVICE_PORT_REQUESTS_TOTAL_MAX: Final = 2_400
"""A minute: 40 a second, each a signature of 0.1 ms and a write of 4 ms; 2,000 devices enrol in four minutes."""
DEVICE_PORT_ADDRESS_COUNT_MAX: Final = 4_096
REQUEST_BODY_BYTES_MAX: Final = 1 * MIB
ETAG_HEADER_BYTES_MAX: Final = 4 * KIB
"""Of If-Match or If-None-Match: some 80 tags."""
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
"""A UUID has 36 characters."""
IDEMPOTENT_ANSWER_LIFETIME_MS: Final = 24 * 3_600 * 1_000
IDEMPOTENT_ANSWER_COUNT_MAX: Final = 10_000
"""Of all askers together; the oldest go first. 10,000 usual answers of 1 KiB are 10 MiB."""
IDEMPOTENT_ANSWER_BYTES_MAX: Final = 256 * KIB
"""Of one answer, compressed and sealed: a report on 10,000 rows has about 100 KiB."""
IDEMPOTENT_ANSWER_TOTAL_BYTES_MAX: Final = 64 * MIB
"""Of them all; the oldest go first."""
PAGE_ITEM_COUNT_DEFAULT: Final = 100
PAGE_ITEM_COUNT_MAX: Final = 1_000
QUERY_METRIC_COUNT_MAX: Final = 20
QUERY_POINT_COUNT_DEFAULT: Final = 10_000
QUERY_POINT_COUNT_MAX: Final = 100_000
"""Per request: 100,000 points of JSON are about 3 MB."""
QUERY_RANGE_MS_MAX: Final = 731 * 24 * 3_600 * 1_000
"""Two years and a leap day: what the archive holds."""
QUERY_DEVICE_COUNT_MAX: Final = 100
"""Of one question, those that a wildcard finds counted."""
QUERY_SERIES_COUNT_MAX: Final = 200
"""Of one question: 500 points each of the 100,000 that an answer holds."""
QUERY_NAME_COUNT_MAX: Final = 100
"""Names of devices in one query string: 100 of 128 bytes are 13 KiB of the 64 that a request line may have."""
QUERY_WILDCARD_COUNT_MAX: Final = 10
"""Of them with wildcards: each is compared with all ids, 10,000 in 5 ms."""
TOP_COUNT_DEFAULT: Final = 10
TOP_COUNT_MAX: Final = 100
EXPORT_DEVICE_COUNT_MAX: Final = 10_000
"""As many as a node serves; an export goes through them one by one."""
TELEMETRY_EXPORT_COUNT_MAX: Final = 2
"""Exports at once. Each holds one batch of rows and a thread; two leave a core to what comes in."""
EXPORT_PIECE_BYTES: Final = 64 * KIB
"""Of a file that is sent."""
EXPORT_SEND_TIMEOUT_MS: Final = 30_000
"""For whoever takes it to take one piece: 2 KiB/s. Who is slower would keep a place from others for ever."""
EXPORT_PARQUET_ROW_COUNT_MAX: Final = 20_000_000
"""Sorted and written before the first byte is sent. Measured: 10 million random numbers took 6 s and 76 MB. CSV and JSON have no bound."""
EXPORT_PARQUET_MEMORY_MIB: Final = 128
"""For sorting; what is beyond goes to the store's temporary directory. The rest of store.memory_limit_mib is left to what comes in."""
EXPORT_PARQUET_TIMEOUT_MS: Final = 120_000
"""To write it: ten times what it takes on a quiet box."""
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
HEAD_START_MS: Final = 3_000
"""What the broker has of the processors for itself before the node's start, which takes three times as much of them; less once it serves."""
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
STREAM_SESSION_CHECK_MS: Final = 1_000
"""How long a page stays live after signing out elsewhere, and a beat of the hub: 64 look-ups a second, in memory."""
PAGE_ROW_COUNT_DEFAULT: Final = 50
PAGE_ROW_COUNT_MAX: Final = 200
PAGE_BULK_COUNT_MAX: Final = PAGE_ROW_COUNT_MAX
"""Devices that can be ticked on a page; the API takes DEVICE_BULK_COUNT_MAX."""
PAGE_IMPORT_PROBLEM_COUNT_MAX: Final = 200
"""Rows of a list that the page shows; the file that it offers has all that the report has."""
PAGE_TAG_COUNT_MAX: Final = 500
PAGE_WAITING_COUNT_MAX: Final = 20
"""Devices waiting for adoption shown at once; the heading counts all."""
PAGE_CERTIFICATE_COUNT_MAX: Final = 12
"""Of a device, the newest: two years of rotation; the API lists all."""
PAGE_FORM_FIELD_COUNT_MAX: Final = 32
QR_BYTES_MAX: Final = 512
"""A code of that many bytes (version 18) and its quiet zone are 97 × 97 modules: at 3 px each it fits a phone's 390 px."""
PAGE_TEXT_LENGTH_MAX: Final = 200
"""Characters of a text value or a dead letter's payload on a page; the API gives all of it."""
CHART_POINT_COUNT: Final = 480
"""24 h in buckets of 3 min: about two device pixels each on a desktop."""
CHART_METRIC_COUNT_MAX: Final = 6
CHART_RAW_POINT_COUNT_MAX: Final = 2_500
"""Of a line that shows every reading: more than a screen has pixels, and eight lines of them are 0.6 MB of JSON."""
CHART_DEVICE_COUNT_MAX: Final = 8
"""Lines of one chart: as many as have a colour and a dash of their own."""
PICKER_DEVICE_COUNT_MAX: Final = 20
"""Devices that a search offers: as many as fit beside the chosen ones; a longer word finds fewer."""
PICKER_METRIC_COUNT_MAX: Final = 60
TELEMETRY_TABLE_ROW_COUNT_MAX: Final = 200
"""Rows of readings on a page, each with up to eight devices; the interval is chosen so that they hold the whole range."""
BROKER_ROWS_INTERVAL_MS: Final = 2_000
"""A page that shows clients asks the broker for its 50 rows this often: 64 pages are 32 questions a second of 0.1 ms."""
OVERVIEW_CACHE_MS: Final = 1_000
"""Counting 10,000 devices by state takes about 20 ms in a thread; once a second whoever asks."""
OVERVIEW_SCOPE_COUNT_MAX: Final = HUB_WATCHER_COUNT_MAX
"""Scopes whose counts are kept, a few hundred bytes each: no more can look at the same time."""
REQUEST_BODY_TIMEOUT_MS: Final = 30_000
"""For a whole request body: 1 MiB over a link of 300 kbit/s."""
REQUEST_HEADER_TRACE_BYTES_MAX: Final = 256
READINESS_LAG_MS_MAX: Final = 60_000
"""A pipeline further behind is not ready: pages would show a minute-old world as the present one."""
REQUEST_DISCARD_BYTES_MAX: Final = 8 * MIB
"""Of a body that was refused, read and thrown away so that the client gets to see the answer; never kept."""
REQUEST_DISCARD_TIMEOUT_MS: Final = 5_000

# --- The site's certificate authority (appliance/identity) ------------------------------------------------
RECOVERY_KIT_BYTES_MAX: Final = 8 * KIB
"""The printed text has 1 KiB; somebody may have added notes."""
CSR_BYTES_MAX: Final = 8 * KIB
"""A request with an RSA key of 4096 bits has 1.7 KiB as PEM; what devices put into attributes is ignored."""
CSR_RSA_BITS_MIN: Final = 2048
CSR_RSA_BITS_MAX: Final = 4096
"""Checking a signature of the largest key takes 0.1 ms; it grows with the square."""
CERTIFICATE_COUNT_PER_DEVICE_MAX: Final = 2
"""Valid at once: the one in use and the next."""
CERTIFICATE_COUNT_PER_DEVICE_AND_DAY_MAX: Final = 10
"""A device that asks in a circle makes 900 rows, and entries of the revocation list, in the 90 days of a certificate."""
CERTIFICATE_KEEP_MS: Final = 400 * 24 * 3_600 * 1_000
"""After their end, for whoever looks back: at 6 certificates a year 13 of a device at 250 bytes, 33 MB for 10,000 devices."""
CERTIFICATE_BACKDATE_MS: Final = 300_000
"""A device whose clock is five minutes behind still takes its new certificate."""
CERTIFICATE_ROTATE_SHARE: Final = 3
"""A device may have the next certificate in the last third of the life of the one it shows: 30 days of 90."""
CERTIFICATE_REMIND_SHARE: Final = 6
"""People are reminded in the last sixth, when the device should have had its next one for a while."""
CRL_LIFE_MS: Final = 7 * 24 * 3_600 * 1_000
"""Until a revocation list's next update: a reader that gets it once a week is never without."""
CRL_RENEW_MS: Final = 24 * 3_600 * 1_000
"""A new list is made at every revocation, and daily: six days of a stopped box are survived."""

# --- The devices' HTTPS port (appliance/device_port) -------------------------------------------------------
DEVICE_PORT_CONNECTION_COUNT_MAX: Final = 256
"""At 60 KiB of TLS and 80 KiB of request and body: 35 MiB. Rates of requests stand above (DEVICE_PORT_REQUESTS_…)."""
DEVICE_PORT_CONNECTION_PER_ADDRESS_COUNT_MAX: Final = 64
"""A gateway enrols its devices in parallel; one address leaves three quarters to others."""
DEVICE_PORT_HANDSHAKE_TIMEOUT_MS: Final = 10_000
"""A small device takes some seconds for its signature."""
DEVICE_PORT_HEADER_TIMEOUT_MS: Final = 10_000
"""From a connection's beginning, or the last answer, to the end of a request's header."""
DEVICE_PORT_HEADER_BYTES_MAX: Final = 16 * KIB
DEVICE_PORT_BODY_BYTES_MAX: Final = 64 * KIB
DEVICE_PORT_BODY_TIMEOUT_MS: Final = 15_000
"""A request of 1 KiB over the slowest modem takes a second."""
DEVICE_PORT_ANSWER_TIMEOUT_MS: Final = 15_000
"""For a handler; the catalog's own limits end it within 7 s."""
DEVICE_PORT_SEND_TIMEOUT_MS: Final = 20_000
DEVICE_PORT_REQUEST_COUNT_MAX: Final = 100
"""Of a connection, which is closed then."""
DEVICE_PORT_DISCARD_BYTES_MAX: Final = 1 * MIB
DEVICE_PORT_DISCARD_TIMEOUT_MS: Final = 2_000
"""Of what a refused request still sends, so that the peer gets to see why."""
DEVICE_PORT_WAIT_S: Final = 60
"""How long a device that waits for adoption is told to wait before it asks again."""
