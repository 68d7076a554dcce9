"""The two sides of a storm, each a process: clients that are connected and publish, and thousands that connect at once.

`python -m tests.bench.storm_clients probe|storm`, with options as one line of JSON on standard input.

The probe's clients publish at QoS 1, each one message at a time at a given rate, and note how long each acknowledgement takes; a
line of text on standard input names the phase that begins, and its end ends the probe, which prints percentiles by phase.
The storm's clients all begin at once, and who fails tries again as the device contract says: after a random time of up
to 1 s × 2ⁿ, 5 min at the most.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.protocol import builder

CONNECT_TIMEOUT_S: Final = 20.0
RETRY_S_MAX: Final = 300.0
RECEIVE_BYTES: Final = 65_536
HELD_S: Final = 600.0
"""The storm's clients stay until standard input ends, or for so long."""


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the highest, with how many there were; values in any unit."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    at = {f"p{part}": ordered[min(len(ordered) - 1, len(ordered) * part // 100)] for part in (50, 95, 99)}
    return {"count": len(ordered), **at, "highest": ordered[-1]}


def reach(options: dict[str, Any]) -> socket.socket:
    """A socket that has begun to connect, and does not block."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect_ex((options["host"], options["port"]))
    return sock


def hello(options: dict[str, Any], client_id: str, number: int | None = None) -> bytes:
    """CONNECT, with the credential that all have, or with one's own: a name and its token, or a certificate and nothing else."""
    logins = options.get("logins")
    if number is not None and logins:
        name, token = logins[number]
        return builder.connect(name, keep_alive=600, username=name, password=token.encode())
    if number is not None and options.get("certificates"):
        return builder.connect(client_id, keep_alive=600)
    return builder.connect(
        client_id,
        keep_alive=600,
        username=options["username"],
        password=options["password"].encode(),
    )


def tls_context(options: dict[str, Any]) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=options["ca_file"]) if options["tls"] else None


def own_context(options: dict[str, Any], certificate: str) -> ssl.SSLContext:
    """For a device that has a certificate of its own: key and chain in one file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(options["ca_file"])
    context.load_cert_chain(certificate)
    return context


# --- those who are connected ---------------------------------------------------------------------------------


@dataclass
class Publisher:
    """One connected client; at most one message of it is on its way."""

    sock: socket.socket
    packet: bytes
    due_s: float
    sent_s: float = 0.0
    waiting: bytearray = field(default_factory=bytearray)


def probe(options: dict[str, Any]) -> dict[str, Any]:
    """Publish until standard input ends; percentiles of the acknowledgements' milliseconds by phase."""
    context, interval_s = tls_context(options), 1 / options["rate_per_client"]
    publishers: dict[int, Publisher] = {}
    epoll = select.epoll()
    for number in range(options["count"]):
        sock = socket.create_connection((options["host"], options["port"]), timeout=CONNECT_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname="localhost")
        sock.sendall(hello(options, f"probe-{number}"))
        connack = sock.recv(4)
        if connack[:1] != b"\x20" or connack[3] != 0:
            raise SystemExit(f"the broker said {connack!r} instead of a CONNACK")
        packet = builder.publish(f"dm/probe-{number}/telemetry", b"x" * 64, qos=1, packet_id=1)
        due_s = time.monotonic() + interval_s * number / options["count"]
        publishers[sock.fileno()] = Publisher(sock, packet, due_s)
        epoll.register(sock.fileno(), select.EPOLLIN)
    epoll.register(sys.stdin.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    queue = [(publisher.due_s, fd) for fd, publisher in publishers.items()]
    heapq.heapify(queue)
    took_ms: dict[str, list[float]] = {}
    phase: str | None = None
    while True:
        now_s = time.monotonic()
        while queue and queue[0][0] <= now_s:
            _, fd = heapq.heappop(queue)
            publisher = publishers[fd]
            publisher.sent_s = time.monotonic()
            publisher.sock.sendall(publisher.packet)
        pause_s = max(queue[0][0] - time.monotonic(), 0) if queue else 1.0
        for fd, _ in epoll.poll(pause_s):
            if fd == sys.stdin.fileno():
                phase = sys.stdin.readline().strip()
                if not phase:
                    return {name: percentiles(values) for name, values in took_ms.items()}
                continue
            publisher = publishers[fd]
            publisher.waiting += publisher.sock.recv(RECEIVE_BYTES)
            if len(publisher.waiting) < 4:
                continue
            publisher.waiting.clear()
            done_s = time.monotonic()
            if phase is not None:
                took_ms.setdefault(phase, []).append((done_s - publisher.sent_s) * 1000)
            # The next one is due at its time, or at once where the answer came late; missed ones are not made up for.
            publisher.due_s = max(publisher.due_s + interval_s, done_s)
            heapq.heappush(queue, (publisher.due_s, fd))


# --- those who come at once ----------------------------------------------------------------------------------


@dataclass
class Comer:
    """One of the storm: where it is on its way to CONNACK."""

    number: int
    sock: socket.socket | None = None
    attempts: int = 0
    has_said_hello: bool = False
    has_thought: bool = False
    began_s: float = 0.0


class Storm:
    """Brings all clients in."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._context = tls_context(options)
        self._contexts = [own_context(options, path) for path in options.get("certificates", ())]
        self._epoll = select.epoll()
        self._by_fd: dict[int, Comer] = {}
        self._again: list[tuple[float, int]] = []
        self._thinking: list[tuple[float, int]] = []
        """Small devices that compute their half of the handshake: until when, and who."""
        self._random = random.Random(options["seed"])
        self._comers = [Comer(number) for number in range(options["count"])]
        self.failures: Counter[str] = Counter()
        self.took_s: list[float] = []

    def run(self) -> dict[str, Any]:
        """Until everybody is in.

        Returns:
            Seconds until the last one was in, percentiles of each one's seconds from its first attempt on, and failures.
        """
        began_s = time.monotonic()
        self._again = [(began_s, comer.number) for comer in self._comers]
        for comer in self._comers:
            comer.began_s = began_s
        while len(self.took_s) < len(self._comers):
            now_s = time.monotonic()
            if now_s - began_s > self._options["give_up_s"]:
                break
            # A few at a time, so that answers are read in between.
            for _ in range(200):
                if not self._again or self._again[0][0] > now_s:
                    break
                self._begin(self._comers[heapq.heappop(self._again)[1]])
            while self._thinking and self._thinking[0][0] <= now_s:
                thought = self._comers[heapq.heappop(self._thinking)[1]]
                assert thought.sock is not None
                self._epoll.register(thought.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
            due_s = min((each[0][0] for each in (self._again, self._thinking) if each), default=now_s + 0.1)
            pause_s = min(max(due_s - now_s, 0), 0.1)
            for fd, _ in self._epoll.poll(pause_s):
                if (present := self._by_fd.get(fd)) is not None:
                    self._go_on(present)
        return {
            "served": len(self.took_s),
            "served_s": time.monotonic() - began_s,
            "each_s": percentiles(self.took_s),
            "failures": dict(self.failures),
        }

    def _begin(self, comer: Comer) -> None:
        comer.attempts += 1
        comer.has_said_hello = comer.has_thought = False
        comer.sock = reach(self._options)
        self._by_fd[comer.sock.fileno()] = comer
        self._epoll.register(comer.sock.fileno(), select.EPOLLOUT)

    def _go_on(self, comer: Comer) -> None:
        sock = comer.sock
        assert sock is not None
        if not comer.has_thought and isinstance(sock, ssl.SSLSocket) and self._options["think_s"]:
            # It has said its TLS hello, and the server's answer is there: now it computes.
            comer.has_thought = True
            self._epoll.unregister(sock.fileno())
            heapq.heappush(self._thinking, (time.monotonic() + self._options["think_s"], comer.number))
            return
        try:
            if self._context is not None and not isinstance(sock, ssl.SSLSocket):
                sock.getpeername()  # raises where the connection was refused
                # The same descriptor, so the epoll set goes on watching it.
                context = self._contexts[comer.number] if self._contexts else self._context
                sock = comer.sock = context.wrap_socket(
                    sock, server_hostname="localhost", do_handshake_on_connect=False
                )
            if not comer.has_said_hello:
                if isinstance(sock, ssl.SSLSocket):
                    sock.do_handshake()
                sock.send(hello(self._options, f"storm-{comer.number}", comer.number))
                comer.has_said_hello = True
                self._epoll.modify(sock.fileno(), select.EPOLLIN)
                return
            data = sock.recv(RECEIVE_BYTES)
        except ssl.SSLWantReadError:
            self._epoll.modify(sock.fileno(), select.EPOLLIN)
            return
        except ssl.SSLWantWriteError:
            self._epoll.modify(sock.fileno(), select.EPOLLOUT)
            return
        except OSError as error:
            self._failed(comer, type(error).__name__)
            return
        if data[:1] == b"\x20" and data[3] == 0:
            self.took_s.append(time.monotonic() - comer.began_s)
            self._epoll.unregister(sock.fileno())
            del self._by_fd[sock.fileno()]
        else:
            self._failed(comer, f"CONNACK {data[3]}" if data else "closed")

    def _failed(self, comer: Comer, why: str) -> None:
        assert comer.sock is not None
        self.failures[why] += 1
        self._epoll.unregister(comer.sock.fileno())
        del self._by_fd[comer.sock.fileno()]
        comer.sock.close()
        pause_s = self._random.uniform(0, min(RETRY_S_MAX, 2.0**comer.attempts))
        heapq.heappush(self._again, (time.monotonic() + pause_s, comer.number))


def main(kind: str) -> None:
    options = json.loads(sys.stdin.readline())
    if kind == "probe":
        print(json.dumps(probe(options)), flush=True)
        return
    storm = Storm(options)
    print(json.dumps(storm.run()), flush=True)
    select.select([sys.stdin], [], [], HELD_S)


if __name__ == "__main__":
    main(sys.argv[1])
