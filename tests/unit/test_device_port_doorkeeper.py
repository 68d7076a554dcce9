"""Who asks on the devices' port, and what each is told."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.errors import Conflict, HomeportError, LimitExceeded, NotAuthorized, UsageError
from appliance.core.limits import CLAIM_GUESS_COUNT_MAX
from appliance.device_port.doorkeeper import Doorkeeper
from appliance.device_port.messages import Request
from appliance.identity.keys import new_claim_token, new_token
from storage.catalog import Catalog
from tests.acts import ACT
from tests.ca_kit import DAY_MS, INSTALLER, Site, make_csr, site

ADDRESS = "192.0.2.9"


def basic(name: str, secret: str) -> Request:
    encoded = b64encode(f"{name}:{secret}".encode()).decode()
    return Request(method="POST", path="/", headers={"authorization": f"Basic {encoded}"}, address=ADDRESS)


@asynccontextmanager
async def door(tmp_path: Path, *, waits: bool = False) -> AsyncIterator[tuple[Site, Doorkeeper]]:
    async with site(tmp_path) as here:
        yield here, Doorkeeper(here.catalog, here.keys, clock=here.clock, waits=waits)


async def refusal(keeper: Doorkeeper, request: Request, csr: bytes | None = None) -> HomeportError:
    with pytest.raises(HomeportError) as refused:
        await keeper.identify(request, make_csr() if csr is None else csr)
    return refused.value


async def give_token(here: Site, device_id: str, *, expires_at_ms: int | None = None) -> str:
    token = new_token()
    await here.catalog.write(
        lambda catalog: catalog.set_token(
            device_id, here.keys.token_hash(token.encode()), expires_at_ms=expires_at_ms
        ),
        by=ACT,
    )
    return token


async def make_claim(here: Site, *, adopt: bool = True, use_count_max: int = 1, device_id: str = "") -> str:
    token = new_claim_token()
    await here.catalog.write(
        lambda catalog: catalog.create_claim(
            "c1",
            here.keys.claim_hash(token.encode()),
            adopt=adopt,
            device_id=device_id,
            use_count_max=use_count_max,
            life_ms=DAY_MS,
            created_by="ines",
        ),
        by=ACT,
    )
    return token


async def test_by_its_token(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.add_device("pump")
        token = await give_token(here, "pump")
        proven = await keeper.identify(basic("pump", token), make_csr())
        assert (proven.device_id, proven.shown) == ("pump", None)
        assert (proven.actor.kind, proven.actor.name, proven.actor.address) == ("device", "pump", ADDRESS)
        named = await keeper.identify(basic("", token), make_csr("pump"))
        assert named.device_id == "pump"
        other = await refusal(keeper, basic("fan", token))
        assert other.code == "bad_credentials"


async def test_a_token_that_has_ended_or_was_revoked(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.add_device("pump")
        short = await give_token(here, "pump", expires_at_ms=here.clock.now_ms() + 1000)
        here.clock.advance(1001)
        assert (await refusal(keeper, basic("pump", short))).code == "bad_credentials"
        token = await give_token(here, "pump")
        await here.catalog.write(lambda catalog: catalog.revoke_tokens("pump"), by=ACT)
        assert (await refusal(keeper, basic("pump", token))).code == "bad_credentials"


async def test_states_are_told_to_who_has_the_token(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.catalog.write(lambda catalog: catalog.note_first_contact(["pump"], at_ms=1), by=ACT)
        token = await give_token(here, "pump")
        assert (await refusal(keeper, basic("pump", token))).code == "waiting_for_adoption"
        assert (await refusal(keeper, basic("pump", "wrong"))).code == "bad_credentials"


@pytest.mark.parametrize(
    "header", ["Bearer x", "Basic", "Basic !!", "Basic " + b64encode(b"nocolon").decode(), "Basic /w=="]
)
async def test_headers_that_cannot_be_read(tmp_path: Path, header: str) -> None:
    async with door(tmp_path) as (_, keeper):
        request = Request(method="POST", path="/", headers={"authorization": header})
        assert (await refusal(keeper, request)).code == "credentials_missing"


async def test_nothing_at_all(tmp_path: Path) -> None:
    async with door(tmp_path) as (_, keeper):
        nothing = Request(method="POST", path="/")
        assert (await refusal(keeper, nothing)).code == "credentials_missing"
        with pytest.raises(NotAuthorized) as refused:
            keeper.by_certificate(nothing)
        assert refused.value.code == "certificate_missing"
        with pytest.raises(UsageError):
            await keeper.identify(basic("no/id", "x"), make_csr())


async def test_by_a_certificate(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.add_device("pump")
        issued = await here.issuing.issue(make_csr(), "pump", "api", INSTALLER)
        request = Request(method="POST", path="/", certificate=issued.certificate, address=ADDRESS)
        proven = await keeper.identify(request, make_csr())
        assert (proven.device_id, proven.shown) == ("pump", issued.certificate)
        nameless = replace(request, certificate=here.authority.root)
        assert keeper.by_certificate(nameless).device_id.startswith("Homeport root")


async def test_by_a_claim_once_and_again_with_the_same_key(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        claim = await make_claim(here)
        key = ec.generate_private_key(ec.SECP256R1())
        first = await keeper.identify(basic("pump", claim), make_csr(key=key))
        again = await keeper.identify(basic("pump", claim), make_csr(key=key))
        assert first.device_id == again.device_id == "pump"
        other_key = await refusal(keeper, basic("pump", claim))
        assert isinstance(other_key, Conflict)
        used_up = await refusal(keeper, basic("fan", claim))
        assert used_up.code == "claim_used_up"
        found = await here.catalog.read(lambda catalog: catalog.find_device("fan"))
        assert found is None


async def test_a_claim_may_name_the_device_by_the_request(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        claim = await make_claim(here)
        assert (await keeper.identify(basic("", claim), make_csr("pump"))).device_id == "pump"


async def test_a_claim_that_waits_for_adoption(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        claim = await make_claim(here, adopt=False)
        csr = make_csr()
        assert (await refusal(keeper, basic("pump", claim), csr)).code == "waiting_for_adoption"
        await here.catalog.write(lambda catalog: catalog.adopt_device("pump"), by=ACT)
        assert (await keeper.identify(basic("pump", claim), csr)).device_id == "pump"


async def test_a_bad_request_uses_no_claim(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        claim = await make_claim(here)
        assert isinstance(await refusal(keeper, basic("pump", claim), b"nothing"), UsageError)
        row = await here.catalog.read(lambda catalog: catalog.get_claim("c1"))
        assert row.use_count == 0


async def test_first_contact_where_it_is_refused(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        assert (await refusal(keeper, basic("pump", ""))).code == "bad_credentials"
        assert await here.catalog.read(lambda catalog: catalog.find_device("pump")) is None


async def test_first_contact_waits_and_the_key_that_came_first_is_let_in(tmp_path: Path) -> None:
    async with door(tmp_path, waits=True) as (here, keeper):
        csr = make_csr("pump")
        for _ in range(2):
            assert (await refusal(keeper, basic("pump", ""), csr)).code == "waiting_for_adoption"
        intruder = make_csr("pump")
        assert (await refusal(keeper, basic("pump", ""), intruder)).code == "bad_credentials"
        await here.catalog.write(lambda catalog: catalog.adopt_device("pump"), by=ACT)
        assert (await refusal(keeper, basic("pump", ""), intruder)).code == "bad_credentials"
        assert (await keeper.identify(basic("pump", ""), csr)).device_id == "pump"


async def test_a_rejected_first_contact(tmp_path: Path) -> None:
    async with door(tmp_path, waits=True) as (here, keeper):
        csr = make_csr("pump")
        await refusal(keeper, basic("pump", ""), csr)
        await here.catalog.write(lambda catalog: catalog.reject_device("pump"), by=ACT)
        assert (await refusal(keeper, basic("pump", ""), csr)).code == "device_rejected"


async def test_a_registered_device_is_not_taken_over_by_a_first_contact(tmp_path: Path) -> None:
    async with door(tmp_path, waits=True) as (here, keeper):
        await here.add_device("pump")
        assert (await refusal(keeper, basic("pump", ""))).code == "bad_credentials"
        claim = await make_claim(here, device_id="fan")
        await keeper.identify(basic("fan", claim), make_csr())
        assert (await refusal(keeper, basic("fan", ""))).code == "bad_credentials"


async def test_wrong_credentials_are_looked_at_so_many_times(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.add_device("pump")
        token = await give_token(here, "pump")
        for number in range(CLAIM_GUESS_COUNT_MAX):
            secret = "hpc_guess" if number % 2 else "guess"
            assert isinstance(await refusal(keeper, basic("pump", secret)), NotAuthorized)
        stopped = await refusal(keeper, basic("pump", token))
        assert isinstance(stopped, LimitExceeded)
        assert stopped.code == "too_many_attempts"
        elsewhere = replace(basic("pump", token), address="198.51.100.4")
        assert (await keeper.identify(elsewhere, make_csr())).device_id == "pump"
        here.clock.advance(DAY_MS)
        assert (await keeper.identify(basic("pump", token), make_csr())).device_id == "pump"


async def test_it_is_in_the_audit(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        claim = await make_claim(here)
        await keeper.identify(basic("pump", claim), make_csr())

        def acts(catalog: Catalog) -> set[tuple[str, str, str, str]]:
            rows = catalog.rows(
                "SELECT actor_kind, address, object_kind, object_id FROM audit WHERE action = 'device.enrol'"
            )
            return {tuple(row) for row in rows}

        assert ("device", ADDRESS, "device", "pump") in await here.catalog.read(acts)


async def as_device(keeper: Doorkeeper, request: Request, name: str = "") -> str:
    """The device that it is, or the refusal's code."""
    try:
        return (await keeper.device(request, name=name)).device_id
    except HomeportError as error:
        return error.code


def with_header(value: str) -> Request:
    return Request(method="GET", path="/", headers={"authorization": value}, address=ADDRESS)


async def test_a_device_that_wants_something_else_shows_its_token(tmp_path: Path) -> None:
    async with door(tmp_path, waits=True) as (here, keeper):
        await here.add_device("pump")
        token = await give_token(here, "pump")
        assert await as_device(keeper, basic("pump", token)) == "pump"
        assert await as_device(keeper, with_header(f"TargetToken {token}"), "pump") == "pump"
        assert await as_device(keeper, with_header(f"Bearer {token}"), "pump") == "pump"
        assert await as_device(keeper, with_header(f"TargetToken {token}"), "fan") == "bad_credentials"
        assert await as_device(keeper, with_header(f"TargetToken {token}x"), "pump") == "bad_credentials"
        assert await as_device(keeper, with_header("GatewayToken x"), "pump") == "credentials_missing"
        assert await as_device(keeper, Request(method="GET", path="/")) == "credentials_missing"
        # Nobody comes in by asking for firmware.
        assert await here.catalog.read(lambda catalog: catalog.find_device("fan")) is None


async def test_or_its_certificate_as_long_as_it_counts(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.add_device("pump")
        issued = await here.issuing.issue(make_csr(), "pump", "est", INSTALLER)
        request = Request(method="GET", path="/", certificate=issued.certificate, address=ADDRESS)
        assert await as_device(keeper, request) == "pump"
        await here.catalog.write(
            lambda catalog: catalog.revoke_certificate(issued.serial, because="keyCompromise"), by=ACT
        )
        assert await as_device(keeper, request) == "certificate_revoked"


async def test_an_application_is_no_device(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.catalog.write(lambda catalog: catalog.add_device("scada", kind="application"), by=ACT)
        token = await give_token(here, "scada")
        assert await as_device(keeper, basic("scada", token)) == "bad_credentials"


async def test_guessing_is_bounded_here_too(tmp_path: Path) -> None:
    async with door(tmp_path) as (here, keeper):
        await here.add_device("pump")
        token = await give_token(here, "pump")
        for _ in range(CLAIM_GUESS_COUNT_MAX):
            assert await as_device(keeper, basic("pump", "hpd_wrong")) == "bad_credentials"
        assert await as_device(keeper, basic("pump", token)) == "too_many_attempts"
