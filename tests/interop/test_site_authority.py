"""Devices that nobody here wrote know every box of a site by one file, also on the way from boxes that signed their certificates themselves."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from storage.log.columns import Kind
from tests.broker_kit import Running, running_broker
from tests.ca_kit import sign_by_itself
from tests.interop.clients import Client, Message, Target, every_client

CLIENTS = [client for client in every_client() if client.name in ("mosquitto-tools", "paho")]
assert len(CLIENTS) == 2


def box(folder: Path, *, is_old: bool = False) -> Path:
    """The folder of a box of the site."""
    (folder / "identity").mkdir(mode=0o700, parents=True)
    key = folder / "identity" / "site.key"
    key.write_text("5a" * 32)
    key.chmod(0o600)
    if is_old:
        sign_by_itself(folder)
    return folder


async def publish(client: Client, broker: Running, trusted: Path, topic: str, folder: Path) -> None:
    target = Target(
        host="127.0.0.1",
        port=broker.tls_port or 0,
        tls=True,
        ca_file=str(trusted),
        version=client.versions[-1],
        username="dev-1",
        password="token",
        client_id=f"{client.name}-{topic.rpartition('/')[2]}",
    )
    await trio.to_thread.run_sync(client.publish, target, [Message(topic, b"21.5", 1)], 1, folder)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
async def test_one_file_is_enough_for_every_box(tmp_path: Path, client: Client) -> None:
    async with AsyncExitStack() as stack:
        old, new, stranger = [
            await stack.enter_async_context(running_broker(folder, with_tls=True))
            for folder in (box(tmp_path / "old", is_old=True), box(tmp_path / "new"), tmp_path / "stranger")
        ]
        for named, broker in (("old", old), ("new", new)):
            assert broker.certificate is not None
            # What a device got from the new box knows the new one; from the old one, both, before and after the switch.
            trusted = tmp_path / f"{named}.pem"
            shutil.copyfile(broker.certificate, trusted)
            for reached in (old, new) if named == "old" else (new,):
                await publish(client, reached, trusted, f"dm/dev-1/{named}", tmp_path)
        assert [topic for *_, topic, _ in old.records(Kind.PUBLISH)] == [b"dm/dev-1/old"]
        assert [topic for *_, topic, _ in new.records(Kind.PUBLISH)] == [b"dm/dev-1/old", b"dm/dev-1/new"]
        with pytest.raises(AssertionError, match=r"(?i)certificate|verify|TLS"):
            await publish(client, stranger, tmp_path / "old.pem", "dm/dev-1/stranger", tmp_path)
        assert not stranger.records(Kind.PUBLISH)
