"""The error tree. Every error carries what was wrong, the operator's next step and a stable code.

    HomeportError
    ├── ConfigError            the configuration can't be used
    ├── UsageError             a caller asked for something that makes no sense
    ├── NotFound               no such device, user, metric …
    ├── Conflict               it exists already, or it changed meanwhile
    ├── NotAuthorized          wrong or missing credentials, or no right to do this
    ├── LimitExceeded          a stated limit was reached
    ├── Unavailable            a dependency is away for now; trying again later is right
    ├── StorageError           disk, log or database failed
    │   ├── LogBroken          the log's writer can't go on (a failed write or fsync)
    │   ├── LogDamaged         bytes of the log are not what was written
    │   ├── LogLocked          another process has the log's directory
    │   └── CursorBeyondHead   a cursor points past the durable head
    └── ProtocolError          wire rules were broken
        ├── LocalProtocolError   by us (a mistake in our code)
        └── RemoteProtocolError  by the peer

One place maps these to HTTP status (ui/problem.py), MQTT reason code (broker/reasons.py) and exit code
(appliance/cli.py). Assertions are for programmers' mistakes and are caught nowhere.
"""

from __future__ import annotations

from typing import ClassVar


class HomeportError(Exception):
    """Root of all errors that Homeport raises on purpose.

    Args:
        message: What was wrong, one sentence.
        hint: The operator's next step, one sentence.
        code: Stable machine-readable name; defaults to the class's.
    """

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(HomeportError):
    default_code = "config_invalid"


class UsageError(HomeportError):
    default_code = "usage"


class NotFound(HomeportError):  # noqa: N818 - the field's word
    default_code = "not_found"


class Conflict(HomeportError):  # noqa: N818
    default_code = "conflict"


class NotAuthorized(HomeportError):  # noqa: N818
    default_code = "not_authorized"


class LimitExceeded(HomeportError):  # noqa: N818
    default_code = "limit_exceeded"


class Unavailable(HomeportError):  # noqa: N818
    default_code = "unavailable"


class StorageError(HomeportError):
    default_code = "storage_failed"


class LogBroken(StorageError):
    default_code = "log_broken"


class LogDamaged(StorageError):
    default_code = "log_damaged"


class LogLocked(StorageError):
    default_code = "log_locked"


class CursorBeyondHead(StorageError):
    default_code = "cursor_beyond_head"


class ProtocolError(HomeportError):
    default_code = "protocol_error"


class LocalProtocolError(ProtocolError):
    default_code = "local_protocol_error"


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule of the wire.

    Args:
        reason_code: MQTT 5 reason code that says so (0x81 malformed packet, 0x82 protocol error …).
    """

    default_code = "remote_protocol_error"

    def __init__(self, message: str, *, reason_code: int = 0x82, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.reason_code = reason_code
