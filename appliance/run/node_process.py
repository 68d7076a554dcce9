"""The node process: the store and its pipeline, the catalog, the pages and the API. Everything that may be slow.

It may die at any moment: devices are served by the broker, and what the log holds is read again from the cursor.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve as serve_http
from starlette.types import ASGIApp

from appliance.core import logs
from appliance.core.clock import Clock, SystemClock
from appliance.core.config import Config
from appliance.core.version import VERSION
from appliance.identity import Passwords, SetupCode, SiteKeys, TlsIdentity, tls
from appliance.identity.addresses import machine_addresses
from appliance.management.mapping import TopicMapping
from appliance.pipeline.live import LiveView
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.published_cursor import PublishedCursor
from appliance.run import announcement, layout
from appliance.run.child import ChildLink
from appliance.run.directory import CatalogDirectory, FirstContacts
from appliance.run.first_run import lock
from appliance.run.lag_report import report_lag
from appliance.run.process import run_process
from appliance.run.scrubbing import Scrubbing
from broker.bridge.statistics import read_report
from broker.link import BrokerLink
from storage.catalog import AsyncCatalog
from storage.log.reader import LogReader
from storage.telemetry.reader import TelemetryReader
from storage.telemetry.store import TelemetryStore
from ui import health
from ui.app import create_app
from ui.auth import LocalTrust
from ui.live.hub import Hub
from ui.services import Services
from ui.sign_in import SignInLimiter

GRACEFUL_TIMEOUT_S: Final = 2.0
"""How long requests that are under way may take while the node drains; live streams end at once."""
SWITCH_INTERVAL_S: Final = 0.000_5
"""How long the pipeline's thread may keep the interpreter from the event loop: an answer of the API changes hands
many times, and the default of 5 ms each would be most of its time while readings pour in."""
HOUR_MS: Final = 3_600_000
KEEP_ALIVE_TIMEOUT_S: Final = 30.0
REQUEST_BACKLOG: Final = 256
WILDCARD_HOSTS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound

_log = logs.get(__name__)


class Node:
    """What the node process is made of, and how long each part lives.

    Args:
        link: To the supervisor; `stopping` ends `run`.
    """

    def __init__(self, config: Config, link: ChildLink) -> None:
        self._config = config
        self._link = link
        self._clock: Clock = SystemClock()

    async def run(self) -> None:
        """Serve until the link says stop.

        Raises:
            HomeportError: the catalog or the store can't be opened, or another process writes them.
        """
        config, clock = self._config, self._clock
        async with AsyncExitStack() as held:
            held.enter_context(lock(layout.node_lock(config), holder="the node"))
            keys = SiteKeys.load_or_create(config.node.data_dir)
            certificate = tls.load_or_create(config.node.data_dir, node_name=config.node.name, clock=clock)
            catalog = await held.enter_async_context(
                AsyncCatalog.opened(layout.catalog(config), clock=clock, node_id=keys.node_id)
            )
            store = await trio.to_thread.run_sync(self._open_store)
            held.callback(store.close)
            live = LiveView(clock=clock)
            scrubbing = self._scrubbing()
            if scrubbing is not None:
                held.callback(scrubbing.close)
            directory = CatalogDirectory(catalog, clock, waits=config.devices.first_contact == "wait")
            cursor = PublishedCursor(layout.pipeline_cursor(config))
            held.callback(cursor.close)
            pipeline = Pipeline(
                reader=LogReader(layout.telemetry_log(config), stream="telemetry"),
                store=store,
                mappings=[
                    TopicMapping(pattern=each.topic, format=each.format, metric=each.metric)
                    for each in config.mapping
                ],
                directory=directory,
                clock=clock,
                live=live,
                batch_messages_max=config.store.batch_messages_max,
                commit_deadline_ms=config.store.commit_deadline_ms,
                on_cursor=cursor.publish,
            )
            held.callback(catalog.subscribe(lambda _changes: pipeline.forget_devices()))
            contacts = FirstContacts(directory)
            broker = BrokerLink(layout.broker_socket(config), pipeline.grew, contacts.note)
            setup_code = SetupCode(clock=clock)
            has_admin = await catalog.read(lambda reader: reader.has_admin())
            log_reader = LogReader(layout.telemetry_log(config), stream="telemetry")
            hub = Hub(clock=clock, source=live)
            services = Services(
                config=config,
                version=VERSION,
                clock=clock,
                started_at_ms=clock.now_ms(),
                catalog=catalog,
                live=live,
                telemetry=TelemetryReader(
                    store,
                    timeout_ms=config.store.query_timeout_ms,
                    concurrency_max=config.store.query_concurrency_max,
                ),
                pipeline=pipeline,
                log_head=log_reader.head,
                broker=broker,
                keys=keys,
                passwords=Passwords(),
                setup_code=setup_code,
                sign_in_limiter=SignInLimiter(clock=clock),
                tls=certificate,
                readiness={
                    "broker": health.broker_check(broker),
                    "log": health.log_check(log_reader.head),
                    "disk": health.disk_check(broker),
                    "catalog": health.catalog_check(catalog),
                    "store": health.store_check(pipeline),
                    "pipeline": health.pipeline_check(pipeline),
                },
                hub=hub,
                store=store.statistics,
                scrub=scrubbing.statistics if scrubbing is not None else None,
                bridge_report=lambda: read_report(layout.bridge_report(config), clock.now_ms()),
                stopping=self._link.stopping,
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(self._link.serve)
                await nursery.start(pipeline.run)
                await nursery.start(hub.run)
                nursery.start_soon(broker.run)
                nursery.start_soon(report_lag, pipeline, broker)
                nursery.start_soon(contacts.run)
                async with trio.open_nursery() as serving:
                    await self._serve_http(services, certificate, serving)
                    code = None if has_admin else setup_code.issue()
                    await self._link.ready(
                        f"pages and API on {config.ui.bind}", announce=self._announcement(certificate, code)
                    )
                    await self._link.stopping.wait()
                nursery.cancel_scope.cancel()

    def _scrubbing(self) -> Scrubbing | None:
        hours = self._config.log.scrub_hours
        directory = layout.telemetry_log(self._config)
        return Scrubbing(directory, self._clock, interval_ms=hours * HOUR_MS) if hours else None

    def _open_store(self) -> TelemetryStore:
        return TelemetryStore.open(
            self._config.node.data_dir / "telemetry.duckdb",
            memory_limit_mib=self._config.store.memory_limit_mib,
            threads=self._config.store.threads,
            clock=self._clock,
        )

    async def _serve_http(self, services: Services, certificate: TlsIdentity, nursery: trio.Nursery) -> None:
        """Open both doors: HTTPS for people and programs, the Unix socket for this machine's command line."""
        app = create_app(services)
        public = _server_config()
        public.bind = [str(self._config.ui.bind)]
        public.certfile = public.keyfile = str(certificate.path)
        await self._start(nursery, app, public)
        path = layout.node_socket(self._config)
        _remove_socket(path)
        local = _server_config()
        local.bind = [f"unix:{path}"]
        local.umask = 0o177
        await self._start(nursery, LocalTrust(app), local)

    async def _start(self, nursery: trio.Nursery, app: ASGIApp, config: ServerConfig) -> None:
        await nursery.start(
            partial(serve_http, app, config, shutdown_trigger=self._link.stopping.wait)  # type: ignore[arg-type]
        )

    def _announcement(self, certificate: TlsIdentity, code: str | None) -> list[str]:
        bind = self._config.ui.bind
        hosts = [bind.host]
        if bind.host in WILDCARD_HOSTS:
            hosts = [a for a in machine_addresses() if not a.startswith(("127.", "::1", "fe80"))] or [
                "127.0.0.1"
            ]
        lines = [f"Open https://{f'[{host}]' if ':' in host else host}:{bind.port}/" for host in hosts]
        lines.append(f"Certificate fingerprint (SHA-256) {certificate.fingerprint}")
        if code is not None:
            lines.append(announcement.code_line(code))
        return lines


def _server_config() -> ServerConfig:
    config = ServerConfig()
    config.accesslog = None
    config.errorlog = "-"
    config.loglevel = "WARNING"
    config.include_server_header = False
    config.graceful_timeout = GRACEFUL_TIMEOUT_S
    config.shutdown_timeout = GRACEFUL_TIMEOUT_S
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT_S
    config.backlog = REQUEST_BACKLOG
    return config


def _remove_socket(path: Path) -> None:
    """Remove the socket that a killed process left; anything else there is not ours to remove."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            path.unlink()
    except FileNotFoundError:
        return


async def serve(config: Config, link: ChildLink) -> None:
    """Run the node until `link.stopping`. Raises as `Node.run`."""
    await Node(config, link).run()


def main() -> int:
    """Run the process; returns its exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return run_process("node", serve)


if __name__ == "__main__":
    sys.exit(main())
