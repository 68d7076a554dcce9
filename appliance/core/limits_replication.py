"""Limits of replication, as limits.py has those of everything else. One section per part."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import FRAME_BYTES_HARD_MAX, KIB, LEAF_BYTES, MIB, PAGE_BYTES, SEGMENT_BYTES_MAX

# --- The roster (appliance/management/fleet.py, storage/fleet) ------------------------------------------------
ROSTER_NODE_COUNT_MAX: Final = 1_024
"""Nodes of a fleet, decommissioned ones with them: about 1.5 KiB each, so 1.5 MiB at most in the usual case."""
ROSTER_BYTES_MAX: Final = 8 * MIB
"""1,024 entries of the greatest size that one may have would be 6 MiB."""
ROSTER_CERTIFICATE_BYTES_MAX: Final = 2 * KIB
"""A link's certificate has about 600 bytes."""
ROSTER_CARD_LENGTH_MAX: Final = 2 * KIB
ROSTER_SIGNATURE_BYTES_MAX: Final = 256
"""An ECDSA signature over P-256 has 72 bytes at most."""
ROSTER_DECOMMISSION_LENGTH_MAX: Final = KIB
NODE_NAME_LENGTH_MAX: Final = 63
REGION_LENGTH_MAX: Final = 63
NODE_ADDRESS_COUNT_MAX: Final = 8
NODE_ADDRESS_LENGTH_MAX: Final = 260
"""A host name has 253 characters (RFC 1035 §2.3.4), the port six with its colon."""
DECOMMISSION_REASON_LENGTH_MAX: Final = 200
GRANT_REASON_LENGTH_MAX: Final = 200
GRANT_COUNT_MAX: Final = 16
"""Grants of epochs that are remembered after they were used, some 600 bytes each."""
GRANT_LIFE_MS: Final = 86_400_000
"""A grant that nobody used within a day is for something that has passed."""
ROSTER_LOOK_INTERVAL_S: Final = 2
"""How often a process looks whether the file is another one: a stat of the kernel's cache."""

# --- Messages between nodes (replication/messages.py) ---------------------------------------------------------
WIRE_MESSAGE_BYTES_MAX: Final = 64 * KIB
"""A digest of many streams, or a part on a link that carries it within a second (replication/pace.py)."""
PART_BYTES_MAX: Final = 60 * KIB
"""Of a chunk or a blob in one message; the rest is room for what says where it belongs."""
PART_BYTES_MIN: Final = 4 * KIB
"""On a link of 50 kbit/s it is 0.7 s, which a heartbeat waits for what has begun to be sent; 0.2 KiB of it say where it belongs."""
DIGEST_ENTRY_COUNT_MAX: Final = 256
"""Of streams in one message, at most 200 bytes each: 50 KiB. What is more is another message."""
PACKED_CHUNK_BYTES_MAX: Final = FRAME_BYTES_HARD_MAX + 2 * MIB
"""A chunk as it is sent: one frame of a record of 16 MiB, a footer of 1 MiB, a header page, and what packing may add."""
UNPACKED_CHUNK_BYTES_MAX: Final = PACKED_CHUNK_BYTES_MAX
"""Before it was packed; whoever unpacks looks at what is announced first."""
PULL_CREDIT_BYTES_MAX: Final = 1 * MIB
"""What one request may ask for: two frames of the usual largest size."""
BLOB_ASK_COUNT_MAX: Final = 256
"""Digests in one message, 41 bytes each: 11 KiB."""
BLOB_BYTES_MAX: Final = 2**53
"""Of one blob, as far as messages go; what a holder takes is for its room to say."""

# --- A link's queue (replication/scheduling.py) ---------------------------------------------------------------
LINK_QUEUE_BYTES_MAX: Final = 8 * MIB
"""Of each priority that waits for one link: more than the machines have under way to one peer."""

# --- Who lacks what (replication/gossip) ----------------------------------------------------------------------
PULL_UNDER_WAY_BYTES_MAX: Final = 4 * MIB
"""Asked of one peer, and not appended yet."""
PULLS_UNDER_WAY_BYTES_MAX: Final = 16 * MIB
"""Asked of all peers together. A frame of 17 MiB is asked for alone."""
assert PACKED_CHUNK_BYTES_MAX > 16 * MIB + PAGE_BYTES
PULL_COUNT_MAX: Final = 64
"""Requests under way to one peer."""
SERVED_PULL_COUNT_MAX: Final = 64
"""Requests of one peer that wait; beyond it it is told to ask later."""
SERVED_UNSENT_BYTES_MAX: Final = 1 * MIB
"""Of answers that wait for one link before the next is read."""
UNSENT_BYTES_MAX: Final = 32 * MIB
"""Of all links together."""
PUSH_WINDOW_BYTES_MIN: Final = 64 * KIB
"""Pushed and not acknowledged: a chunk of so much packs well; on the slowest link it takes 10 s, in parts between which others pass."""
PUSH_WINDOW_BYTES_MAX: Final = 4 * MIB
"""200 MB/s at 20 ms; more waits in buffers only."""
PUSHED_ASSEMBLY_BYTES_MAX: Final = 4 * MIB
"""Of one peer's pushed chunks of which parts are missing; a single larger one is let in alone."""
WAITING_CHUNK_BYTES_MAX: Final = PUSH_WINDOW_BYTES_MAX + 1 * MIB
"""Of one stream, whole chunks that wait to be appended: all that a peer has under way, where the disk is slower than the link, and a
frame that is larger than was asked for. A single larger one is let in alone."""
HELD_STREAM_COUNT_MAX: Final = 4_096
"""Two streams of 1,024 nodes, and branches; heads of more than these are not remembered of a peer either."""
STATEMENT_COUNT_MAX: Final = 16_384
"""Who has what, passed on for others: 0.3 KiB each. The one that changed least recently is forgotten."""
FORK_COUNT_MAX: Final = 64
"""Forks of which the evidence is kept and passed on; each one is an accident that somebody has to look at."""
BRANCH_COUNT_MAX: Final = 8
"""Histories of one stream that are copied on a peer's word alone; each is a copy of some segments at least."""
READ_COUNT_MAX: Final = 64
"""Reads of the disk that machines have under way."""

# --- Blobs (replication/blobs.py) -----------------------------------------------------------------------------
BLOB_FETCH_COUNT_MAX: Final = 2
"""Fetched at a time, a piece of 1 MiB each."""
BLOB_SERVED_COUNT_MAX: Final = 8
"""Requests of one peer that wait; beyond it it is told to ask later."""
BLOB_WANTED_COUNT_MAX: Final = 4_096
"""Wanted at a time, 0.2 KiB each; the rest when these are here."""
ARCHIVED_DAYS_WRITE_COUNT_MAX: Final = 256
"""Archived days announced in one transaction of the catalog: 0.5 KiB each with what the audit says of it."""
DAY_HOLDER_COUNT: Final = 2
"""Boxes of a site that keep copies of the archived days of another one: one may be lost, and one be away."""

# --- Membership (replication/membership) -------------------------------------------------------------------------
MEMBER_COUNT_MAX: Final = ROSTER_NODE_COUNT_MAX
"""Nodes of a fleet that are watched; a row is about 500 bytes: 0.5 MB."""
INCARNATION_MAX: Final = 1 << 40
INCARNATION_STEP_MAX: Final = 1 << 20
"""A node raises its incarnation once for a suspicion. A claim that is a million ahead of what is known is a lie, and
would leave its subject no higher one to answer with."""
CLAIMS_CARRIED_MAX: Final = 8
"""Beside a probe or its answer: 8 of 75 bytes, 600 bytes, 0.1 s of a link of 50 kbit/s."""
ANSWER_WAIT_MS_MAX: Final = 20_000
"""For the answer to a probe, at most, however slow a link is: 4 s of a link that is full, 2 s of latency each way, and as much again."""
CLAIMS_TOLD_MAX: Final = 32
"""In a message of rumours or a page of the table: 2.4 KB, 0.4 s of a link of 50 kbit/s."""
TABLE_BUCKET_COUNT: Final = 16
TABLE_DIGEST_BYTES: Final = 4 * TABLE_BUCKET_COUNT
RELAYED_PROBES_MAX: Final = 256
"""Probes under way that others asked for; more are answered with "not tried". 3 relays for each of 85 askers."""
SYNC_PEERS_MAX: Final = 64
"""Peers to which pages of the table wait to be sent; further ones are served when a digest is exchanged next."""

# --- Certificates of links and invitations (appliance/identity/fleet_*.py) ------------------------------------
LINK_CERTIFICATE_DAYS: Final = 90
LINK_RENEW_SHARE: Final = 3
"""A link's certificate is renewed in the last third of its life: 30 days are left in which it may fail."""
LINK_CLOCK_AHEAD_MS_MAX: Final = 86_400_000
"""A certificate is dated back so far, so that a box whose clock is a day behind takes it as well."""
INVITATION_COUNT_MAX: Final = 64
"""That wait: each is a small file, and one more than anybody keeps in mind."""
INVITATION_SECRET_BYTES: Final = 24
"""192 random bits: nobody guesses it in the day that it is good for."""
INVITATION_LIFE_MS: Final = 86_400_000
INVITATION_TOKEN_LENGTH_MAX: Final = 4 * KIB
"""Eight addresses of the greatest length, secret and fingerprint are 2.2 KiB, in base64 three."""
FLEET_ACT_COUNT_MAX: Final = 256
"""Joins that the audit of a stopped node waits for: four times as many as invitations may wait."""
FLEET_ACT_DETAIL_LENGTH_MAX: Final = 400
SITE_SECRETS_BYTES_MAX: Final = 32 * KIB
"""What a node of the same site is given: keys and three certificates, about 4 KiB."""

# --- Links (replication/link) ---------------------------------------------------------------------------------
LINK_COUNT_MAX: Final = 256
"""At the same time. With full queues each could hold some MB; a fleet that is larger has relays."""
LINK_WAITING_COUNT_MAX: Final = 64
"""Connections of those who have not said yet who they are: about 100 KiB each while TLS shakes hands. With one more the oldest goes."""
LINK_WAITING_PER_ADDRESS_COUNT_MAX: Final = 8
LINK_HANDSHAKE_S: Final = 15
"""For TLS, the request and the first message together; a link of 50 kbit/s needs three."""
LINK_LISTEN_RETRY_S: Final = 30
"""A port that another program has is tried again; this box connects to others meanwhile."""
LINK_OWN_LOOK_S: Final = 60
"""How often a node looks whether its addresses are others: a lease ended, a cable was put in."""
LINK_PING_S: Final = 5
LINK_SILENCE_S: Final = 30
"""A peer that says nothing for so long is gone: six pings, and three times as long as the largest digest takes at 50 kbit/s."""
LINK_SEND_S: Final = 60
"""A peer that doesn't take one message in so long is given up."""
LINK_PROBE_S: Final = 3
"""How long a link has to answer when somebody else comes as the same node."""
LINK_CLOSE_S: Final = 2
LINK_RECEIVE_BYTES: Final = 64 * KIB
LINK_UNSENT_BYTES: Final = 32 * KIB
"""What the kernel holds of a link before it takes more: a heartbeat waits behind that and one message, not behind megabytes."""
LINK_UNSENT_BYTES_MIN: Final = 4 * KIB
"""The same of a link that is slow, or of which nothing is known yet: half a second of what it carries, or this."""
LINK_HELLO_BYTES_MAX: Final = 16 * KIB
"""Of a message of somebody who was not admitted yet."""
LINK_REASON_LENGTH_MAX: Final = 60
LINK_MESSAGE_LENGTH_MAX: Final = 400
LINK_DIAL_FIRST_MS: Final = 1_000
LINK_DIAL_MS_MAX: Final = 60_000
LINK_SETTLED_MS: Final = 60_000
"""A link that lived so long was a good one: the next attempt comes at once."""
LINK_ROSTER_BURST: Final = 4 * ROSTER_NODE_COUNT_MAX
LINK_ROSTER_PER_S: Final = 5
"""What a peer may have us do about the roster: each entry that is verified costs 1, what is answered with a roster or a signature
LINK_ROSTER_ASK_COST. A new link needs some; one that goes on so is ended."""
LINK_ROSTER_ASK_COST: Final = 100
ROSTER_ENTRIES_PER_MESSAGE_MAX: Final = 32
ROSTER_MESSAGE_BYTES: Final = 40 * KIB
"""Entries of one message, before one more is added: with the largest one it is within a message's size."""

# --- The replicator's control socket (replication/control.py) -------------------------------------------------
CONTROL_ASKING_COUNT_MAX: Final = 16
CONTROL_QUESTION_BYTES_MAX: Final = 64 * KIB
CONTROL_ANSWER_BYTES_MAX: Final = 4 * MIB
"""The state of 1,024 peers is 1 MiB."""
CONTROL_TIMEOUT_S: Final = 10
FLEET_LOOK_INTERVAL_S: Final = 2
"""How often the supervisor looks whether this box belongs to a fleet: one stat."""

# --- Guests on the replicator's links (replication/guests.py, guest_socket.py) -----------------------------------
GUEST_COUNT_MAX: Final = 4
"""A drill, and whoever fetches what is missing."""
GUEST_WAITING_BYTES_MAX: Final = 3 * PACKED_CHUNK_BYTES_MAX
"""For one guest: it has two chunks asked for at a time, and heads come beside them. A guest that takes less is cut off."""
GUEST_FRAME_BYTES_MAX: Final = WIRE_MESSAGE_BYTES_MAX + KIB
"""A message with who it is from."""

# --- Drills (appliance/run/drilling.py, ui/drill_desk.py) ---------------------------------------------------------
DRILL_KEPT_COUNT: Final = 20
"""Reports of drills that are kept: 20 of 20 KiB at most."""
DRILL_WORDS_COUNT_MAX: Final = 50
"""Differences, and things lacking, that a report names; it counts all."""
DRILL_WORD_LENGTH_MAX: Final = 300
DRILL_SPARE_BYTES: Final = 64 * MIB
"""Left free beside what a drill copies, below the level at which the log begins to give way."""
DRILL_LINE_BYTES_MAX: Final = MIB
"""What a drill's process says at a time; a report with 50 differences is 20 KiB."""
DRILL_LOOK_INTERVAL_S: Final = 60
DRILL_RETRY_MS: Final = 86_400_000
"""After a scheduled drill that failed; it is not tried for ever at once, and not left for a month either."""

# --- Rotten leaves (replication/mender.py) ------------------------------------------------------------------------
LEAF_NUMBER_MAX: Final = SEGMENT_BYTES_MAX // LEAF_BYTES
"""A segment of the greatest size has 1,024."""

# --- The tier (replication/tier) ------------------------------------------------------------------------------
TIER_PIECE_BYTES_MAX: Final = 8 * MIB
"""Of frames in one piece; a single frame that is larger is a piece of its own."""
TIER_PIECE_UNPACKED_BYTES_MAX: Final = PACKED_CHUNK_BYTES_MAX + 1 * MIB
"""What opening one may take of memory: a frame of a record of 16 MiB with its header page, its footer and that of the segment before."""
assert TIER_PIECE_BYTES_MAX < TIER_PIECE_UNPACKED_BYTES_MAX
TIER_REGION_COUNT_MAX: Final = 4
"""Regions of one box: each costs a connection, and the same bytes once more."""
TIER_WALKED_BYTES_MAX: Final = 4 * MIB
"""What is remembered of the audits of one region: about 300 bytes for a stream with two epochs."""

# --- A cloud node's door for sites (replication/tier/gateway.py) ------------------------------------------------
GATEWAY_CALL_BYTES_MAX: Final = PACKED_CHUNK_BYTES_MAX + MIB
"""Of one question or answer: a piece with the largest frame, and what sealing and its name add."""
GATEWAY_CALLS_PER_PEER_MAX: Final = 4 * TIER_REGION_COUNT_MAX
"""Questions of one site's box under way: as many as its shipper has steps."""
GATEWAY_WAITING_BYTES_MAX: Final = 256 * MIB
"""Of all sites' pieces that are not in the engine yet: whoever comes beyond that tries again. It is all that a cloud node holds of them."""
GATEWAY_NAMES_COUNT: Final = 1_000
"""Pieces, or objects, of one answer that lists: 300 KiB."""
GATEWAY_REPORT_S: Final = 5
"""How often a box tells a cloud node how safe it is."""

# --- Engines of the tier (replication/tier/engines) -----------------------------------------------------------
TIER_CREDENTIALS_BYTES_MAX: Final = 16 * KIB
TIER_ADDRESS_LENGTH_MAX: Final = 1_000
TIER_CALL_S: Final = 30
"""For one call, however often it is tried; three times what a large one takes by the measured rate, where that is longer."""
TIER_TRIES_MAX: Final = 3
TIER_PIECE_S: Final = 10
"""Pieces are made so large that the engine takes one in so long."""
TIER_PIECE_BYTES_MIN: Final = 256 * KIB
"""Of frames in one piece on a slow link: about 80 KiB packed, 13 s at 50 kbit/s."""
TIER_PACE_BYTES_PER_S_MIN: Final = 4 * KIB
"""No engine is thought to be slower, so that what is gone is known to be gone: 24 s for 32 KiB."""
TIER_LISTED_COUNT: Final = 1_000
"""Of one request that lists; S3 gives no more."""
TIER_HEADS_AT_ONCE: Final = 16
"""Heads of pieces that are asked for at the same time."""
TIER_CONNECT_S: Final = 10
TIER_LASTS_COUNT_MAX: Final = 4_096
"""Epochs of which an engine remembers the last piece: 1 MiB."""
TIER_READINGS_PER_BATCH_MAX: Final = 1_000_000
"""Rows of one transaction: 42 MB of COPY, some seconds."""
TIER_SERIES_REMEMBERED_MAX: Final = 200_000
"""Ids of series that an uploader knows without asking: 40 MB. With more the database is asked again."""
TIER_READINGS_PACE_S: Final = 10
"""Between two looks for new readings to be uploaded as rows; each batch carries what its reader goes on with, about 50 bytes a device."""
TIER_READINGS_MESSAGES_MAX: Final = 5_000
"""Of one such batch, which is decoded beside everything else that the node does: 50 ms of it at a time."""
TIER_READINGS_BEHIND_MS: Final = 30_000
"""While the region lacks own pieces that are older than this, rows wait for them."""
TIER_READINGS_STATE_BYTES_MAX: Final = 64 * MIB
"""What the reader goes on with, unpacked: 100 bytes a boot of a device that is remembered, 200 a device."""
TIER_SESSIONS_MAX: Final = 4
"""Connections to a PostgreSQL server, and threads for them: a put, a restore, an audit and one more at the same time."""
TIER_KEY_GENERATION_MAX: Final = 1_000_000
"""Of the tier's key: a new one each day for 2,700 years."""
