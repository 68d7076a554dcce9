"""The node process: the store and its pipeline, the catalog, the pages and the API. Everything that may be slow.

It may die at any moment: devices are served by the broker, and what the log holds is read again from the cursor.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve as serve_http
from starlette.types import ASGIApp

from appliance.core.clock import Clock, SystemClock
from appliance.core.config import Config
from appliance.core.version import VERSION
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router, by_request
from appliance.device_requests.statistics import request_numbers
from appliance.identity import Passwords, SetupCode, SiteKeys, TlsIdentity
from appliance.identity.ca import SiteCa
from appliance.identity.crl import CrlKeeper
from appliance.identity.enrolment import Enrolment
from appliance.identity.issuing import Issuing
from appliance.management.request_topics import PROVISION
from appliance.pipeline.day_repair import DayRepair
from appliance.pipeline.kept_messages import KeptMessages
from appliance.pipeline.live import LiveView
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.rebuild import Rebuild
from appliance.pipeline.replay_desk import ReplayDesk
from appliance.pipeline.rule_set_desk import position_of
from appliance.pipeline.traces import PipelineTraces
from appliance.pipeline.try_out import TryOuts
from appliance.run import announcement, layout
from appliance.run.alarms_wiring import make_alarms
from appliance.run.archive_conditions import ArchiveConditions
from appliance.run.artifacts_wiring import open_desk as open_artifacts
from appliance.run.box_certificate import box_certificate
from appliance.run.child import ChildLink
from appliance.run.claimed import Claimed
from appliance.run.clock_file import ClockFile
from appliance.run.day_announcing import DayAnnouncing
from appliance.run.delivery_wiring import make_delivery, make_device_port, make_urls, statistics_of
from appliance.run.directory import CatalogDirectory, FirstContacts
from appliance.run.drilling_wiring import make_drills
from appliance.run.erased_devices import ErasedDevices
from appliance.run.first_run import lock
from appliance.run.http_doors import remove_socket, server_config
from appliance.run.lag_report import report_lag
from appliance.run.node_watch_wiring import look_after_node
from appliance.run.notifications_wiring import make_notifications
from appliance.run.process import run_process
from appliance.run.readiness import readiness_of
from appliance.run.reading_wiring import reading_desk, reading_room
from appliance.run.replication_asking import decommissioner, loser, replication_source
from appliance.run.rows_wiring import make_rows
from appliance.run.scrubbing import scrubbing_of
from appliance.run.site_catalog import make_site_catalog
from appliance.run.site_wiring import open_site
from appliance.run.stores_wiring import configured_mappings, make_keeper, make_sql, open_store
from appliance.run.tier_key import TierKeyTelling, sealer
from appliance.run.tier_wiring import begin_tier
from appliance.run.tracing_wiring import make_tracing
from appliance.run.twins_wiring import twin_room
from appliance.run.updates_wiring import make_updates
from appliance.run.watch_wiring import open_watch
from broker.bridge.statistics import read_report
from broker.link import BrokerLink
from storage.archive.adopting import adopt_all
from storage.catalog import AsyncCatalog
from storage.telemetry.database import archive_folder
from storage.telemetry.parquet_export import ParquetExports
from storage.telemetry.reader import TelemetryReader
from ui.app import create_app
from ui.audit_desk import AuditDesk
from ui.auth import LocalTrust
from ui.backup_desk import BackupDesk
from ui.live.hub import Hub
from ui.people import PeopleServices
from ui.rate_limit import RateLimits
from ui.rate_limit_streams import StreamPlaces
from ui.services import Services
from ui.sign_in import SignInLimiter

SWITCH_INTERVAL_S: Final = 0.000_5
"""How long the pipeline's thread may keep the interpreter from the event loop: an answer of the API changes hands
many times, and the default of 5 ms each would be most of its time while readings pour in."""
KEEPER_TABLES: Final = frozenset({"retention_classes", "erasures"})


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
            clock_file = ClockFile.opened(layout.clock_file(config), clock)
            keys = SiteKeys.load_or_create(config.node.data_dir)
            begin_tier(config, keys, clock)
            authority = SiteCa.load_or_create(config.node.data_dir, keys, clock=clock)
            certificate = box_certificate(config, keys, clock)
            catalog = await held.enter_async_context(
                AsyncCatalog.opened(layout.catalog(config), clock=clock, node_id=keys.node_id)
            )
            issuing = Issuing(authority, catalog, clock=clock, life_days=config.devices.certificate_days)
            crl = CrlKeeper(issuing, catalog, layout.devices_crl(config), clock=clock)
            issuing.is_clock_ahead = clock_file.believed.is_ahead
            held.callback(catalog.subscribe(crl.note))
            issuing.on_renewal(crl.look_again)
            site = await trio.to_thread.run_sync(open_site, config, keys, clock)
            held.callback(site.close)
            store = await trio.to_thread.run_sync(open_store, config, clock)
            held.callback(store.close)
            artifacts = await trio.to_thread.run_sync(open_artifacts, config, catalog, keys, clock)
            held.callback(artifacts.store.close)
            sql = make_sql(config, store)
            held.callback(sql.close)
            live, tracing = LiveView(clock=clock), make_tracing(config, node_id=keys.node_id.hex())
            scrubbing = scrubbing_of(config, clock)
            if scrubbing is not None:
                held.callback(scrubbing.close)
            directory = CatalogDirectory(catalog, clock, waits=config.devices.first_contact == "wait")
            mappings = await MappingDesk.opened(catalog, site.reader(), configured_mappings(config))
            log_reader = site.reader()
            watch = await open_watch(
                config.watch,
                catalog,
                lambda: position_of(log_reader.head()),
                may_tick=lambda: broker.connected,
                node_id=keys.node_id.hex(),
            )
            pipeline = Pipeline(
                reader=site.reader(takes_turns=True),
                store=store,
                mappings=mappings.sets,
                directory=directory,
                clock=clock,
                live=live,
                batch_messages_max=config.store.batch_messages_max,
                commit_deadline_ms=config.store.commit_deadline_ms,
                on_cursor=site.cursor.publish,
                rebuild=Rebuild(
                    archive_folder(store.path) / "state",
                    published=site.cursor.published,
                    clock=clock,
                    register=lambda store: adopt_all(store)[1],
                ),
                watch=watch.watched,
                traces=PipelineTraces(tracing.recorder),
            )
            rows = make_rows(config, keys, site, catalog, mappings.sets, pipeline, directory, clock)
            erased = await ErasedDevices.opened(catalog)
            pipeline.rules.erasures = erased.positions
            held.callback(
                catalog.subscribe(
                    lambda changes: (
                        pipeline.forget_devices() if any(c.table == "devices" for c in changes) else None
                    )
                )
            )
            replays = ReplayDesk(
                catalog=catalog,
                pipeline=pipeline,
                store=store,
                sets=mappings.sets,
                directory=directory,
                kept=KeptMessages(site.reader(), clock.mono_ms),
            )
            await replays.prepare()
            hub = Hub(clock=clock, source=live)
            alarms = make_alarms(config.alarms, catalog, hub, clock=clock)
            alarms.recorder = tracing.recorder
            watch.tell(alarms, pipeline)
            contacts, enrolment = FirstContacts(directory), Enrolment(catalog, keys, issuing, clock=clock)
            router, listeners = Router(clock=clock), Listeners()
            router.register(PROVISION, by_request(enrolment.answer))
            urls = make_urls(config, keys, clock=clock)
            updates = make_updates(
                catalog,
                live,
                router,
                listeners,
                clock=clock,
                link=urls.link,
                alarms=alarms,
                stale_after_ms=config.devices.stale_after_s * 1000,
            )
            delivery = make_delivery(
                config, catalog, artifacts.store, updates.updates, router, listeners, clock=clock
            )
            broker = listeners.link = BrokerLink(
                layout.broker_socket(config), pipeline.grew, contacts.note, router.answer, listeners.take
            )
            tracing.attach(broker)
            conditions = ArchiveConditions(
                config.store,
                catalog=catalog,
                pipeline=pipeline,
                broker=broker,
                first_seq=site.reader().first_seq,
            )
            keeper = make_keeper(config, store, pipeline, conditions, clock_file.believed, clock=clock)
            held.callback(
                catalog.subscribe(
                    lambda changes: keeper.look() if {c.table for c in changes} & KEEPER_TABLES else None
                )
            )
            device_port = make_device_port(
                config, catalog, keys, issuing, crl, certificate, updates.updates, delivery, urls, clock=clock
            )
            setup_code = SetupCode(clock=clock)
            claimed = Claimed(catalog, setup_code)
            held.callback(catalog.subscribe(claimed.note))
            has_admin = await catalog.read(lambda reader: reader.has_admin())
            twins = twin_room(catalog, router, listeners, hub, clock, self._link.stopping)
            twins.desk.subscribe(updates.twins.note)
            engine = updates.updates.engine
            site_catalog = make_site_catalog(
                config, catalog, keys, watch.rules, mappings, log_reader, engine, twins, live, clock=clock
            )
            notifications = make_notifications(
                config, catalog, keys, broker, clock=clock, recorder=tracing.recorder
            )
            alarms.book.on_moves = notifications.desk.telling.on_moves
            for tidying in (alarms, notifications.desk.scheduler, twins.commands):
                tidying.tidies_by = clock_file.believed.look
            services = Services(
                config=config,
                version=VERSION,
                clock=clock,
                believed=clock_file.believed,
                started_at_ms=clock.now_ms(),
                catalog=catalog,
                live=live,
                telemetry=TelemetryReader(
                    store,
                    timeout_ms=config.store.query_timeout_ms,
                    concurrency_max=config.store.query_concurrency_max,
                ),
                sql=sql,
                parquet=await trio.to_thread.run_sync(ParquetExports, store),
                pipeline=pipeline,
                log_head=log_reader.head,
                broker=broker,
                keys=keys,
                issuing=issuing,
                crl=crl,
                enrolment=enrolment.statistics,
                passwords=Passwords(),
                people=PeopleServices.load(
                    config.node.data_dir, catalog, keys, clock=clock, session_hours=config.ui.session_hours
                ),
                setup_code=setup_code,
                audit=AuditDesk(catalog=catalog, keys=keys, clock=clock, data_dir=config.node.data_dir),
                backups=BackupDesk(config, keys, catalog, clock=clock),
                drills=make_drills(config, catalog, clock),
                artifacts=artifacts,
                sign_in_limiter=SignInLimiter(clock=clock),
                rate_limits=RateLimits(config.api, clock=clock),
                streams=StreamPlaces(count_max=config.api.streams_per_user_max),
                tls=certificate,
                readiness=readiness_of(
                    config,
                    broker=broker,
                    catalog=catalog,
                    pipeline=pipeline,
                    alarms=alarms,
                    log_head=log_reader.head,
                ),
                hub=hub,
                tracing=tracing.desk,
                alarms=alarms,
                updates=updates.updates,
                wake_updates=updates.updates.engine.look_soon,
                twins=twins,
                mappings=mappings,
                rules=watch.rules,
                notifications=notifications.desk,
                try_outs=TryOuts(KeptMessages(site.reader(), clock.mono_ms)),
                keeper=keeper,
                store=store.statistics,
                replays=replays.statistics,
                rooms={
                    "device_requests": partial(request_numbers, router, listeners, broker),
                    **site_catalog.rooms,
                },
                scrub=scrubbing.statistics if scrubbing is not None else None,
                replication=replication_source(config),
                decommission_node=decommissioner(config),
                seal_with=sealer(config),
                mark_lost=loser(config),
                site_reading=reading_desk(config, catalog, clock),
                site=site.order.statistics,
                bridge_report=lambda: read_report(layout.bridge_report(config), clock.now_ms()),
                firmware=lambda: statistics_of(delivery, device_port),
                device_port=device_port.port.statistics if device_port is not None else None,
                stopping=self._link.stopping,
            )
            # Before anybody waits for anything: it compiles all templates, for a second or more on a small box.
            app = create_app(services)
            async with trio.open_nursery() as nursery:
                await nursery.start(self._link.serve)
                await nursery.start(pipeline.run)
                await nursery.start(hub.run)
                await nursery.start(alarms.run)
                await nursery.start(updates.run)
                nursery.start_soon(replays.run)
                nursery.start_soon(rows.run)
                nursery.start_soon(twins.run)
                nursery.start_soon(notifications.run)
                nursery.start_soon(broker.run)
                nursery.start_soon(report_lag, pipeline, broker)
                nursery.start_soon(clock_file.run)
                for room in (contacts, catalog.watch, site_catalog, crl, claimed, erased, watch, tracing):
                    nursery.start_soon(room.run)
                nursery.start_soon(look_after_node, services, alarms.book, site.suffix)
                nursery.start_soon(
                    DayRepair(
                        store,
                        pipeline.work,
                        keeper,
                        hot_days=config.store.hot_days,
                        clock=clock,
                        is_quiet=lambda: not conditions.wait_because() and not conditions.is_disk_short(),
                        begin_anew=pipeline.begin_anew,
                    ).run
                )
                if device_port is not None:
                    await nursery.start(device_port.port.serve)
                nursery.start_soon(services.audit.run)
                nursery.start_soon(services.backups.run)
                nursery.start_soon(services.drills.run)
                nursery.start_soon(TierKeyTelling(config, catalog, services.seal_with).run)
                nursery.start_soon(artifacts.run)
                nursery.start_soon(reading_room(config, services, app))
                await nursery.start(keeper.run)
                nursery.start_soon(DayAnnouncing(keys.node_id, catalog, keeper, conditions, clock=clock).run)
                async with trio.open_nursery() as serving:
                    await self._serve_http(app, certificate, serving)
                    code = None if has_admin else setup_code.issue()
                    await self._link.ready(
                        f"pages and API on {config.ui.bind}",
                        announce=announcement.lines_of(config.ui.bind, certificate.fingerprint, code),
                    )
                    await self._link.stopping.wait()
                nursery.cancel_scope.cancel()

    async def _serve_http(self, app: ASGIApp, certificate: TlsIdentity, nursery: trio.Nursery) -> None:
        """Open both doors: HTTPS for people and programs, the Unix socket for this machine's command line."""
        public = server_config()
        public.bind = [str(self._config.ui.bind)]
        public.certfile = public.keyfile = str(certificate.path)
        await self._start(nursery, app, public)
        path = layout.node_socket(self._config)
        remove_socket(path)
        local = server_config()
        local.bind = [f"unix:{path}"]
        local.umask = 0o177
        await self._start(nursery, LocalTrust(app), local)

    async def _start(self, nursery: trio.Nursery, app: ASGIApp, config: ServerConfig) -> None:
        await nursery.start(
            partial(serve_http, app, config, shutdown_trigger=self._link.stopping.wait)  # type: ignore[arg-type]
        )


async def serve(config: Config, link: ChildLink) -> None:
    """Run the node until `link.stopping`. Raises as `Node.run`."""
    await Node(config, link).run()


def main() -> int:
    """Run the process; returns its exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return run_process("node", serve)


if __name__ == "__main__":
    sys.exit(main())
