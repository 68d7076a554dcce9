"""Firmware over HTTPS: who may, from which byte on, at which pace."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from appliance.core.errors import HomeportError, StorageError, Unavailable
from appliance.core.limits import KIB
from appliance.core.limits_delivery import DOWNLOAD_PER_DEVICE_COUNT_MAX
from appliance.device_port.dl import Downloads
from appliance.device_port.doorkeeper import Doorkeeper
from appliance.device_port.messages import Request, Response, Routes, error_response
from appliance.identity.keys import new_token
from appliance.updates.budget import Claim
from appliance.updates.signed_urls import SignedUrls
from tests.acts import ACT
from tests.ca_kit import INSTALLER, Site, make_csr, site
from tests.delivery_kit import IMAGE, SHA256, Scene, add_execution, scene, set_execution


class Port:
    """The routes of downloads, asked without sockets."""

    def __init__(self, here: Site, there: Scene) -> None:
        self.here = here
        self.there = there
        self.urls = SignedUrls(here.keys, clock=here.clock, base="https://box")
        keeper = Doorkeeper(here.catalog, here.keys, clock=here.clock, waits=False)
        self.downloads = Downloads(there.delivery, keeper, self.urls)
        self.routes = Routes(self.downloads.routes())
        self.token = ""

    async def ask(
        self, url: str = f"/dl/{SHA256}", method: str = "GET", *, signed: bool = False, **headers: str
    ) -> Response:
        if signed:
            url = self.urls.url("pump", SHA256, base="")
        elif "authorization" not in headers:
            headers["authorization"] = "Basic " + b64encode(f"pump:{self.token}".encode()).decode()
        parts = urlsplit(url)
        route, names = self.routes.find(method, parts.path)
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        request = Request(
            method=method, path=parts.path, query=parts.query, names=names, headers=named, address="192.0.2.9"
        )
        try:
            return await route.handler(request)
        except HomeportError as error:
            return error_response(error)


@asynccontextmanager
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    async with site(tmp_path) as here:
        there = await scene(here.catalog, here.clock)
        await here.add_device("pump")
        await add_execution(here.catalog, "pump")
        made = Port(here, there)
        made.token = new_token()
        token_hash = here.keys.token_hash(made.token.encode())
        await here.catalog.write(lambda catalog: catalog.set_token("pump", token_hash), by=ACT)
        yield made


async def body_of(answer: Response) -> bytes:
    assert answer.pieces is not None, answer.body
    async with aclosing(answer.pieces):
        body = b"".join([piece async for piece in answer.pieces])
    assert len(body) == answer.length_bytes
    return body


def header(answer: Response, name: str) -> str:
    return dict(answer.headers)[name]


async def test_the_whole_file(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        answer = await door.ask()
        assert answer.status == 200
        assert header(answer, "etag") == f'"{SHA256}"'
        assert header(answer, "accept-ranges") == "bytes"
        assert header(answer, "content-disposition") == 'attachment; filename="pump_2.0.0.bin"'
        assert await body_of(answer) == IMAGE
        assert door.there.delivery.statistics().sent_bytes == {"https": len(IMAGE)}
        assert door.there.progress.noted[-1] == ("pump", "e-pump", len(IMAGE), len(IMAGE))
        assert door.downloads.running == 0


@pytest.mark.parametrize("at", [0, 1, 65_536, 65_537, len(IMAGE) - 1])
async def test_it_goes_on_at_any_byte(tmp_path: Path, at: int) -> None:
    async with port(tmp_path) as door:
        answer = await door.ask(range=f"bytes={at}-", if_range=f'"{SHA256}"')
        assert answer.status == 206
        assert header(answer, "content-range") == f"bytes {at}-{len(IMAGE) - 1}/{len(IMAGE)}"
        assert await body_of(answer) == IMAGE[at:]


async def test_parts_of_it(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        assert await body_of(await door.ask(range="bytes=5-9")) == IMAGE[5:10]
        assert await body_of(await door.ask(range="bytes=-7")) == b"the end"
        beyond = await door.ask(range=f"bytes={len(IMAGE)}-")
        assert (beyond.status, header(beyond, "content-range")) == (416, f"bytes */{len(IMAGE)}")
        several = await door.ask(range="bytes=0-1,5-6")
        assert (several.status, await body_of(several)) == (200, IMAGE)


@pytest.mark.parametrize("tag", [f'"{"0" * 64}"', f'W/"{SHA256}"', "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_what_the_device_has_is_of_another_file(tmp_path: Path, tag: str) -> None:
    async with port(tmp_path) as door:
        answer = await door.ask(range="bytes=5-9", if_range=tag)
        assert (answer.status, await body_of(answer)) == (200, IMAGE)


async def test_head_is_about_the_same(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        answer = await door.ask(method="HEAD")
        assert (answer.status, answer.length_bytes) == (200, len(IMAGE))
        assert header(answer, "etag") == f'"{SHA256}"'


async def test_an_address_that_was_signed_needs_nothing_else(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        assert await body_of(await door.ask(signed=True)) == IMAGE
        url = door.urls.url("pump", SHA256, base="")
        changed = await door.ask(url.replace("d=pump", "d=fan"), authorization="")
        assert (changed.status, header(changed, "homeport-code")) == (403, "url_invalid")


async def test_a_certificate_does(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        issued = await door.here.issuing.issue(make_csr(), "pump", "est", INSTALLER)
        route, names = door.routes.find("GET", f"/dl/{SHA256}")
        request = Request(method="GET", path="", names=names, certificate=issued.certificate)
        assert await body_of(await route.handler(request)) == IMAGE


async def test_a_token_without_a_name_says_it_in_the_address(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        answer = await door.ask(f"/dl/{SHA256}?d=pump", authorization=f"TargetToken {door.token}")
        assert await body_of(answer) == IMAGE
        assert (await door.ask(authorization=f"TargetToken {door.token}")).status == 401


async def test_who_may_not_is_told_why(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        assert (await door.ask(authorization="")).status == 401
        assert (await door.ask(authorization="Basic " + b64encode(b"pump:wrong").decode())).status == 401
        other = await door.ask(f"/dl/{'0' * 64}")
        assert (other.status, header(other, "homeport-code")) == (403, "not_for_this_device")
        await set_execution(door.here.catalog, "e-pump", state="paused")
        paused = await door.ask()
        assert (paused.status, header(paused, "retry-after")) == (503, "60")


async def test_a_pause_ends_it_in_its_middle(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        answer = await door.ask()
        assert answer.pieces is not None
        received = len(await anext(answer.pieces))
        await set_execution(door.here.catalog, "e-pump", state="paused")
        door.here.clock.advance(2000)
        while received < 64 * KIB:
            received += len(await anext(answer.pieces))
        with pytest.raises(HomeportError) as caught:
            await anext(answer.pieces)
        assert caught.value.code == "delivery_paused"
        assert door.downloads.running == 0


async def test_a_disk_that_fails_ends_it(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        answer = await door.ask()
        door.there.blobs.by_name[SHA256].fails = StorageError("It failed.", code="artifact_damaged")
        with pytest.raises(StorageError):
            await body_of(answer)
        assert door.downloads.running == 0


async def test_a_device_has_few_at_once(tmp_path: Path) -> None:
    async with port(tmp_path) as door:
        begun = [await door.ask() for _ in range(DOWNLOAD_PER_DEVICE_COUNT_MAX)]
        for each in begun:
            assert each.pieces is not None
            await anext(each.pieces)
        refused = await door.ask()
        assert (refused.status, header(refused, "homeport-code")) == (429, "download_places")
        assert (await door.ask(method="HEAD")).status == 200
        for each in begun:
            assert each.pieces is not None
            await each.pieces.aclose()
        assert await body_of(await door.ask()) == IMAGE


async def test_a_download_keeps_its_place_until_its_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def take(claim: Claim, want_bytes: int, least_bytes: int) -> int:
        asked.append((claim.address, want_bytes, least_bytes))
        if len(asked) % 3:
            raise Unavailable("Others have it.", code="budget_turn")
        return least_bytes

    async with port(tmp_path) as door:
        monkeypatch.setattr(door.there.budgets, "take", take)
        assert await body_of(await door.ask()) == IMAGE
        assert len(asked) == 3 * (len(IMAGE) // (16 * KIB) + 1)
        assert asked[0] == ("192.0.2.9", 64 * KIB, 16 * KIB)


async def test_another_thing_that_is_away_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def take(claim: Claim, want_bytes: int, least_bytes: int) -> int:
        raise Unavailable("Away.", code="away")

    async with port(tmp_path) as door:
        monkeypatch.setattr(door.there.budgets, "take", take)
        with pytest.raises(Unavailable):
            await body_of(await door.ask())
