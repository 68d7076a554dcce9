"""Bodies and answers of the endpoints about artifacts, uploads and the keys that sign. Times are UTC ms."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from appliance.core.limits_updates import (
    ARTIFACT_COMPAT_COUNT_MAX,
    ARTIFACT_FILENAME_LENGTH_MAX,
    ARTIFACT_NOTE_LENGTH_MAX,
    MANIFEST_BYTES_MAX,
)
from appliance.management.artifact_image import ArtifactFormat
from appliance.management.artifact_keys import UnsignedPolicy
from appliance.management.manifest import TEXT_END, Epoch, Name, Sha256, Signatures, TimeMs, Version
from ui.api.structs import Answer, Query, Request

Hardware = Annotated[tuple[Version, ...], Meta(max_length=ARTIFACT_COMPAT_COUNT_MAX)]
Note = Annotated[str, Meta(max_length=ARTIFACT_NOTE_LENGTH_MAX)]
Filename = Annotated[
    str, Meta(max_length=ARTIFACT_FILENAME_LENGTH_MAX, pattern=r"^[^\x00-\x1f/\\]*" + TEXT_END)
]
SizeBytes = Annotated[int, Meta(ge=1, le=2**53)]
Document = Annotated[str, Meta(max_length=MANIFEST_BYTES_MAX)]


class UploadCreation(Request, kw_only=True, frozen=True):
    """An image that is to be uploaded. What is left out of `version`, `format`, `hw` and `epoch` the image itself says."""

    name: Name
    size_bytes: SizeBytes
    version: Version | None = None
    filename: Filename = ""
    sha256: Sha256 | None = None
    format: ArtifactFormat | None = None
    hw: Hardware | None = None
    min_version: Version | None = None
    max_version: Version | None = None
    epoch: Epoch | None = None
    note: Note = ""
    is_rollback_image: bool = False


class UploadPiece(Query, kw_only=True, frozen=True):
    """Where the body's first byte belongs."""

    offset: Annotated[int, Meta(ge=0, le=2**53)]


class Upload(Answer, kw_only=True, frozen=True):
    """An upload: the next byte that is wanted is the one at `offset`. It ends a day after somebody went on with it."""

    upload_id: str
    name: str
    version: str
    filename: str
    size_bytes: int
    offset: int
    created_by: str
    created_at_ms: int
    updated_at_ms: int


class Uploads(Answer, kw_only=True, frozen=True):
    """Uploads that are not finished, the oldest first."""

    uploads: tuple[Upload, ...]


class SignatureOf(Answer, kw_only=True, frozen=True):
    """A signature of a manifest: good, bad (of other bytes, or by another key), or by a key that is unknown here."""

    key_id: str
    key_name: str
    state: Literal["good", "bad", "unknown"]


class Refusal(Answer, kw_only=True, frozen=True):
    """Why an artifact may not be rolled out."""

    code: str
    message: str
    hint: str


class UsedBy(Answer, kw_only=True, frozen=True):
    """What uses it and has not ended: rollouts by name, and devices that are brought to it or would go back to it."""

    rollouts: tuple[str, ...]
    device_count: int


class ArtifactAnswer(Answer, kw_only=True, frozen=True):
    """An artifact. `release_counter`, `not_before_ms` and `expires_at_ms` are its manifest's. `refusal` is null where it may be rolled out."""

    artifact_id: str
    name: str
    version: str
    format: ArtifactFormat
    size_bytes: int
    sha256: str
    sha1: str
    filename: str
    hw: tuple[str, ...]
    min_version: str
    max_version: str
    epoch: int
    is_vendor_signed: bool
    has_manifest: bool
    release_counter: int
    not_before_ms: int | None
    expires_at_ms: int | None
    signatures: tuple[SignatureOf, ...]
    good_count: int
    needed_count: int
    refusal: Refusal | None
    is_damaged: bool
    used_by: UsedBy
    note: str
    created_by: str
    created_at_ms: int


class Artifacts(Answer, kw_only=True, frozen=True):
    """All artifacts, the newest first, and their room: `used_bytes` has what uploads are to have."""

    artifacts: tuple[ArtifactAnswer, ...]
    used_bytes: int
    quota_bytes: int
    size_bytes_max: int


class ArtifactEdit(Request, kw_only=True, frozen=True):
    """What to change of an artifact."""

    note: Note | UnsetType = UNSET


class ManifestQuery(Query, kw_only=True, frozen=True):
    """Times for a new manifest; without them it is the one that is there, if there is one."""

    not_before_ms: TimeMs | None = None
    expires_at_ms: TimeMs | None = None


class SignedDocument(Answer, kw_only=True, frozen=True):
    """A document in canonical form, the very text that is signed, with its signatures."""

    document: str
    signatures: Signatures


class SignedWish(Request, kw_only=True, frozen=True):
    """A document with signatures, as `homeport artifact sign` writes it."""

    document: Document
    signatures: Signatures = field(default_factory=list)


class SigningWish(Request, kw_only=True, frozen=True):
    """Sign with this box's own key; with times, a new manifest."""

    not_before_ms: TimeMs | None = None
    expires_at_ms: TimeMs | None = None


class KeyOf(Answer, kw_only=True, frozen=True):
    """A key: `public` is the raw Ed25519 key in base64, `key_id` its SHA-256."""

    key_id: str
    name: str
    public: str
    state: Literal["trusted", "retired"]
    is_on_box: bool


class BoxKey(Answer, kw_only=True, frozen=True):
    """The public half of this box's own key."""

    key_id: str
    name: str
    public: str


class ArtifactKeys(Answer, kw_only=True, frozen=True):
    """Whose signatures count: so many of the trusted keys must have signed. `unsigned` says what may be rolled out without; version 0
    is a box on which nobody has said whom to trust."""

    version: int
    threshold: int
    unsigned: UnsignedPolicy
    keys: tuple[KeyOf, ...]
    box_key: BoxKey | None


class KeySetWish(Request, kw_only=True, frozen=True):
    """A set of keys in canonical form, signed by as many of the old one as its threshold says; `sign_here` adds this box's own."""

    document: Document
    signatures: Signatures = field(default_factory=list)
    sign_here: bool = False


class KeySetReset(Request, kw_only=True, frozen=True):
    """A set of keys in canonical form that nobody has to have signed."""

    document: Document


class KeysEdit(Request, kw_only=True, frozen=True):
    """What may be rolled out without a signed manifest."""

    unsigned: UnsignedPolicy
