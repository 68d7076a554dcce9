"""The broker process: opens the telemetry log, checks devices against the catalog file, serves until told to stop.

It never imports duckdb and never writes the catalog: whatever becomes of the node, devices are served and their
readings kept.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from functools import partial
from pathlib import Path
from typing import Final, cast

import trio

from appliance.core import logs
from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.limits import MIB
from appliance.core.version import VERSION
from appliance.identity.authenticator import DeviceAuthenticator
from appliance.identity.ca import SiteCa
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from appliance.run.box_certificate import box_certificate
from appliance.run.child import ChildLink
from appliance.run.clock_file import open_believed_time
from appliance.run.process import run_process
from appliance.run.roles import access_policy
from appliance.run.site_nodes import site_nodes
from appliance.run.writing_permit import WritingPermit
from broker.bridge.state_file import read_state
from broker.server import BrokerServer, Ports
from broker.state.broker_state import BrokerState
from broker.state.keeper import recover
from broker.tls import TlsContexts, TlsFiles
from broker.tracer import Tracer
from storage.backup import hold
from storage.catalog.auth import DeviceAuthReader
from storage.fleet.safe_file import read_unsafe_from
from storage.log.body_packer import Compression
from storage.log.cursor_file import read_cursor
from storage.log.disk import OsDisk
from storage.log.disk_level import DiskLevel, DiskLevels
from storage.log.housekeeping import KeepingRules
from storage.log.reader import LogReader
from storage.log.writer import LogWriter

SWITCH_INTERVAL_S: Final = 0.000_2
"""How long the event loop may keep the interpreter from the log's thread. Between a block's write and its fsync, and
after it, that thread needs the interpreter for microseconds; the default of 5 ms would be most of the time that an
acknowledgement takes."""

_log = logs.get(__name__)


def open_writer(config: Config, keys: SiteKeys, clock: SystemClock) -> LogWriter:
    """Open the telemetry log for writing; recovers it first. Blocks.

    Raises:
        ConfigError: the disk's levels don't rise. LogLocked: another process writes it.
        LogDamaged, StorageError: it can't be used as it is.
    """
    levels = DiskLevels(
        low_percent=config.log.disk_low_percent,
        hold_percent=config.log.disk_hold_percent,
        read_only_percent=config.log.disk_read_only_percent,
    )
    writer = LogWriter.open(
        layout.telemetry_log(config),
        stream="telemetry",
        node_id=keys.node_id,
        signer=keys.signer,
        clock=clock,
        segment_bytes=config.log.segment_mib * MIB,
        seal_after_ms=config.log.seal_after_s * 1000,
        compression=cast(Compression, config.log.compression),
    )
    cursor = layout.pipeline_cursor(config)
    writer.housekeeping.hold("pipeline", lambda: read_cursor(OsDisk(), cursor))
    writer.housekeeping.hold("a backup", partial(hold.needed_seq, config.node.data_dir / hold.NAME))
    writer.housekeeping.hold("copies", partial(copies_need, writer, config.node.data_dir))
    for bridge in config.bridge:
        path = layout.bridge_cursor(config, bridge.name)
        writer.housekeeping.hold(f"bridge {bridge.name}", partial(_bridge_needs, path))
    writer.keep_house(
        KeepingRules(
            levels=levels,
            ballast_bytes=config.log.ballast_mib * MIB,
            keep_percent=config.log.keep_percent,
            quota_percent=config.log.quota_percent,
        )
    )
    return writer


def copies_need(writer: LogWriter, data_dir: Path) -> int:
    """The first record that is not yet safe elsewhere, while there is room: a peer or a cloud that is away must not fill the disk.

    Raises:
        StorageError, OSError: what the replicator wrote of it can't be read.
    """
    head = writer.head.next_seq
    if writer.housekeeping.level is not DiskLevel.OK:
        return head
    unsafe_from = read_unsafe_from(data_dir, "telemetry")
    return head if unsafe_from is None else unsafe_from


def _bridge_needs(path: Path) -> int:
    """The first record that a bridge has still to carry; 0, everything, for one that has not begun.

    Raises:
        StorageError: its state can't be read.
    """
    state = read_state(path)
    return state.next_seq if state is not None else 0


def recover_state(config: Config, reader: LogReader) -> BrokerState:
    """What the broker knew when it ended, however it ended. Blocks."""
    began_s = time.monotonic()
    state = recover(layout.broker_checkpoint(config), reader, lambda: BrokerState.empty(config.broker))
    _log.info(
        "the broker's state is back",
        retained=len(state.retained),
        sessions=len(state.sessions),
        took_ms=round((time.monotonic() - began_s) * 1000),
    )
    return state


def close_writer(writer: LogWriter) -> None:
    """Let the log go. A disk that fails now changes nothing: what was acknowledged is synced already."""
    try:
        writer.close()
    except OSError as error:
        _log.error("the log could not be closed in order", error=str(error), hint="Look at the disk.")


async def serve(config: Config, link: ChildLink) -> None:
    """Serve until `link.stopping`.

    Raises:
        HomeportError: the log is locked, damaged or can't be written, a port is taken, or the certificate is unusable.
    """
    clock = SystemClock()
    keys = SiteKeys.load_or_create(config.node.data_dir)
    certificate = box_certificate(config, keys, clock)
    if not layout.devices_ca(config).exists():
        # The node makes it, too, and one of the two is first: the door is open to certificates from the beginning.
        SiteCa.load_or_create(config.node.data_dir, keys, clock=clock)
    contexts = TlsContexts(
        TlsFiles.of(
            config.broker,
            certificate.path,
            site_ca=layout.devices_ca(config),
            site_crl=layout.devices_crl(config),
        )
    )
    policy = access_policy(config)
    credentials = DeviceAuthReader(layout.catalog(config), clock=clock)
    authenticator = DeviceAuthenticator(credentials, keys, clock=clock)
    async with trio.open_nursery() as nursery:
        link.stages.reached("keys")
        await nursery.start(link.serve)
        permit = WritingPermit(config, clock=clock)
        async with trio.open_nursery() as waiting:
            # The supervisor is not kept waiting: the page is where people see what this box waits for.
            waiting.start_soon(_cancel_after, link.stopping, waiting.cancel_scope)
            await permit.wait(lambda why: link.ready(f"serves nobody yet: {why}"))
            waiting.cancel_scope.cancel()
        if link.stopping.is_set():
            nursery.cancel_scope.cancel()
            return
        link.stages.reached("permitted")
        writer = await trio.to_thread.run_sync(open_writer, config, keys, clock)
        link.stages.reached("log")
        try:
            reader = LogReader(layout.telemetry_log(config), stream="telemetry")
            state = await trio.to_thread.run_sync(recover_state, config, reader)
            link.stages.reached("state")
            server = BrokerServer(
                config.broker,
                linger_ms=config.log.linger_ms,
                writer=writer,
                reader=reader,
                shared_reader=LogReader(layout.telemetry_log(config), stream="telemetry"),
                state=state,
                checkpoint_path=layout.broker_checkpoint(config),
                authenticator=authenticator,
                access=authenticator,
                policy=policy,
                clock=clock,
                tls=contexts,
                control_path=layout.broker_socket(config),
                version=VERSION,
                own_names=certificate.names,
                on_revoke=credentials.revoke,
                credentials=lambda: dataclasses.asdict(credentials.statistics()),
                site=site_nodes(config, keys.node_id.hex()),
                believed=open_believed_time(layout.clock_file(config), clock),
                tracer=Tracer(
                    sample_ratio=config.tracing.sample_ratio, per_second_max=config.tracing.per_second_max
                ),
            )
            async with trio.open_nursery() as serving:
                ports: Ports = await serving.start(server.run)
                _log.info(
                    "the broker serves",
                    tcp_port=ports.tcp,
                    tls_port=ports.tls,
                    ws_port=ports.ws,
                    wss_port=ports.wss,
                    head=writer.head.next_seq,
                )
                await link.ready(_status(ports))
                async with trio.open_nursery() as until:
                    until.start_soon(_cancel_after, link.stopping, until.cancel_scope)
                    until.start_soon(permit.watch)
                    until.start_soon(_cancel_after, permit.withdrawn, until.cancel_scope)
                server.drain()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(close_writer, writer)
            credentials.close()
        nursery.cancel_scope.cancel()


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _status(ports: Ports) -> str:
    """Where the broker listens, for `systemctl status`."""
    web = [
        f"over {name} on {port}" for name, port in (("ws", ports.ws), ("wss", ports.wss)) if port is not None
    ]
    return ", ".join([f"MQTT on port {ports.tcp or 'off'}", f"over TLS on {ports.tls or 'off'}", *web])


def main() -> int:
    """Run the process; returns its exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return run_process("broker", serve)


if __name__ == "__main__":
    sys.exit(main())
