"""What a process writes about itself: structured events, for people on a terminal and as JSON lines otherwise.

Every line carries `process`, and `trace_id` when the work it belongs to has one. Libraries that use the standard
library's logging come out the same way. A value whose key says that it is a secret is never written.

Call `set_up` once per process; everywhere else `log = logs.get(__name__)`, then `log.info("segment sealed", bytes=n)`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TextIO

import structlog

from appliance.core.ids import new_trace_id

Event = MutableMapping[str, Any]

REDACTED: Final = "[secret]"
_SECRET_WORDS: Final = (
    "password",
    "passwd",
    "token",
    "secret",
    "setup_code",
    "authorization",
    "cookie",
    "private_key",
)
_HARMLESS: Final = frozenset({"token_count", "tokens_total", "token_kind"})
_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; cheap, may be made before `set_up`."""
    return structlog.stdlib.get_logger(name)


def current_trace_id() -> str | None:
    """The trace id of the work being done, None outside of any."""
    return _trace_id.get()


@contextmanager
def trace(trace_id: str | None = None) -> Iterator[str]:
    """Everything logged inside (by this task and those it starts) carries the trace id; None makes a new one."""
    chosen = trace_id or new_trace_id()
    before = _trace_id.set(chosen)
    try:
        yield chosen
    finally:
        _trace_id.reset(before)


def set_up(*, process: str, level: str, format: str, stream: TextIO | None = None) -> None:
    """Send all events of this process to `stream`.

    Args:
        process: "supervisor", "broker", "node" …, in every line.
        level: debug, info, warning or error.
        format: console, json, or auto (console if the stream is a terminal).
        stream: Standard error when None.
    """
    stream = stream or sys.stderr
    console = format == "console" or (format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _process_adder(process),
        _add_trace_id,
        redact,
    ]
    last: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if console:
        # A plain traceback: the pretty one prints local variables, secrets among them.
        plain = structlog.dev.plain_traceback
        last.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain))
    else:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


@contextmanager
def warnings_only() -> Iterator[None]:
    """For a verb whose output is for people or programs: warnings and errors, on standard error, and nothing else."""
    before = structlog.get_config()
    plain = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.dev.set_exc_info,
            redact,
            plain,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Replace the value of every key that names a secret, in nested mappings too."""
    for key, value in event.items():
        if _is_secret(key):
            event[key] = REDACTED
        elif isinstance(value, dict):
            event[key] = redact(_logger, _method, dict(value))
    return event


def _is_secret(key: object) -> bool:
    return (
        isinstance(key, str) and key not in _HARMLESS and any(word in key.lower() for word in _SECRET_WORDS)
    )


def _process_adder(process: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: Event) -> Event:
        event["process"] = process
        return event

    return add


def _add_trace_id(_logger: object, _method: str, event: Event) -> Event:
    trace_id = _trace_id.get()
    if trace_id is not None:
        event.setdefault("trace_id", trace_id)
    return event
