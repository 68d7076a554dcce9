"""Connecting to real servers: who may, and which clusters are refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from appliance.core.errors import ConfigError
from replication.tier.engine import Engine, TierAway, TierUnfit
from replication.tier.engines import jetstream_calls, jetstream_opening
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.jetstream import JetStream
from replication.tier.engines.jetstream_access import access_of
from replication.tier.engines.opening import opening
from replication.tier.pieces import Piece
from tests.nats_kit import (
    LOOK_PASSWORD,
    LOOK_USER,
    PASSWORD,
    USER,
    Cluster,
    Settings,
    credentials,
    nats_cluster,
)
from tests.tier_kit import STREAM, piece_after
from tests.unit.test_replication_tier_engines_jetstream_access import PUBLIC, SEED

ONE = {"replicas": "1"}
LOOK = {"system_user": LOOK_USER, "system_password": LOOK_PASSWORD}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One server that syncs, with an account that has no JetStream and a user who may do nothing."""
    settings = Settings(
        users=f'{{user: {USER}, password: "{PASSWORD}"}}, {{nkey: {PUBLIC}}}, {{user: poor, password: p, permissions {{publish: [a], subscribe: ["_INBOX.>"]}}}}, {{user: deaf, password: p, permissions {{subscribe: [a]}}}}',
        accounts="NONE { users: [{user: none, password: p}] }",
    )
    with nats_cluster(tmp_path_factory.mktemp("nats"), count=1, settings=settings) as cluster:
        yield cluster


async def refused(cluster: Cluster, given: Credentials, **options: str) -> TierUnfit:
    with pytest.raises(TierUnfit) as caught:
        async with opening(cluster.url(**options), given)():
            pass
    assert caught.value.hint
    assert PASSWORD not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("nats://host", "a stream can't be called so"),
        ("nats://host/a/b", "a stream can't be called so"),
        ("nats://host/a.b", "a stream can't be called so"),
        ("nats://host/a?replicas=2", "replicas"),
        ("nats://host/a?sync=always", "sync"),
        ("nats://host/a?x=1", "option"),
        ("nats://me@host/a", "has a user"),
        ("nats://host/a?ca_file=/x", "ca_file is for tls"),
        ("tls://host/a?ca_file=/does/not/exist", "can't be read"),
    ],
)
def test_an_address_that_is_wrong(address: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        opening(address, Credentials())


def test_hosts_with_and_without_a_port() -> None:
    made = [jetstream_opening._server(host, None) for host in ("a", "a:1", "[::1]", "[::1]:2")]
    assert [(each.host, each.port) for each in made] == [("a", 4222), ("a", 1), ("::1", 4222), ("::1", 2)]


async def test_an_nkey_gets_in_and_what_was_done_is_counted(server: Cluster) -> None:
    async with opening(server.url(**ONE), Credentials({"nkey_seed": SEED, **LOOK}))() as engine:
        assert isinstance(engine, JetStream)
        piece = piece_after(None)
        await engine.put(piece)
        assert await engine.get(piece.name) == piece.data
        await engine.remove(piece.name)
        seen = engine.statistics()
        assert (seen.requests["put"], seen.requests["remove"], seen.failed_count) == (1, 1, 0)
        assert (seen.put_bytes, seen.got_bytes) == (len(piece.data), len(piece.data))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"user": USER, "password": "wrong"}, "does not let this user in"),
        ({}, "does not let this user in"),
        ({"user": "none", "password": "p"}, "no stream homeport for copies: JetStream not enabled"),
        ({"user": "poor", "password": "p"}, "right is missing"),
        ({"user": "deaf", "password": "p"}, "right is missing"),
    ],
)
async def test_who_may_not_is_told(server: Cluster, given: dict[str, str], word: str) -> None:
    assert word in (await refused(server, Credentials(given | LOOK), **ONE)).message


async def test_what_nobody_can_see_is_refused_unless_the_operator_vouches(server: Cluster) -> None:
    assert "Nobody here can see" in (await refused(server, credentials(look=False), **ONE)).message
    blind = {"user": USER, "password": PASSWORD, "system_user": USER, "system_password": PASSWORD}
    assert "Of 1 NATS servers" in (await refused(server, Credentials(blind), **ONE)).message
    async with opening(server.url(sync="trust", **ONE), credentials(look=False))() as engine:
        assert await engine.last(STREAM, 1) is None


async def test_one_disk_is_no_cluster_unless_somebody_says_so(server: Cluster) -> None:
    alone = await refused(server, credentials())
    assert "replicas > 1 not supported" in alone.message or "has 1 copies and not 3" in alone.message


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (Settings(sync=""), "n1 acknowledges before its disk has it"),
        (Settings(sync="1s"), "n1 acknowledges before its disk has it"),
        (Settings(max_payload="1MB"), "takes messages of 1048576 bytes at most"),
    ],
)
async def test_servers_with_other_settings_are_refused(tmp_path: Path, settings: Settings, word: str) -> None:
    with nats_cluster(tmp_path, count=1, settings=settings) as cluster:
        assert word in (await refused(cluster, credentials(), **ONE)).message


async def test_a_stream_that_somebody_made_otherwise_is_refused(server: Cluster) -> None:
    async with opening(server.url("other", **ONE), credentials())():
        pass
    calls = jetstream_calls.Calls(
        "other",
        [jetstream_opening._server(server.hosts, None)],
        access_of(credentials()),
        lambda _: None,
    )
    config = (await calls.api("STREAM.INFO.other"))["config"]
    assert "error" not in await calls.api("STREAM.UPDATE.other", config | {"max_age": 10**12})
    await calls.aclose()
    with pytest.raises(TierUnfit, match="removes what is old"):
        async with opening(server.url("other", **ONE), credentials())():
            pass


async def test_tls_and_a_certificate_that_is_not_to_be_trusted(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    await trio.run_process(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=nats",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        capture_stdout=True, capture_stderr=True,
    )  # fmt: skip
    settings = Settings(extra=f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}')
    with nats_cluster(tmp_path, count=1, settings=settings) as cluster:
        piece = piece_after(None, frames=bytes(200_000))
        async with opening(
            cluster.url(scheme="tls", ca_file=str(certificate), **ONE), credentials()
        )() as engine:
            await engine.put(piece)
            assert await engine.get(piece.name) == piece.data
        assert "wants TLS" in (await refused(cluster, credentials(), **ONE)).message
        with pytest.raises(TierUnfit, match="not to be trusted: self-signed"):
            async with opening(cluster.url(scheme="tls", **ONE), credentials())():
                pass


async def test_a_server_that_comes_back_with_other_settings_is_refused(tmp_path: Path) -> None:
    """A look when connecting is not enough: servers are started again, and not always as they were."""
    with nats_cluster(tmp_path, count=1) as cluster, ExitStack() as stack:
        first = piece_after(None)
        async with opening(cluster.url(**ONE), credentials())() as engine:
            await engine.put(first)
            cluster.kill()
            config = cluster.servers[0].config
            config.write_text(config.read_text().replace("sync_interval: always", ""))
            stack.callback(cluster.kill)
            cluster.start()
            with trio.fail_after(60), pytest.raises(TierUnfit, match="acknowledges before"):
                await _put_when_there(engine, piece_after(first.name))


async def _put_when_there(engine: Engine, piece: Piece) -> None:
    while True:
        try:
            return await engine.put(piece)
        except TierAway:
            await trio.sleep(0.1)
