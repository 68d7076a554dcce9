"""A device asks for its identity: by a claim, as the device it is; with a request, with a nonce; and asks once more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.core.limits import CLAIM_GUESS_COUNT_MAX, DEVICE_TOKEN_INTERVAL_MS, DEVICE_TOKEN_OVERLAP_MS
from appliance.identity.enrolment import Enrolment
from appliance.management.access import certificate_proof, provisioning_name
from broker.control_messages import DeviceRequest
from broker.identity import read_certificate
from storage.catalog import Catalog, DeviceAuthReader
from storage.catalog.claims import make_claim_id
from tests.acts import ACT
from tests.ca_kit import DAY_MS, Site, make_csr, site

TOPIC = "dm/provision/default/request"
CLAIM = "hpc_" + "c" * 32
NONCE = "n" * 16


class Rig:
    """A site, and who asks it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.enrolment = Enrolment(site.catalog, site.keys, site.issuing, clock=site.clock)
        self.key = ec.generate_private_key(ec.SECP256R1())

    async def claim(self, token: str = CLAIM, **more: Any) -> str:
        now_ms = self.site.clock.now_ms()
        fields = {"life_ms": DAY_MS, "created_by": "anna", "adopt": True, **more}
        made = await self.site.catalog.write(
            lambda catalog: catalog.create_claim(
                make_claim_id(now_ms, token[-6:].encode()),
                self.site.keys.claim_hash(token.encode()),
                **fields,
            ),
            by=ACT,
        )
        return made.claim_id

    def request(self, user_name: str = "provision", claim: str = CLAIM, **more: Any) -> DeviceRequest:
        request = DeviceRequest(
            topic=TOPIC,
            payload=b"",
            client_id="c",
            address="192.0.2.1",
            name=provisioning_name(user_name),
            kind="provisioning",
            proof=self.site.keys.claim_hash(claim.encode()),
        )
        return replace(request, **more)

    def device(self, name: str, proof: bytes) -> DeviceRequest:
        return self.request(name=name, kind="device", proof=proof)

    async def ask(self, request: DeviceRequest | None = None, **asked: Any) -> dict[str, Any]:
        """What is accepted."""
        is_accepted, answer = await self._ask(request, asked)
        assert is_accepted, answer
        return answer

    async def refused(self, request: DeviceRequest | None = None, **asked: Any) -> str:
        is_accepted, answer = await self._ask(request, asked)
        assert not is_accepted, answer
        assert answer["message"]
        assert answer["hint"]
        self.answer = answer
        return str(answer["code"])

    async def _ask(self, request: DeviceRequest | None, asked: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        request = request or self.request()
        if asked:
            request = replace(request, payload=json.dumps(asked).encode())
        reply = await self.enrolment.answer(request)
        ((topic, payload),) = reply.messages
        assert topic.endswith("/accepted" if reply.is_accepted else "/rejected")
        return reply.is_accepted, json.loads(payload)

    def csr(self, *names: str) -> str:
        return make_csr(*names, key=self.key).decode()

    async def uses(self) -> int:
        (claim,) = (await self.site.catalog.read(lambda catalog: catalog.list_claims())).claims
        return claim.use_count

    async def tokens(self, device_id: str) -> list[bytes]:
        found = await self.site.catalog.read(lambda catalog: catalog.tokens_of(device_id))
        return [token.token_hash for token in found]

    def hash(self, token: str) -> bytes:
        return self.site.keys.token_hash(token.encode())


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with site(tmp_path) as made:
        yield Rig(made)


def name_of(pem: str) -> str:
    (name,) = x509.load_pem_x509_certificate(pem.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


async def test_a_certificate_by_claim_and_again_when_the_answer_got_lost(rig: Rig) -> None:
    claim_id = await rig.claim()
    first = await rig.ask(csr=rig.csr("pump"), serial="SN-1")
    assert (first["device"], name_of(first["cert"])) == ("pump", "pump")
    assert first["ca"].count("BEGIN CERTIFICATE") == 2
    assert first["expires"] == rig.site.clock.now_ms() + 90 * DAY_MS
    assert "token" not in first
    again = await rig.ask(csr=rig.csr("pump"), serial="SN-1")
    assert (again["device"], await rig.uses()) == ("pump", 1)
    assert again["serial"] != first["serial"]
    assert await rig.site.catalog.read(lambda catalog: catalog.enrolled_by("pump")) == claim_id
    found = await rig.site.catalog.read(lambda catalog: catalog.find_certificate(first["serial"]))
    assert found is not None
    assert found.issued_by == "mqtt"
    assert rig.enrolment.statistics() == {"accepted": 2}


async def test_the_broker_names_the_certificate_as_the_catalog_does(rig: Rig) -> None:
    await rig.claim()
    given = await rig.ask(csr=rig.csr("pump"))
    shown = read_certificate(
        x509.load_pem_x509_certificate(given["cert"].encode()).public_bytes(Encoding.DER)
    )
    assert shown.common_name == "pump"
    await rig.site.catalog.write(
        lambda catalog: catalog.revoke_certificate(given["serial"], because="keyCompromise"), by=ACT
    )
    reader = DeviceAuthReader(rig.site.data_dir / "catalog.db", clock=rig.site.clock)
    credential = reader.lookup("pump")
    reader.close()
    assert credential
    assert credential.revoked == {shown.proof}


@pytest.mark.parametrize(
    ("user_name", "names", "serial", "expected"),
    [
        ("provision", (), "SN-1", "SN-1"),
        ("provision", ("pump",), "", "pump"),
        ("pump", (), "SN-1", "pump"),
        ("pump", ("pump",), "SN-1", "pump"),
    ],
)
async def test_which_device_it_becomes(
    rig: Rig, user_name: str, names: tuple[str, ...], serial: str, expected: str
) -> None:
    await rig.claim()
    found = await rig.ask(rig.request(user_name), csr=rig.csr(*names), serial=serial)
    assert (found["device"], name_of(found["cert"])) == (expected, expected)


async def test_a_token_for_a_device_without_a_key(rig: Rig) -> None:
    await rig.claim()
    request = rig.request("pump")
    assert await rig.refused(request, token=True) == "nonce_missing"
    assert await rig.refused(request, token=True, nonce="short") == "nonce_missing"
    first = await rig.ask(request, token=True, nonce=NONCE)
    assert first["device"] == "pump"
    assert await rig.tokens("pump") == [rig.hash(first["token"])]
    assert await rig.refused(request, token=True, nonce=NONCE) == "token_too_soon"
    assert rig.answer["retry_s"] > 0
    rig.site.clock.advance(DEVICE_TOKEN_INTERVAL_MS)
    again = await rig.ask(request, token=True, nonce=NONCE)
    assert await rig.tokens("pump") == [rig.hash(again["token"]), rig.hash(first["token"])]
    assert await rig.uses() == 1
    other = await rig.refused(request, token=True, nonce="x" * 16)
    assert other == "device_exists", "another device of the batch, which knows the name"


async def test_both_at_once(rig: Rig) -> None:
    await rig.claim()
    both = await rig.ask(csr=rig.csr("pump"), token=True)
    assert both["cert"]
    assert await rig.tokens("pump") == [rig.hash(both["token"])]


async def test_it_waits_for_adoption_and_gets_it_then(rig: Rig) -> None:
    await rig.claim(adopt=False)
    for _ in range(2):
        assert await rig.refused(csr=rig.csr("pump"), token=True) == "waiting_for_adoption"
        assert rig.answer["retry_s"] == 60
    assert await rig.tokens("pump") == []
    await rig.site.catalog.write(lambda catalog: catalog.adopt_device("pump"), by=ACT)
    assert (await rig.ask(csr=rig.csr("pump"), token=True))["device"] == "pump"
    assert await rig.uses() == 1


async def test_a_claim_in_the_request_counts_in_place_of_the_connections(rig: Rig) -> None:
    other = "hpc_" + "d" * 32
    await rig.claim(other)
    assert await rig.refused(csr=rig.csr("pump")) == "claim_unknown"
    assert (await rig.ask(csr=rig.csr("pump"), claim=other))["device"] == "pump"
    for _ in range(CLAIM_GUESS_COUNT_MAX - 1):
        assert await rig.refused(csr=rig.csr("pump"), claim="hpc_guess") == "claim_unknown"
    assert await rig.refused(csr=rig.csr("pump"), claim=other) == "claim_guesses"


async def test_a_device_id_that_no_certificate_can_have_uses_up_nothing(rig: Rig) -> None:
    await rig.claim()
    assert await rig.refused(csr=rig.csr(), serial="S" * 65) == "device_id_too_long"
    assert await rig.uses() == 0
    assert await rig.site.catalog.read(lambda catalog: catalog.count_devices()) == 0
    assert await rig.refused(rig.request("S" * 65), csr=rig.csr()) == "device_id_too_long"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "request_invalid"),
        (b"\xff", "request_invalid"),
        (b"[]", "request_invalid"),
        (b'{"csr": 7}', "request_invalid"),
        (b'{"token": "yes"}', "request_invalid"),
        (b"{}", "request_empty"),
        (b'{"csr": "nonsense"}', "csr_invalid"),
        (b'{"token": true, "nonce": "nnnnnnnnnnnnnnnn"}', "device_id_missing"),
    ],
)
async def test_requests_that_make_no_sense(rig: Rig, payload: bytes, code: str) -> None:
    await rig.claim()
    assert await rig.refused(rig.request(payload=payload)) == code
    assert rig.enrolment.statistics() == {code: 1}


async def test_another_name_than_the_connections(rig: Rig) -> None:
    await rig.claim()
    assert await rig.refused(rig.request("valve"), csr=rig.csr("pump")) == "csr_name_wrong"


async def test_a_template_that_there_is_not(rig: Rig) -> None:
    request = rig.request(topic="dm/provision/other/request")
    assert await rig.refused(request, token=True) == "template_unknown"


class TestDevices:
    async def test_a_new_certificate_in_the_last_third_of_the_old_ones_life(self, rig: Rig) -> None:
        await rig.claim()
        first = await rig.ask(csr=rig.csr("pump"))
        key_id = rig.site.authority.key_id
        request = rig.device("pump", certificate_proof(key_id, first["serial"]))
        assert await rig.refused(request, csr=rig.csr("pump")) == "certificate_not_due"
        assert 59 * 86_400 < rig.answer["retry_s"] <= 60 * 86_400
        rig.site.clock.advance(60 * DAY_MS)
        serials = [(await rig.ask(request, csr=rig.csr()))["serial"] for _ in range(3)]
        found = await rig.site.catalog.read(lambda catalog: catalog.certificates_of("pump"))
        valid = {each.serial for each in found if each.revoked_at_ms is None}
        assert valid == {first["serial"], serials[-1]}, "answers that got lost revoke nothing that is in use"

    async def test_one_that_the_catalog_does_not_know(self, rig: Rig) -> None:
        await rig.site.add_device("pump")
        request = rig.device("pump", certificate_proof("00", "abc"))
        assert (await rig.ask(request, csr=rig.csr("pump")))["device"] == "pump"

    async def test_from_a_token_to_a_certificate(self, rig: Rig) -> None:
        await rig.site.add_device("pump")
        token_hash = rig.hash("hpd_x")
        await rig.site.catalog.write(lambda catalog: catalog.set_token("pump", token_hash), by=ACT)
        request = rig.device("pump", token_hash)
        assert await rig.refused(request, csr=rig.csr("valve")) == "csr_name_wrong"
        assert (await rig.ask(request, csr=rig.csr("pump")))["cert"]

    async def test_a_new_token_never_ends_the_one_in_use_before_its_time(self, rig: Rig) -> None:
        await rig.site.add_device("pump")
        old = rig.hash("hpd_old")
        await rig.site.catalog.write(lambda catalog: catalog.set_token("pump", old), by=ACT)
        rig.site.clock.advance(1)
        request = rig.device("pump", old)
        for _ in range(3):
            new = rig.hash((await rig.ask(request, token=True))["token"])
            assert await rig.tokens("pump") == [new, old]
            assert await rig.refused(request, token=True) == "token_too_soon"
            rig.site.clock.advance(DEVICE_TOKEN_INTERVAL_MS)
        tokens = await rig.site.catalog.read(lambda catalog: catalog.tokens_of("pump"))
        assert tokens[1].expires_at_ms is not None
        assert tokens[1].expires_at_ms <= rig.site.clock.now_ms() + DEVICE_TOKEN_OVERLAP_MS
        newer = rig.device("pump", new)
        newest = rig.hash((await rig.ask(newer, token=True))["token"])
        assert await rig.tokens("pump") == [newest, new]

    async def test_a_token_for_one_that_has_come_with_a_certificate(self, rig: Rig) -> None:
        await rig.site.add_device("pump")
        request = rig.device("pump", certificate_proof("00", "abc"))
        token = (await rig.ask(request, token=True))["token"]
        assert await rig.tokens("pump") == [rig.hash(token)]

    async def test_one_that_is_none_any_more(self, rig: Rig) -> None:
        await rig.site.add_device("pump")
        await rig.site.catalog.write(lambda catalog: catalog.decommission_device("pump"), by=ACT)
        request = rig.device("pump", rig.hash("hpd_old"))
        assert await rig.refused(request, token=True) == "device_decommissioned"
        assert await rig.refused(request, csr=rig.csr("pump")) == "device_decommissioned"
        assert await rig.refused(rig.device("nobody", b"x" * 32), token=True) == "device_unknown"


async def test_the_catalog_is_away(rig: Rig) -> None:
    await rig.claim()
    await rig.site.catalog.aclose()
    assert await rig.refused(csr=rig.csr("pump")) == "catalog_closed"
    assert rig.answer["retry_s"] > 0


async def test_who_did_it_is_in_the_audit_and_no_secret(rig: Rig) -> None:
    await rig.claim()
    answer = await rig.ask(rig.request("pump"), token=True, nonce=NONCE)
    rows = await rig.site.catalog.read(
        lambda catalog: catalog.rows("SELECT * FROM audit WHERE action = 'device.enrol'")
    )
    assert {row["object_kind"] for row in rows} == {"claim", "device", "enrolment", "device_token"}
    assert {(row["actor"], row["actor_kind"], row["address"]) for row in rows} == {
        ("pump", "device", "192.0.2.1")
    }
    written = "".join(str(tuple(row)) for row in rows)
    for secret in (answer["token"], NONCE, CLAIM, rig.hash(answer["token"]).hex()):
        assert secret not in written


async def test_a_request_that_waited_does_not_undo_a_revocation(rig: Rig) -> None:
    """The connection is cut within a second; what it asked before may still be answered."""
    await rig.site.add_device("pump")
    old = rig.hash("hpd_old")
    await rig.site.catalog.write(lambda catalog: catalog.set_token("pump", old), by=ACT)
    by_token = rig.device("pump", old)
    serial = (await rig.ask(by_token, csr=rig.csr()))["serial"]
    by_certificate = rig.device("pump", certificate_proof(rig.site.authority.key_id, serial))

    def revoke(catalog: Catalog) -> None:
        catalog.revoke_tokens("pump")
        catalog.revoke_certificates_of("pump", because="keyCompromise")

    await rig.site.catalog.write(revoke, by=ACT)
    rig.site.clock.advance(70 * DAY_MS)
    assert await rig.refused(by_token, token=True) == "bad_credentials"
    assert await rig.refused(by_token, csr=make_csr().decode()) == "bad_credentials"
    assert await rig.refused(by_certificate, token=True) == "certificate_revoked"
    assert await rig.refused(by_certificate, csr=make_csr().decode()) == "certificate_revoked"
    assert await rig.tokens("pump") == []
