"""What stands between clients and a machine that crashes: a network that waits for it, and brings nothing from beyond a power cut."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

PIECE_BYTES = 65_536
CONNECT_DEADLINE_S = 30.0


class Relay:
    """Passes bytes between clients and a broker; those of the broker only while `confirm` raises no OSError.

    So a client that knows nothing of the cut hears no acknowledgement whose sync was cut short (`CuttableDisk.is_alive`).

    A client that connects while the broker is away waits here. With a connect refused twice in a row, paho (2.1, 2.2) forgets which
    PUBRECs it has had, and publishes those messages anew without DUP, which the broker tells from new ones by their content alone.
    """

    def __init__(self, broker_port: int, confirm: Callable[[], object] = lambda: None) -> None:
        self._broker_port = broker_port
        self._confirm = confirm
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def close(self) -> None:
        # A thread in accept() is only woken by this; close() alone leaves it there.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # Closed.
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        deadline_s = time.monotonic() + CONNECT_DEADLINE_S
        while True:
            try:
                broker = socket.create_connection(("127.0.0.1", self._broker_port))
                break
            except OSError:
                if time.monotonic() > deadline_s:
                    client.close()
                    return
                time.sleep(0.02)
        for each in (client, broker):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, broker:
            back = threading.Thread(target=_pass_on, args=(client, broker, lambda: None), daemon=True)
            back.start()
            _pass_on(broker, client, self._confirm)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket, confirm: Callable[[], object]) -> None:
    """Until either side has ended, or what came must not be told; then both end."""
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            confirm()
            sink.sendall(piece)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
