"""What API and pages do with manifests, signatures and the keys that count: one set of rules for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.clock import Clock
from appliance.core.errors import Conflict, NotFound
from appliance.core.limits_updates import ARTIFACT_SIGNATURE_COUNT_MAX, MANIFEST_LIFE_MS_DEFAULT
from appliance.identity import SiteKeys, artifact_key_files, artifact_signing
from appliance.identity.artifact_trust import Trust, trust_of
from appliance.management import artifact_keys, manifest
from appliance.management.artifact_keys import KeySet, PublicKey, UnsignedPolicy
from appliance.management.audit import Act
from appliance.management.manifest import Manifest, Signature, Signed
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.artifact_keys import ArtifactKey
from storage.catalog.artifacts import Artifact

BOX_KEY_NAME = "this box"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """Whose signatures count, and what may go without.

    Attributes:
        box_key: The public half of the box's own key, trusted or not; None without one.
    """

    keys: KeySet
    known: tuple[ArtifactKey, ...]
    unsigned: UnsignedPolicy
    box_key: PublicKey | None


class ArtifactKeysDesk:
    """See the module's docstring."""

    def __init__(self, catalog: AsyncCatalog, keys: SiteKeys, *, clock: Clock, data_dir: Path) -> None:
        self._catalog = catalog
        self._keys = keys
        self._clock = clock
        self._data_dir = data_dir

    async def trust(self, artifacts: Sequence[Artifact]) -> dict[str, Trust]:
        """What the manifest of each artifact is worth now, by its id."""
        keys, policy = await self._catalog.read(
            lambda catalog: (catalog.artifact_key_set(), catalog.unsigned_policy())
        )
        now_ms = self._clock.now_ms()

        def look() -> dict[str, Trust]:
            return {each.artifact_id: trust_of(each, keys, policy, now_ms=now_ms) for each in artifacts}

        return await trio.to_thread.run_sync(look)

    async def draft(
        self, artifact_id: str, *, not_before_ms: int | None = None, expires_at_ms: int | None = None
    ) -> Signed:
        """The manifest that is to be signed: the one that is there, or a new one where there is none or times are given."""
        return await self._catalog.read(
            lambda catalog: self._draft(
                catalog, artifact_id, not_before_ms=not_before_ms, expires_at_ms=expires_at_ms
            )
        )

    async def add_signatures(self, artifact_id: str, signed: Signed, act: Act) -> Artifact:
        """Keep a manifest with its signatures, or further signatures of the one that is there.

        Raises:
            NotFound: `artifact_unknown`. UsageError: `manifest_invalid`. Conflict: `manifest_differs`, `release_counter_low`,
                `manifest_expired`, `signature_bad`, `signature_key_unknown`, `signature_missing`, `signature_count`.
        """
        return await self._catalog.write(lambda catalog: self._add(catalog, artifact_id, signed, act), by=act)

    async def sign_on_box(
        self, artifact_id: str, act: Act, *, not_before_ms: int | None, expires_at_ms: int | None
    ) -> Artifact:
        """Sign with the box's own key.

        Raises:
            NotFound: `artifact_unknown`, `artifact_key_missing`; and as `add_signatures`.
        """
        key = await self._box_key()
        if key is None:
            raise NotFound(
                "This box has no signing key.",
                hint="Make one (Firmware, Keys), or sign elsewhere: homeport artifact sign.",
                code="artifact_key_missing",
            )

        def write(catalog: Catalog) -> Artifact:
            draft = self._draft(
                catalog, artifact_id, not_before_ms=not_before_ms, expires_at_ms=expires_at_ms
            )
            signature = artifact_signing.sign(key, draft.document)
            signed = Signed(document=draft.document, signatures=[signature])
            return self._add(catalog, artifact_id, signed, act)

        return await self._catalog.write(write, by=act)

    async def facts(self) -> KeyFacts:
        """All that there is to say of keys."""
        keys, known, unsigned = await self._catalog.read(
            lambda catalog: (
                catalog.artifact_key_set(),
                catalog.artifact_keys(),
                catalog.unsigned_policy(),
            )
        )
        key = await self._box_key()
        public = None if key is None else artifact_signing.public_of(key, name=BOX_KEY_NAME)
        return KeyFacts(keys=keys, known=known, unsigned=unsigned, box_key=public)

    async def set_keys(self, signed: Signed, act: Act, *, sign_here: bool, is_reset: bool = False) -> KeySet:
        """Put a new set of keys in force.

        Args:
            sign_here: Add the signature of the box's own key.
            is_reset: It needs nobody's signature: for who owns the box, when keys are lost.
        Raises:
            UsageError: `manifest_invalid`, `artifact_keys_unusable`, `artifact_key_invalid`. Conflict: `artifact_keys_version`,
                `artifact_keys_unsigned`, `signature_bad`. NotFound: `artifact_key_missing`.
        """
        wanted = artifact_keys.parse(signed.document)
        artifact_keys.check_set(wanted)
        key = await self._box_key()
        signatures = list(signed.signatures)
        if sign_here:
            if key is None:
                raise NotFound(
                    "This box has no signing key.",
                    hint="Have the holders of trusted keys sign the set.",
                    code="artifact_key_missing",
                )
            signatures.append(artifact_signing.sign(key, signed.document))
        on_box = "" if key is None else artifact_signing.public_of(key, name=BOX_KEY_NAME).key_id

        def write(catalog: Catalog) -> KeySet:
            old = catalog.artifact_key_set()
            looked = artifact_signing.look(signed.document, signatures, old.by_id())
            bad = [each for each in looked if each.state == "bad"]
            if bad:
                artifact_signing.check_added(bad)
            good = len(artifact_signing.good_keys(looked))
            artifact_keys.check_follows(wanted, old, old.threshold if is_reset else good)
            catalog.set_artifact_key_set(wanted, on_box=on_box)
            return wanted

        return await self._catalog.write(write, by=act)

    async def set_unsigned(self, policy: UnsignedPolicy, act: Act) -> None:
        """Say what may be rolled out without a manifest that is signed here."""
        await self._catalog.write(lambda catalog: catalog.set_unsigned_policy(policy), by=act)

    async def make_box_key(self, act: Act) -> PublicKey:
        """Make the box's own key; where nobody is trusted yet, it is.

        Raises:
            Conflict: `artifact_key_exists`. StorageError: it can't be written.
        """
        key = await trio.to_thread.run_sync(artifact_key_files.make_on_box, self._data_dir, self._keys)
        public = artifact_signing.public_of(key, name=BOX_KEY_NAME)

        def write(catalog: Catalog) -> None:
            catalog.note(act.action, object_kind="artifact_key", object_id=public.key_id)
            old = catalog.artifact_key_set()
            if not old.version:
                catalog.set_artifact_key_set(
                    KeySet(version=1, threshold=1, keys=[public]), on_box=public.key_id
                )

        await self._catalog.write(write, by=act)
        return public

    async def remove_box_key(self, act: Act) -> None:
        """Forget the box's own key, for good. Who is trusted stays as it is. Raises NotFound: `artifact_key_missing`."""
        key = await self._box_key()
        if key is None:
            raise NotFound(
                "This box has no signing key.",
                hint="There is nothing to remove.",
                code="artifact_key_missing",
            )
        key_id = artifact_signing.public_of(key, name=BOX_KEY_NAME).key_id
        await self._catalog.write(
            lambda catalog: catalog.note(act.action, object_kind="artifact_key", object_id=key_id), by=act
        )
        await trio.to_thread.run_sync(artifact_key_files.remove_from_box, self._data_dir)

    async def _box_key(self) -> Ed25519PrivateKey | None:
        return await trio.to_thread.run_sync(artifact_key_files.on_box, self._data_dir, self._keys)

    def _draft(
        self,
        catalog: Catalog,
        artifact_id: str,
        *,
        not_before_ms: int | None,
        expires_at_ms: int | None,
    ) -> Signed:
        artifact = catalog.artifact(artifact_id)
        if artifact.manifest and not_before_ms is None and expires_at_ms is None:
            return Signed(document=artifact.manifest, signatures=list(artifact.signatures))
        begin_ms = self._clock.now_ms() if not_before_ms is None else not_before_ms
        made = artifact.manifest_of(
            not_before_ms=begin_ms,
            expires_at_ms=begin_ms + MANIFEST_LIFE_MS_DEFAULT if expires_at_ms is None else expires_at_ms,
            release_counter=catalog.highest_release_counter(artifact.name) + 1,
        )
        return Signed(document=manifest.parse(made.text()).text())

    def _add(self, catalog: Catalog, artifact_id: str, signed: Signed, act: Act) -> Artifact:
        artifact = catalog.artifact(artifact_id)
        wanted: Manifest = manifest.parse(signed.document)
        manifest.check_describes(
            wanted,
            artifact.manifest_of(
                not_before_ms=wanted.not_before,
                expires_at_ms=wanted.expires,
                release_counter=wanted.release_counter,
            ),
        )
        manifest.check_not_expired(wanted, self._clock.now_ms())
        kept: list[Signature] = []
        if signed.document == artifact.manifest:
            given = {each.keyid for each in signed.signatures}
            kept = [each for each in artifact.signatures if each.keyid not in given]
        else:
            manifest.check_counter(wanted, catalog.highest_release_counter(artifact.name))
        keys = catalog.artifact_key_set().by_id()
        looked = artifact_signing.look(signed.document, signed.signatures, keys)
        artifact_signing.check_added(looked)
        names = ", ".join(sorted({each.name for each in looked}))
        catalog.note(act.action, object_kind="artifact", object_id=artifact_id, detail=f"Signed by {names}.")
        distinct = {each.keyid: each for each in signed.signatures}
        signatures = (*kept, *distinct.values())
        if len(signatures) > ARTIFACT_SIGNATURE_COUNT_MAX:
            raise Conflict(
                f"A manifest has {ARTIFACT_SIGNATURE_COUNT_MAX} signatures at most.",
                hint="Sign a new manifest with the keys that count now.",
                code="signature_count",
            )
        return catalog.set_artifact_manifest(artifact_id, wanted, signatures)
