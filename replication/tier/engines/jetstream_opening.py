"""From `nats://HOST:PORT,HOST:PORT/PREFIX` to the engine: who signs in, TLS, and whether the servers are fit. For trio.

replicas=3           copies of each message; 1 only where the operator says so: one disk is no cluster
sync=trust           the servers' `sync_interval: always` is not looked at: the operator vouches for it
ca_file=PATH         of the authority that signed the servers' certificates, for tls://
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from appliance.core.limits_jetstream import NATS_LOOK_ANSWER_S, NATS_LOOK_COUNT_MAX
from replication.tier.engine import Engine, Opening, TierUnfit
from replication.tier.engines.address import Address
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.jetstream import JetStream
from replication.tier.engines.jetstream_access import access_of
from replication.tier.engines.jetstream_calls import STREAM_GONE, Calls, code_of
from replication.tier.engines.jetstream_connection import Address as Server
from replication.tier.engines.jetstream_connection import Connection
from replication.tier.engines.jetstream_fitness import (
    REPLICAS,
    check_server,
    check_stream,
    check_synced,
    members_of,
    stream_config,
    unseen,
)
from replication.tier.engines.jetstream_names import PREFIX
from replication.tier.engines.jetstream_wire import Message

PORT: Final = 4222
_VARZ: Final = "$SYS.REQ.SERVER.PING.VARZ"
_IN_USE: Final = 10058
"""Somebody else made the stream just now, or with other settings."""


def jetstream(address: Address, credentials: Credentials) -> Opening:
    """What connects to the cluster at an address.

    Raises:
        ConfigError: address or credentials can't be used.
    """
    replicas, sync, ca_file = address.take("replicas", "sync", "ca_file")
    if PREFIX.match(address.path) is None:
        raise address.refused(
            "a stream can't be called so",
            "After the servers stands one name of letters, digits, - and _: nats://HOST/homeport.",
        )
    if replicas not in ("", "1", "3", "5"):
        raise address.refused("replicas is 1, 3 or 5", "Leave it out: 3 is right.")
    if sync not in ("", "trust"):
        raise address.refused("sync can only be trust", "Leave it out: then the servers are asked.")
    if address.user:
        raise address.refused("it has a user", "Put user and password into the file of credentials.")
    tls = _tls(address, ca_file)
    servers = [_server(host, tls) for host in address.hosts]
    access = access_of(credentials)
    look_access = access_of(credentials, "system_")
    wanted = int(replicas or REPLICAS)

    @asynccontextmanager
    async def connected() -> AsyncIterator[Engine]:
        calls = Calls(address.path, servers, access, lambda connection: check_server(connection.info))
        look_calls = Calls(address.path, servers, look_access, lambda _: None)

        async def look() -> None:
            info = await _stream(calls, wanted)
            if sync == "trust":
                return
            if not look_access.is_anybody:
                raise unseen()
            check_synced(await _settings(look_calls, members_of(info)), members_of(info))

        try:
            await look()
            yield JetStream(calls, look)
        finally:
            await calls.aclose()
            await look_calls.aclose()

    return connected


async def _stream(calls: Calls, replicas: int) -> Mapping[str, Any]:
    """What the servers say of the stream, which is made where there is none."""
    answer = await calls.api(f"STREAM.INFO.{calls.stream}")
    if code_of(answer) == STREAM_GONE:
        answer = await calls.api(f"STREAM.CREATE.{calls.stream}", stream_config(calls.stream, replicas))
        if code_of(answer) == _IN_USE:
            answer = await calls.api(f"STREAM.INFO.{calls.stream}")
    if code_of(answer):
        raise TierUnfit(
            f"JetStream has no stream {calls.stream} for copies: {answer['error'].get('description', '')}.",
            hint="docs/CLOUD.md says what the user must be allowed to do, and which settings the servers need.",
        )
    check_stream(answer.get("config") or {}, calls.stream, replicas)
    return answer


async def _settings(calls: Calls, members: tuple[str, ...]) -> list[dict[str, Any]]:
    """What each server says of its settings, as far as they answer."""
    waiting = set(members)

    def is_last(message: Message) -> bool:
        waiting.discard(str((_values(message).get("server") or {}).get("name", "")))
        return not waiting

    async def ask(connection: Connection) -> list[dict[str, Any]]:
        waiting.update(members)
        answers = await connection.ask_many(
            _VARZ, b"", is_last, count_max=NATS_LOOK_COUNT_MAX, answer_s=NATS_LOOK_ANSWER_S
        )
        return [_values(each) for each in answers]

    return await calls.call(ask)


def _values(message: Message) -> dict[str, Any]:
    try:
        values = json.loads(message.data)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _server(host: str, tls: ssl.SSLContext | None) -> Server:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, str(PORT)
    return Server(host=name.strip("[]"), port=int(port), tls=tls)


def _tls(address: Address, ca_file: str) -> ssl.SSLContext | None:
    if address.scheme != "tls":
        if ca_file:
            raise address.refused("ca_file is for tls://", "Write tls:// in place of nats://.")
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise address.refused(f"its ca_file can't be read ({error})", "Correct its path.") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
