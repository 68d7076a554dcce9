"""What can be wrong with a backup, in words that say what to do."""

from __future__ import annotations

from appliance.core.errors import StorageError


def damaged(message: str) -> StorageError:
    """What was read back is not what was written."""
    return StorageError(
        message,
        hint="Use another backup or another disk; `homeport backup verify` says which backups are whole.",
        code="backup_damaged",
    )


def unsafe(message: str) -> StorageError:
    """A backup holds what no Homeport puts there."""
    return StorageError(
        f"This backup is not used: {message}",
        hint="It was not made by Homeport, or it was changed since. Use another one.",
        code="backup_unsafe",
    )


def too_new(message: str) -> StorageError:
    """Somebody needs a newer program."""
    return StorageError(
        message, hint="Install the release that made the backup, or a newer one.", code="backup_too_new"
    )
