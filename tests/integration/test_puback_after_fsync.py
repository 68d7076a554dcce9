"""PUBACK means on disk: no byte of one leaves before the fdatasync that covers its record has returned.

Two views of it. In this process the log's `append` is slow, and says itself which records it has finished with when a
PUBACK arrives. In a real broker process strace writes down every write, fdatasync and send in the order in which the
kernel saw them, and each PUBACK is looked up in that order. Killing a process proves neither: the page cache survives.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from device_fw_sim.load import Credential
from storage.log.columns import Kind, decode_columns
from storage.log.head import Head
from tests.broker_kit import Peer, Running, running_broker
from tests.interop.brokers import provision
from tests.ports import free_port
from tests.processes import children_of
from tests.protocol import builder

DEADLINE_S = 60.0
MARKER = re.compile(rb"<(\d+):(\d+)>")


def marker(client: int, packet_id: int) -> bytes:
    """A payload that says whose PUBACK it waits for."""
    return b"<%d:%d>" % (client, packet_id)


# --- in this process: a slow log ---------------------------------------------------------------------------


@dataclass
class Witness:
    """Stands between the broker and its log, and knows which records `append` has returned for."""

    running: Running
    delay_s: float = 0.0
    on_disk: set[bytes] = field(default_factory=set)
    blocks: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = self.running.writer.append

        def append(body: bytes, record_count: int, first_ms: int, last_ms: int) -> Head:
            assert self.gate.wait(DEADLINE_S)
            time.sleep(self.delay_s)
            head = real(body, record_count, first_ms, last_ms)
            columns = decode_columns(body)
            self.on_disk |= {columns.payload(index) for index in columns.of_kind(Kind.PUBLISH)}
            self.blocks += 1
            return head

        self.gate.set()
        monkeypatch.setattr(self.running.writer, "append", append)


async def test_nothing_before_append_has_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty connections, many blocks: whenever a PUBACK arrives, `append` has returned for its record."""
    async with running_broker(tmp_path, with_tls=True) as running:
        # Longer than a turn of the data plane lasts while the disk works: clients run before `append` returns.
        witness = Witness(running, delay_s=0.01)
        witness.install(monkeypatch)
        peers: list[Peer] = []
        for number in range(20):
            peer = await (running.open_tls() if number % 4 == 0 else running.open(version=4 + number % 2))
            await peer.connect(f"c{number}")
            peers.append(peer)

        async def publish(number: int, peer: Peer) -> None:
            window = number % 5 + 1
            for first in range(1, 40, window):
                ids = range(first, first + window)
                await peer.send(*(peer.publish_packet("t", marker(number, i), packet_id=i) for i in ids))
                for packet_id in ids:
                    assert (await peer.expect(builder.PUBACK)).packet_id == packet_id
                    assert marker(number, packet_id) in witness.on_disk

        async with trio.open_nursery() as nursery:
            for number, peer in enumerate(peers):
                nursery.start_soon(publish, number, peer)
        assert witness.blocks >= 40


async def test_nothing_while_append_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_broker(tmp_path) as running:
        peers = [await running.connect(f"c{number}") for number in range(10)]
        witness = Witness(running)
        witness.install(monkeypatch)
        witness.gate.clear()
        for number, peer in enumerate(peers):
            await peer.send(peer.publish_packet("t", marker(number, 1)))
        await running.wait_until(lambda: running.statistics()["plane"]["received_messages"] == 10)
        heard: list[Any] = []

        async def listen(peer: Peer) -> None:
            heard.append(await peer.packet())

        with trio.move_on_after(0.3):
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(listen, peer)
        assert heard == []
        witness.gate.set()
        for peer in peers:
            await peer.expect(builder.PUBACK)


# --- a real process: what the kernel saw -------------------------------------------------------------------

CALLS = "fdatasync,fsync,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg"
LINE = re.compile(r"^(\d+) +([\d.]+) (.*)$")
CALL = re.compile(r"^(\w+)\((\d+)<(.*?)>(?=[,)]| <unfinished)")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class Trace:
    """What strace wrote, read once from front to back.

    A line stands where its call began. Where another thread's call came in between it is cut in two, and the second
    half stands where the call returned; where nothing came in between, nothing can have come in between.
    """

    port: int
    is_tls: bool = False
    written: dict[str, set[bytes]] = field(default_factory=dict)
    """By file: payloads written to it that no fdatasync was asked for yet."""
    syncing: dict[str, tuple[str, set[bytes]]] = field(default_factory=dict)
    """By thread: the file that is being synced, and what had been written when the call began."""
    on_disk: set[bytes] = field(default_factory=set)
    sync_count: int = 0
    acknowledged: list[bytes] = field(default_factory=list)
    too_early: list[bytes] = field(default_factory=list)
    sends: dict[str, int] = field(default_factory=dict)
    """TLS: application data records by connection; the first is CONNACK, the others are PUBACKs in order."""
    clients: dict[str, int] = field(default_factory=dict)
    """TLS: which client has which connection."""

    def read(self, text: str) -> Trace:
        for line in text.splitlines():
            parts = LINE.match(line)
            if parts is None:
                continue
            thread, _, rest = parts.groups()
            resumed = RESUMED.match(rest)
            if resumed is not None:
                self._returned(thread, resumed[1])
                continue
            call = CALL.match(rest)
            if call is None:
                continue
            name, _, target = call.groups()
            data = b"".join(bytes.fromhex(s.replace("\\x", "")) for s in STRING.findall(rest))
            self._began(thread, name, target, data)
            if "<unfinished ...>" not in rest:
                self._returned(thread, name)
        return self

    def _began(self, thread: str, name: str, target: str, data: bytes) -> None:
        if name in ("fdatasync", "fsync"):
            self.syncing[thread] = (target, self.written.pop(target, set()))
        elif name in ("sendto", "sendmsg", "write", "writev") and f":{self.port}->" in target:
            self._sent(target, data)
        else:
            self.written.setdefault(target, set()).update(m[0] for m in MARKER.finditer(data))

    def _returned(self, thread: str, name: str) -> None:
        if name in ("fdatasync", "fsync"):
            _, payloads = self.syncing.pop(thread)
            self.on_disk |= payloads
            self.sync_count += bool(payloads)

    def _sent(self, connection: str, data: bytes) -> None:
        peer = connection.partition("->")[2].rstrip("]")
        if self.is_tls:
            while data:
                kind, size = data[0], int.from_bytes(data[3:5], "big")
                if kind == 0x17:
                    count = self.sends[peer] = self.sends.get(peer, 0) + 1
                    if count > 1:
                        self._acknowledge(marker(self.clients[peer], count - 1))
                data = data[5 + size :]
            return
        while data[:2] == b"\x40\x02":
            self._acknowledge(marker(self.clients[peer], int.from_bytes(data[2:4], "big")))
            data = data[4:]
        assert not data or data[0] == 0x20, "neither CONNACK nor PUBACK"

    def _acknowledge(self, payload: bytes) -> None:
        self.acknowledged.append(payload)
        if payload not in self.on_disk:
            self.too_early.append(payload)


def hexed(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def trace_of(*lines: str) -> str:
    return "\n".join(f"{line.partition(' ')[0]} 1.0 {line.partition(' ')[2]}" for line in lines)


WRITE = f'7 pwritev(5</log/x.open>, [{{iov_base="{hexed(b"..<1:9>..")}", iov_len=9}}], 1, 4096) = 9'
SYNC = "7 fdatasync(5</log/x.open>) = 0"
SEND = f'6 sendto(9<TCP:[127.0.0.1:1883->127.0.0.1:5]>, "{hexed(builder.ack(0x40, 9))}", 4, 0, NULL, 0) = 4'


@pytest.mark.parametrize(
    ("lines", "is_fine"),
    [
        ((WRITE, SYNC, SEND), True),
        ((WRITE, SEND, SYNC), False),
        ((SYNC, WRITE, SEND), False),
        ((WRITE, "7 fdatasync(5</log/x.open> <unfinished ...>", SEND, "7 <... fdatasync resumed>) = 0"), False),
        ((WRITE, "7 fdatasync(5</log/x.open> <unfinished ...>", "7 <... fdatasync resumed>) = 0", SEND), True),
        (("7 fdatasync(5</log/x.open> <unfinished ...>", WRITE.replace("7", "8", 1), "7 <... fdatasync resumed>) = 0", SEND), False),
        ((WRITE, SYNC.replace("x.open", "y.open"), SEND), False),
    ],
)  # fmt: skip
def test_the_reader_of_traces_itself(lines: tuple[str, ...], is_fine: bool) -> None:
    trace = Trace(port=1883, clients={"127.0.0.1:5": 1}).read(trace_of(*lines))
    assert trace.acknowledged == [marker(1, 9)]
    assert (trace.too_early == []) is is_fine


@contextmanager
def traced_broker(folder: Path) -> Iterator[tuple[int, int, Credential, Path, Path]]:
    """The real broker process under strace: port, TLS port, credential, certificate and the trace's path."""
    assert shutil.which("strace"), "strace is needed: .ci/run installs it"
    port, tls_port = free_port(), free_port()
    config = folder / "homeport.toml"
    config.write_text(
        f"""[node]
data_dir = "{folder / "data"}"
run_dir = "{folder / "run"}"
[log]
compression = "none"
linger_ms = 0
[broker]
tcp_bind = "127.0.0.1:{port}"
tls_bind = "127.0.0.1:{tls_port}"
"""
    )
    (credential,), certificate = provision(config, ("traced",), "site")
    trace_path = folder / "trace.txt"
    output = (folder / "output.txt").open("wb")
    command = [
        "strace",
        "-f",
        "-ttt",
        "-yy",
        "-xx",
        "-s",
        "2000000",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(trace_path),
    ]
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "appliance.run.broker_process"],
        env={**os.environ, "HOMEPORT_CONFIG": str(config)},
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", tls_port), timeout=1).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, (folder / "output.txt").read_text()
                assert time.monotonic() < end, "the broker did not start"
                time.sleep(0.05)
        yield port, tls_port, credential, certificate, trace_path
    finally:
        # strace passes no signal on: its child is told, and strace ends with it.
        for child in children_of(process.pid):
            os.kill(child, signal.SIGTERM)
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            output.close()


def connected(
    port: int, client: int, credential: Credential, context: ssl.SSLContext | None
) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(
        builder.connect(f"c{client}", username=credential.username, password=credential.password.encode())
    )
    assert take(sock, 4) == builder.connack(0, 0)
    return sock


def take(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        assert more, "the broker closed the connection"
        data += more
    return data


def name_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{host}:{port}"


def publish(sock: socket.socket, client: int, count: int, window: int) -> None:
    """Publish with `window` unacknowledged, and wait for every PUBACK."""
    for first in range(1, count + 1, window):
        ids = range(first, min(first + window, count + 1))
        sock.sendall(b"".join(builder.publish("t", marker(client, i), qos=1, packet_id=i) for i in ids))
        expected = b"".join(builder.ack(builder.PUBACK, i) for i in ids)
        assert take(sock, len(expected)) == expected


@pytest.mark.parametrize("is_tls", [False, True], ids=["tcp", "tls"])
def test_the_kernel_saw_each_fdatasync_return_before_its_pubacks(tmp_path: Path, is_tls: bool) -> None:
    clients, count = 8, 40
    with traced_broker(tmp_path) as (port, tls_port, credential, certificate, trace_path):
        context = None
        if is_tls:
            port = tls_port
            context = ssl.create_default_context(cafile=str(certificate))
            context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 parts of the handshake look like data
        socks = [connected(port, client, credential, context) for client in range(clients)]
        # Through TLS a PUBACK can't be read in the trace: with one in flight the n-th record sent is the n-th PUBACK.
        windows = [1] * clients if is_tls else [client + 1 for client in range(clients)]
        threads = [
            threading.Thread(target=publish, args=(sock, client, count, windows[client]))
            for client, sock in enumerate(socks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        names = {name_of(sock): client for client, sock in enumerate(socks)}
        for sock in socks:
            sock.close()
    trace = Trace(port=port, is_tls=is_tls, clients=names).read(trace_path.read_text())
    assert sorted(trace.acknowledged) == sorted(
        marker(client, n) for client in range(clients) for n in range(1, count + 1)
    )
    assert trace.too_early == []
    assert trace.sync_count >= count, "many blocks"
