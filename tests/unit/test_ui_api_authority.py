"""The authority over the API: what it is, its list, and its renewal with the recovery kit."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from appliance.identity.recovery_kit import PENDING, RecoveryKit
from tests.node_kit import NOW_MS, running_node
from tests.people_kit import person

DAY_MS = 86_400_000


async def test_what_it_is(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        found = (await client.get("/api/v1/ca")).json()
        authority = node.services.issuing.authority
        assert found["issuing"]["key_id"] == authority.key_id
        assert (found["issuing"]["generation"], found["issuing"]["is_due"]) == (1, False)
        assert found["issuing"]["not_after_at_ms"] == NOW_MS + 1826 * DAY_MS
        assert found["root"]["fingerprint"] == RecoveryKit.of(tmp_path).ca_fingerprint
        assert found["recovery_kit_pending"] is True
        assert found["certificates"]["valid"] == 0
        assert found["crl"]["number"] == NOW_MS // 1000
        assert found["devices_https"] == "0.0.0.0:8444"


async def test_everybody_may_verify(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        chain = await client.get("/api/v1/ca/chain.pem")
        assert x509.load_pem_x509_certificates(chain.content)[1] == node.services.issuing.authority.root
        crl = await client.get("/api/v1/ca/crl.der")
        assert crl.headers["content-type"] == "application/pkix-crl"
        key = node.services.issuing.authority.key.public_key()
        assert x509.load_der_x509_crl(crl.content).is_signature_valid(key)


async def test_a_renewal(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        told: list[int] = []
        node.services.issuing.on_renewal(lambda: told.append(1))
        node.clock.advance(1600 * DAY_MS)
        assert (await client.get("/api/v1/ca")).json()["issuing"]["is_due"] is True
        kit = RecoveryKit.of(tmp_path)
        renewed = (await client.post("/api/v1/ca/renew", json={"recovery_kit": kit.text()})).json()
        assert renewed["issuing"]["is_due"] is False
        assert renewed["issuing"]["generation"] == 1
        wish = {"recovery_kit": kit.qr_text, "new_key": True}
        again = (await client.post("/api/v1/ca/renew", json=wish)).json()
        assert again["issuing"]["generation"] == 2
        assert again["issuing"]["key_id"] != renewed["issuing"]["key_id"]
        assert told == [1, 1]
        entries = await node.catalog.read(
            lambda catalog: catalog.rows("SELECT * FROM audit WHERE action = 'authority.renew'")
        )
        assert [row["detail"] for row in entries] == [
            "",
            "with a new key: certificates of the old one are void",
        ]
        assert kit.code not in "".join(str(tuple(row)) for row in entries)


async def test_no_renewal_without_the_right_kit(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        other = RecoveryKit(node_id=bytes(16), made_day=20_000, site_key=bytes(32), root_secret=bytes(32))
        refused = await client.post("/api/v1/ca/renew", json={"recovery_kit": other.text()})
        assert (refused.status_code, refused.json()["code"]) == (403, "recovery_kit_of_another_site")
        typed = await client.post("/api/v1/ca/renew", json={"recovery_kit": "nothing"})
        assert typed.json()["code"] == "recovery_kit_invalid"
        async with person(node, "admin") as admin:
            kit = RecoveryKit.of(tmp_path)
            away = await admin.post("/api/v1/ca/renew", json={"recovery_kit": kit.text()})
            assert away.status_code == 403


async def test_the_kit_is_confirmed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        assert (await client.post("/api/v1/recovery-kit/confirm", json={})).json() == {"was_pending": True}
        assert not (tmp_path / PENDING).exists()
        assert (await client.post("/api/v1/recovery-kit/confirm", json={})).json() == {"was_pending": False}
        assert (await client.get("/api/v1/ca")).json()["recovery_kit_pending"] is False
        async with person(node, "admin") as admin:
            assert (await admin.post("/api/v1/recovery-kit/confirm", json={})).status_code == 403
