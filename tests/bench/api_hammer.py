"""A program that asks the API without a pause over several connections, as a badly written one does.

Usage: python -m tests.bench.api_hammer PORT CONNECTIONS TARGET < TOKEN; until standard input ends after the first line.
Prints a JSON object: answers by status.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import threading
from collections import Counter


def main(port: int, connections: int, target: str) -> None:
    token = sys.stdin.readline().strip()
    counts: Counter[int] = Counter()
    ended = threading.Event()

    def ask() -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the box's own certificate, over loopback
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
        while not ended.is_set():
            connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            response.read()
            counts[response.status] += 1
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join(60)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
