"""Artifacts as metrics."""

from __future__ import annotations

from ui.metrics_table import Collected
from ui.services import Services


def add_artifacts(out: Collected, services: Services) -> None:
    """How many images lie there, how large, how much room there is, how many are damaged; by the last look."""
    now = services.artifacts.statistics()
    out.add("homeport_artifact_images", now.blob_count)
    out.add("homeport_artifact_image_bytes", now.blob_bytes)
    out.add("homeport_artifact_quota_bytes", services.artifacts.store.room.quota_bytes)
    out.add("homeport_artifact_images_damaged", now.damaged_count)
    out.add("homeport_artifact_uploads", now.upload_count)
    out.add("homeport_artifact_upload_bytes", now.upload_bytes)
    out.add("homeport_artifact_received_bytes", services.artifacts.uploads.received_bytes)
