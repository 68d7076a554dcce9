"""Certificates over the API: issued, listed, revoked, and by whom."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from storage.catalog import Catalog
from tests.acts import ACT
from tests.ca_kit import make_csr
from tests.node_kit import NOW_MS, Node, running_node
from tests.people_kit import person

DAY_MS = 86_400_000


async def add_devices(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("hall")
        catalog.add_device("pump", groups=("hall",))
        catalog.add_device("fan")

    await node.catalog.write(write, by=ACT)


async def test_a_certificate_is_issued_listed_and_revoked(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        await add_devices(node)
        wish = {"device_id": "pump", "csr": make_csr("pump").decode()}
        answer = await client.post("/api/v1/certificates", json=wish)
        assert answer.status_code == 201, answer.text
        issued = answer.json()
        leaf, issuing, root = x509.load_pem_x509_certificates(
            (issued["certificate"] + issued["chain"]).encode()
        )
        leaf.verify_directly_issued_by(issuing)
        issuing.verify_directly_issued_by(root)
        assert issued["not_after_at_ms"] == NOW_MS + 90 * DAY_MS
        path = f"/api/v1/certificates/{issued['serial']}"
        found = (await client.get(path)).json()
        assert (found["device_id"], found["state"], found["issued_by"]) == ("pump", "valid", "api")
        assert (await client.get("/api/v1/certificates?device_id=pump&state=valid")).json() == {
            "certificates": [found],
            "next_cursor": None,
        }
        assert (await client.get("/api/v1/certificates?ends_within_days=89")).json()["certificates"] == []
        assert len((await client.get("/api/v1/certificates?ends_within_days=91")).json()["certificates"]) == 1
        revoked = (await client.post(path + "/revoke", json={"because": "keyCompromise"})).json()
        assert (revoked["state"], revoked["revoked_because"]) == ("revoked", "keyCompromise")
        assert node.broker.changed == ["pump"]
        again = (await client.post(path + "/revoke", json={"because": "unspecified"})).json()
        assert again == revoked
        entries = await node.catalog.read(
            lambda catalog: catalog.rows(
                "SELECT action, actor, object_id FROM audit WHERE object_kind = 'certificate'"
            )
        )
        assert [tuple(row) for row in entries] == [
            ("certificate.issue", "installer", issued["serial"]),
            ("certificate.revoke", "installer", issued["serial"]),
        ]


async def test_der_in_base64_is_taken(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await add_devices(node)
        csr = b64encode(make_csr("pump", encoding=Encoding.DER)).decode()
        answer = await client.post("/api/v1/certificates", json={"device_id": "pump", "csr": csr})
        assert answer.status_code == 201
        found = (await client.get(f"/api/v1/certificates/{answer.json()['serial']}")).json()
        assert found["issued_by"] == "cli"


async def test_all_of_a_device_are_revoked_while_the_broker_is_away(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        await add_devices(node)
        for device_id in ("pump", "pump", "fan"):
            wish = {"device_id": device_id, "csr": make_csr().decode()}
            assert (await client.post("/api/v1/certificates", json=wish)).status_code == 201
        node.broker.connected = False
        answer = await client.post("/api/v1/devices/pump/certificates/revoke", json={})
        assert answer.json() == {"device_id": "pump", "revoked": 2, "tokens_left": 0}
        valid = (await client.get("/api/v1/certificates?state=valid")).json()["certificates"]
        assert [each["device_id"] for each in valid] == ["fan"]
        missing = await client.post("/api/v1/devices/nobody/certificates/revoke", json={})
        assert missing.status_code == 404


async def test_what_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        await add_devices(node)
        for wish, status, code in (
            ({"device_id": "nobody", "csr": make_csr().decode()}, 404, "device_unknown"),
            ({"device_id": "pump", "csr": "nothing"}, 422, "csr_invalid"),
            ({"device_id": "pump", "csr": make_csr("fan").decode()}, 422, "csr_name_wrong"),
            ({"device_id": "pump", "csr": ""}, 422, "body_unusable"),
            ({"device_id": "pump", "csr": "A" * 9000}, 422, "body_unusable"),
        ):
            answer = await client.post("/api/v1/certificates", json=wish)
            assert (answer.status_code, answer.json()["code"]) == (status, code), wish
        assert (await client.get("/api/v1/certificates/ff")).json()["code"] == "certificate_unknown"
        bad = await client.post("/api/v1/certificates/ff/revoke", json={"because": "because"})
        assert bad.status_code == 422
        assert (await client.get("/api/v1/certificates?cursor=x")).status_code == 400


async def test_who_may(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_devices(node)
        wish = {"device_id": "pump", "csr": make_csr().decode()}
        async with person(node, "viewer") as viewer:
            assert (await viewer.get("/api/v1/certificates")).status_code == 403
        async with person(node, "operator") as operator:
            assert (await operator.get("/api/v1/certificates")).status_code == 200
            assert (await operator.post("/api/v1/certificates", json=wish)).status_code == 403
        async with node.client() as stranger:
            assert (await stranger.get("/api/v1/certificates")).status_code == 401


async def test_a_scope_sees_its_own_devices_certificates(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_devices(node)
        serials = {}
        async with person(node, "installer", user_id="all") as everywhere:
            for device_id in ("pump", "fan"):
                wish = {"device_id": device_id, "csr": make_csr().decode()}
                serials[device_id] = (await everywhere.post("/api/v1/certificates", json=wish)).json()[
                    "serial"
                ]
        async with person(node, "installer", frozenset({"hall"}), user_id="hall") as narrow:
            listed = (await narrow.get("/api/v1/certificates")).json()["certificates"]
            assert [each["device_id"] for each in listed] == ["pump"]
            hidden = f"/api/v1/certificates/{serials['fan']}"
            for answer in (
                await narrow.get(hidden),
                await narrow.post(hidden + "/revoke", json={}),
            ):
                assert (answer.status_code, answer.json()["code"]) == (404, "certificate_unknown")
                none = (await narrow.get("/api/v1/certificates/ff")).json()["detail"]
                assert answer.json()["detail"] == none.replace("ff", serials["fan"]), (
                    "it must not be told apart"
                )
            wish = {"device_id": "fan", "csr": make_csr().decode()}
            assert (await narrow.post("/api/v1/certificates", json=wish)).status_code == 404
            assert (await narrow.post("/api/v1/devices/fan/certificates/revoke", json={})).status_code == 404
            own = f"/api/v1/certificates/{serials['pump']}/revoke"
            assert (await narrow.post(own, json={})).status_code == 200
