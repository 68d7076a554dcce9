"""Whether an artifact may be given to devices: its manifest, its signatures, its time, by the keys and the policy of the site.

Asked when a rollout is made, approved and started, and for every page: nothing is kept of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.errors import Conflict, HomeportError
from appliance.identity.artifact_signing import Looked, good_keys, look
from appliance.management import manifest as manifests
from appliance.management.artifact_keys import KeySet, UnsignedPolicy
from storage.catalog import Catalog
from storage.catalog.artifacts import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What an artifact's manifest is worth now.

    Attributes:
        signatures: Each with its worth.
        good_count: Distinct trusted keys that signed. needed_count: How many must have.
        refusal: Why it may not be rolled out, None where it may.
    """

    signatures: tuple[Looked, ...]
    good_count: int
    needed_count: int
    refusal: HomeportError | None

    @property
    def is_usable(self) -> bool:
        return self.refusal is None


def trust_of(artifact: Artifact, keys: KeySet, policy: UnsignedPolicy, *, now_ms: int) -> Trust:
    """What an artifact's manifest is worth."""
    looked = look(artifact.manifest, artifact.signatures, keys.by_id()) if artifact.manifest else ()
    good_count = len(good_keys(looked))
    return Trust(
        signatures=looked,
        good_count=good_count,
        needed_count=keys.threshold,
        refusal=_refusal(artifact, keys, policy, good_count, looked, now_ms),
    )


def check_usable(catalog: Catalog, artifact_id: str, *, now_ms: int) -> Artifact:
    """The artifact, if it may be rolled out now. Within a read or a transaction.

    Raises:
        NotFound: `artifact_unknown`. Conflict: `artifact_unsigned`, `artifact_signatures`, `signature_bad`, `manifest_expired`,
            `manifest_not_yet`.
    """
    artifact = catalog.artifact(artifact_id)
    found = trust_of(artifact, catalog.artifact_key_set(), catalog.unsigned_policy(), now_ms=now_ms)
    if found.refusal is not None:
        raise found.refusal
    return artifact


def _refusal(
    artifact: Artifact,
    keys: KeySet,
    policy: UnsignedPolicy,
    good_count: int,
    looked: tuple[Looked, ...],
    now_ms: int,
) -> HomeportError | None:
    name = f"{artifact.name} {artifact.version}"
    if artifact.manifest:
        try:
            manifests.check_time(manifests.parse(artifact.manifest), now_ms)
        except HomeportError as error:
            return error
    if good_count >= keys.threshold and keys.version:
        return None
    bad = [each for each in looked if each.state == "bad"]
    if bad:
        return Conflict(
            f"A signature of {name} is wrong: that of “{bad[0].name}”.",
            hint="Sign its manifest anew; look who changed it (the audit).",
            code="signature_bad",
        )
    if policy == "allow" or (policy == "vendor_signed" and artifact.is_vendor_signed):
        return None
    if artifact.manifest and keys.version:
        return Conflict(
            f"{good_count} of {keys.threshold} trusted keys have signed {name}.",
            hint="Have the manifest signed by more of them: homeport artifact sign.",
            code="artifact_signatures",
        )
    return Conflict(
        f"{name} is not signed, and unsigned artifacts are not rolled out here.",
        hint="Sign it (Firmware, Artifacts), or say under Keys which unsigned artifacts may be rolled out.",
        code="artifact_unsigned",
    )
