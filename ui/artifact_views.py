"""Artifacts as API and pages show them: rows, what their manifests are worth, and what uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.identity.artifact_trust import Trust
from appliance.management.permissions import Scope
from storage.catalog.artifacts import Artifact, ArtifactUse
from ui.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactView:
    """An artifact with all that is known of it."""

    row: Artifact
    trust: Trust
    use: ArtifactUse
    is_damaged: bool


async def artifact_views(services: Services, scope: Scope) -> tuple[ArtifactView, ...]:
    """All artifacts, the newest first.

    Args:
        scope: Of who looks: what uses an artifact is told only to those who see the whole site.
    """
    rows = await services.catalog.read(lambda catalog: catalog.artifacts())
    return await _views(services, rows, scope)


async def artifact_view(services: Services, artifact_id: str, scope: Scope) -> ArtifactView:
    """One of them. Raises NotFound: `artifact_unknown`."""
    row = await services.catalog.read(lambda catalog: catalog.artifact(artifact_id))
    (view,) = await _views(services, [row], scope)
    return view


async def _views(services: Services, rows: Sequence[Artifact], scope: Scope) -> tuple[ArtifactView, ...]:
    uses: dict[str, ArtifactUse] = {}
    if scope is None:
        uses = await services.catalog.read(lambda catalog: catalog.artifact_uses())
    trusts = await services.artifacts.keys.trust(rows)
    return tuple(
        ArtifactView(
            row=row,
            trust=trusts[row.artifact_id],
            use=uses.get(row.artifact_id, ArtifactUse()),
            is_damaged=services.artifacts.is_damaged(row.sha256),
        )
        for row in rows
    )
