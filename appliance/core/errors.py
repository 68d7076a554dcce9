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
    │   ├── LogFull            no room for the log's next segment; nothing was written, later is right
    │   ├── LogLocked          another process has the log's directory
    │   ├── CursorBeyondHead   a cursor points past the durable head
    │   └── CursorExpired      a cursor points before the oldest record that is kept
    └── ProtocolError          wire rules were broken
        ├── LocalProtocolError   by us (a mistake in our code)
        └── RemoteProtocolError  by the peer

One place maps these to HTTP status (ui/problem.py), MQTT reason code (broker/handshake.py; a RemoteProtocolError brings its own) and exit code
(appliance/cli/exit_codes.py). Assertions are for programmers' mistakes and are caught nowhere.
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


class NotFound(HomeportError):
    default_code = "not_found"


class Conflict(HomeportError):
    default_code = "conflict"


class NotAuthorized(HomeportError):
    default_code = "not_authorized"


class LimitExceeded(HomeportError):
    default_code = "limit_exceeded"


class Unavailable(HomeportError):
    default_code = "unavailable"


class StorageError(HomeportError):
    default_code = "storage_failed"


class LogBroken(StorageError):
    default_code = "log_broken"


class LogDamaged(StorageError):
    """Bytes of the log are not what was written.

    Args:
        first_seq: First sequence that can't be given out.
        next_seq: First sequence after the damage that may be asked for (equal to first_seq: unknown).
    """

    default_code = "log_damaged"

    def __init__(
        self, message: str, *, first_seq: int = 0, next_seq: int = 0, hint: str = "", code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.first_seq = first_seq
        self.next_seq = next_seq


class LogFull(StorageError):
    default_code = "log_full"


class LogLocked(StorageError):
    default_code = "log_locked"


class CursorBeyondHead(StorageError):
    default_code = "cursor_beyond_head"


class CursorExpired(StorageError):
    """What a cursor points at is no longer kept.

    Args:
        next_seq: The first sequence that is; reading may go on there.
    """

    default_code = "cursor_expired"

    def __init__(self, message: str, *, next_seq: int = 0, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.next_seq = next_seq


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

    def __init__(
        self, message: str, *, reason_code: int = 0x82, hint: str = "", code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.reason_code = reason_code
