"""Tracing in the node, put together: what is recorded, and the collector that it is sent to where there is one."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.config import Config
from appliance.core.config_tracing import TracingConfig
from appliance.core.errors import ConfigError, HomeportError
from appliance.core.limits_tracing import OTLP_HEADER_FILE_BYTES_MAX
from appliance.core.version import VERSION
from appliance.notifications.destinations import Destinations
from appliance.notifications.http_post import FAILURES, failure_words, post
from appliance.notifications.sent import line
from appliance.tracing.desk import TracingDesk
from appliance.tracing.exporter import Exporter, Post, Posted
from appliance.tracing.otlp import rejected_count, request_body
from appliance.tracing.recorder import Recorder
from appliance.tracing.ring import SpanRing
from appliance.tracing.sampling import PerSecond
from appliance.tracing.span import Span
from broker.link import BrokerLink

_FORBIDDEN: Final = frozenset(
    {"host", "content-length", "content-type", "connection", "transfer-encoding", "accept", "user-agent"}
)
Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class TracingParts:
    """What the node has of it; without an exporter spans stay here."""

    desk: TracingDesk
    exporter: Exporter | None

    @property
    def recorder(self) -> Recorder:
        return self.desk.recorder

    def attach(self, broker: BrokerLink) -> None:
        """Have the broker's spans recorded."""
        broker.on_spans = self.recorder.add

    async def run(self) -> None:
        """Until cancelled."""
        if self.exporter is not None:
            await self.exporter.run()


def make_tracing(config: Config, *, node_id: str) -> TracingParts:
    """Make it.

    Raises:
        ConfigError: the file with the collector's headers can't be used.
    """
    chosen = config.tracing
    ring = SpanRing() if chosen.otlp_endpoint else None
    desk = TracingDesk(
        Recorder(ring=ring),
        sample_ratio=chosen.sample_ratio,
        requests=PerSecond(chosen.per_second_max, lambda: time.monotonic_ns() // 1_000_000),
    )
    if ring is None:
        return TracingParts(desk, None)
    exporter = Exporter(ring, make_post(chosen, node_name=config.node.name, node_id=node_id))
    desk.exporter = exporter.statistics
    return TracingParts(desk, exporter)


def make_post(
    config: TracingConfig,
    *,
    node_name: str,
    node_id: str,
    destinations: Destinations | None = None,
) -> Post:
    """What sends spans to the collector, once.

    Raises:
        ConfigError: the file with its headers can't be used.
    """
    headers = read_headers(config.otlp_headers_file) if config.otlp_headers_file is not None else []
    headers += [("Content-Type", "application/json"), ("User-Agent", f"Homeport/{VERSION}")]
    # Whoever writes the configuration may send anything anywhere: there is nothing to be kept from them.
    anywhere = destinations or Destinations(own_ports=(), own_addresses=tuple)
    resource = {
        "service.name": "homeport",
        "service.version": VERSION,
        "service.instance.id": node_id,
        "host.name": node_name,
    }

    async def send(spans: list[Span]) -> Posted:
        body = request_body(spans, resource=resource, version=VERSION)
        try:
            answer = await post(anywhere, config.otlp_endpoint, headers, body)
        except HomeportError as error:
            return Posted(status=0, words=line(str(error)))
        except FAILURES as error:
            return Posted(status=0, words=failure_words(error))
        words = "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
        return Posted(
            status=answer.status,
            words=words,
            retry_after_s=answer.retry_after_s,
            rejected=rejected_count(answer.body),
        )

    return send


def read_headers(path: Path, *, own_uid: Callable[[], int] = os.geteuid) -> Headers:
    """The collector's headers.

    Raises:
        ConfigError: there is no such file, others may read it, or a line is no header; never with its content.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(OTLP_HEADER_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _bad(path, f"can't be read: {error.strerror}") from error
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP or found.st_uid not in (0, own_uid()):
        raise _bad(path, "may be read or changed by others")
    if len(raw) > OTLP_HEADER_FILE_BYTES_MAX:
        raise _bad(path, f"has more than {OTLP_HEADER_FILE_BYTES_MAX} bytes")
    headers: Headers = []
    for number, text in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        name, colon, value = text.partition(":")
        is_name = name.isascii() and name.replace("-", "").isalnum()
        if not colon or not is_name or name.lower() in _FORBIDDEN or not _is_value(value.strip()):
            raise _bad(path, f"has no header that may be sent in line {number}")
        headers.append((name, value.strip()))
    return headers


def _is_value(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def _bad(path: Path, what: str) -> ConfigError:
    return ConfigError(
        f"tracing.otlp_headers_file {path} {what}.",
        hint='Write one "Name: value" a line into it, and let only the user of Homeport read it (chmod 600).',
    )
