"""Where notifications may go: private addresses yes; link-local ones, clouds' own and Homeport's own ports no, however they are written."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from appliance.core.errors import Unavailable, UsageError
from appliance.notifications.destinations import Destinations, connect

OWN = ("127.0.0.1", "::1", "192.168.1.5", "fd00::5")


def destinations(*found: str) -> Destinations:
    async def resolve(host: str, port: int) -> list[str]:
        return list(found)

    return Destinations(own_ports={8443}, own_addresses=lambda: OWN, resolve=resolve)


@pytest.mark.parametrize(
    "address", ["192.168.1.7", "10.0.0.1", "127.0.0.1", "8.8.8.8", "fd00::7", "2001:db8::1", "192.168.1.5"]
)
async def test_a_sites_own_machines_may_be_told(address: str) -> None:
    assert await destinations(address).addresses("receiver", 8080) == [address]


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
)
async def test_what_is_no_machine_of_the_site_may_not(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        await destinations(address).addresses("receiver", 80)
    assert caught.value.code == "destination_refused"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "192.168.1.5", "::ffff:192.168.1.5", "fd00::5"]
)
async def test_homeports_own_ports_may_not(address: str) -> None:
    with pytest.raises(UsageError, match="Homeport's own"):
        await destinations(address).addresses("receiver", 8443)
    assert await destinations("192.168.1.6").addresses("receiver", 8443) == ["192.168.1.6"]


async def test_of_several_addresses_those_that_may() -> None:
    assert await destinations("169.254.1.1", "10.0.0.1").addresses("receiver", 80) == ["10.0.0.1"]


async def test_a_name_that_nobody_knows() -> None:
    real = Destinations(own_ports=(), own_addresses=tuple)
    with pytest.raises(Unavailable) as caught:
        await real.addresses("no-such-host.invalid", 80)
    assert caught.value.code == "destination_unknown"
    assert await real.addresses("localhost", 80)


async def test_a_name_server_that_does_not_answer(autojump_clock: MockClock) -> None:
    async def never(host: str, port: int) -> list[str]:
        await trio.sleep_forever()

    with pytest.raises(Unavailable, match="not looked up in time"):
        await Destinations(own_ports=(), own_addresses=tuple, resolve=never).addresses("receiver", 80)


async def test_connecting_goes_to_the_first_that_takes_it() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port: int = listeners[0].socket.getsockname()[1]
        stream = await connect(["127.0.0.2", "127.0.0.1"], port)
        await stream.aclose()
        await listeners[0].aclose()
        with pytest.raises(Unavailable) as caught:
            await connect(["127.0.0.1"], port)
        assert caught.value.code == "destination_silent"
        nursery.cancel_scope.cancel()
