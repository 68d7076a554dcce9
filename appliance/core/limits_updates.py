"""Limits of twins, commands, artifacts, rollouts and executions, as limits.py has those of everything else."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import KIB, MIB

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000

EXECUTION_TRANSITION_COUNT_MAX: Final = 28
"""In one attempt: the way there and back has 14; twice that is a circle."""

# --- Artifacts (docs/ARTIFACTS.md) ------------------------------------------------------------------------
ARTIFACT_IMAGE_READ_COUNT_MAX: Final = 1024
"""Reads that a recogniser may ask for: 256 members of a .swu with a header and a name each are 513."""
ARTIFACT_IMAGE_READ_BYTES_MAX: Final = 2 * MIB
"""And all they give: 256 members with headers of 110 bytes and names of 4 KiB, one description, one signature."""
ARTIFACT_IMAGE_TEXT_LENGTH_MAX: Final = 64
"""Characters of a version, a name of hardware, a fact."""
ARTIFACT_MEMBER_COUNT_MAX: Final = 256
ARTIFACT_MEMBER_NAME_BYTES_MAX: Final = 4 * KIB
ARTIFACT_TLV_COUNT_MAX: Final = 128
"""MCUboot's own images have up to a dozen."""
ARTIFACT_DESCRIPTION_BYTES_MAX: Final = 128 * KIB
"""A .swu's sw-description, a Mender manifest or header as far as it is looked into: some KiB in practice."""
ARTIFACT_DESCRIPTION_DEPTH_MAX: Final = 64
"""Of brackets in a sw-description; SWUpdate's own have some ten. Each of 128 KiB / 2 values looks at all above it: 4 million steps."""
ARTIFACT_SIGNATURE_BYTES_MAX: Final = 64 * KIB
"""A .raucb's signature; RAUC's own bound."""
ARTIFACT_LZMA_BYTES_MAX: Final = 72 * MIB
"""Memory for unpacking a Mender header: mender-artifact writes with a dictionary of 64 MiB. One image is looked at at a time."""
ARTIFACT_COMPAT_COUNT_MAX: Final = 32
"""Kinds of hardware of one artifact."""
ARTIFACT_NAME_LENGTH_MAX: Final = 64
ARTIFACT_EPOCH_MAX: Final = 2**32 - 1
"""MCUboot's and ESP-IDF's security counters have 32 bits."""
ARTIFACT_SIGNATURE_COUNT_MAX: Final = 32
ARTIFACT_KEY_COUNT_MAX: Final = 16
"""Keys of a site; twice as many signatures fit, so that those of retired keys may stay."""
ARTIFACT_KEY_NAME_LENGTH_MAX: Final = 64
MANIFEST_BYTES_MAX: Final = 16 * KIB
"""32 names of hardware of 64 characters and all else are below 4 KiB, a set of 16 keys below 3 KiB."""
ARTIFACT_OPEN_FILE_COUNT_MAX: Final = 32
"""Descriptors of images that are kept open while nobody reads: a site rolls out a few at a time."""
ARTIFACT_UPLOAD_COUNT_MAX: Final = 32
UPLOAD_SYNC_BYTES: Final = 4 * MIB
"""What a start of the node may cost an upload at most: a few seconds on the links that are slow."""
UPLOAD_IDLE_MS_MAX: Final = DAY_MS
"""An upload that nobody went on with for so long is removed."""
ARTIFACT_COUNT_MAX: Final = 1000
"""One page lists them all: 1,000 rows of 1 KiB are read in a few ms. 20 products with a release a week make a year."""
ARTIFACT_KEY_FILE_BYTES_MAX: Final = 4 * KIB
"""An Ed25519 key in PEM has 119 bytes, with a passphrase some 300."""
ARTIFACT_APPEND_BYTES: Final = 256 * KIB
"""What of an upload is gathered for one write: four uploads at once hold 1 MiB."""
ARTIFACT_UPKEEP_INTERVAL_S: Final = 900
ARTIFACT_CHECK_INTERVAL_S: Final = 600
"""Between two images that are read through: 40 of them three times a day, 1,000 in a week."""
ARTIFACT_NOTE_LENGTH_MAX: Final = 1000
ARTIFACT_FILENAME_LENGTH_MAX: Final = 255
ARTIFACT_BODY_TIMEOUT_MS: Final = 3_600_000
"""For one piece of an upload, or the whole; what is not there by then is sent with the next."""
ARTIFACT_BODY_BYTES_MAX: Final = 16 * 1024 * MIB + MIB
"""The largest artifact_max_mib that may be configured, and a form's other fields."""
FORM_TEXT_BYTES_MAX: Final = 64 * KIB
"""Fields and headers of a form with an image, beside the image."""
ARTIFACT_CLI_TIMEOUT_S: Final = 600.0
"""For the node's answer to a whole image that it reads through: 16 GiB from a disk of 30 MB/s."""
ARTIFACT_CLI_PATIENCE_S: Final = 120.0
"""How long the command line waits for a node that is away in the middle of an upload, without a byte more."""
MANIFEST_LIFE_MS_DEFAULT: Final = 365 * DAY_MS

# --- rollouts
ROLLOUT_NAME_LENGTH_MAX: Final = 100
ROLLOUT_REASON_LENGTH_MAX: Final = 500
ROLLOUT_DEVICE_COUNT_MAX: Final = 10_000
"""Devices of one rollout: as many as a box is made for. Their executions are made in one transaction: 10,000 rows, 1 s."""
ROLLOUT_LIVE_COUNT_MAX: Final = 20
"""Rollouts that are under way at the same time: each is looked at after each batch of events."""
ROLLOUT_TARGET_WORD_COUNT_MAX: Final = 1_000
"""Devices, groups, tags, kinds of hardware that a rollout names, each: 1,000 ids of 128 bytes are 128 KiB."""
ROLLOUT_HW_LENGTH_MAX: Final = 64
ROLLOUT_WAVE_COUNT_MAX: Final = 10
ROLLOUT_CANARY_COUNT_MAX: Final = 100
ROLLOUT_CONCURRENCY_MAX: Final = 1_000
ROLLOUT_CONCURRENCY_DEFAULT: Final = 50
ROLLOUT_BANDWIDTH_BYTES_S_MAX: Final = 1_000_000_000
ROLLOUT_START_SPREAD_S_MAX: Final = 86_400
ROLLOUT_SOAK_S_MAX: Final = 30 * 86_400
ROLLOUT_WAVE_DEADLINE_S_MAX: Final = 30 * 86_400
ROLLOUT_DEADLINE_S_MAX: Final = 90 * 86_400
ROLLOUT_MOVE_COUNT_MAX: Final = 500
"""Executions that a rollout moves in one transaction; the rest follow in the next one. A move is three rows: 500 are 100 ms."""
ROLLOUT_SWEEP_INTERVAL_MS: Final = 10_000
"""How often what no event tells of is looked for while a rollout is under way: devices that came or were taken out, windows. 20 ms with 10,000 devices."""
ROLLOUT_LARGE_DEVICE_COUNT: Final = 20
"""A rollout for more devices wants a second person where `firmware.approval` is `large`: a handful on a bench must not wait for one."""
ROLLOUT_ADMISSION_MS_MAX: Final = 60 * MINUTE_MS
"""How long a device that may start, and went away before it did, keeps its place from others. Devices that only ask now and then ask once an hour."""
ROLLOUT_EVENT_COUNT_MAX: Final = 8
"""Moves of one rollout in one look: a wave that is done, soaked and passed at once is three."""
ROLLOUT_ARM_INTERVAL_MS: Final = 60 * MINUTE_MS
"""How often the engine is told of all executions under way: 10,000 of them in 0.5 s."""
