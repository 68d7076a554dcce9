"""Certificates on a device's page: who sees them, and revoking one."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import REVOKED_BECAUSE, Catalog
from tests.acts import ACT
from tests.ca_kit import INSTALLER, make_csr
from tests.node_kit import Node, running_node
from tests.people_kit import person
from ui.pages.device_certificates import ISSUED_BY, REASONS


async def with_certificate(node: Node) -> str:
    def write(catalog: Catalog) -> None:
        catalog.add_device("pump")
        catalog.add_device("fan")

    await node.catalog.write(write, by=ACT)
    return (await node.services.issuing.issue(make_csr(), "pump", "est", INSTALLER)).serial


async def test_one_is_shown_and_revoked(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        serial = await with_certificate(node)
        page = (await client.get("/devices/pump")).text
        assert serial in page
        assert "by EST" in page
        assert "has no certificate" in (await client.get("/devices/fan")).text
        form = {"serial": serial, "because": "keyCompromise"}
        done = await client.post("/devices/pump/certificates/revoke", data=form)
        assert (done.status_code, done.headers["location"]) == (303, "/devices/pump?done=certificate-revoked")
        after = (await client.get(done.headers["location"])).text
        assert "its connections end within a second" in after
        assert REASONS["keyCompromise"] in after
        assert f'value="{serial}"' not in after, "it can't be revoked again"
        assert node.broker.changed == ["pump"]
        row = await node.catalog.read(lambda catalog: catalog.get_certificate(serial))
        assert row.revoked_because == "keyCompromise"


async def test_what_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        serial = await with_certificate(node)
        for path, form, status in (
            ("/devices/fan", {"serial": serial}, 404),
            ("/devices/pump", {"serial": "ff"}, 404),
            ("/devices/nobody", {"serial": serial}, 404),
            ("/devices/pump", {"serial": serial, "because": "spite"}, 422),
        ):
            answer = await client.post(f"{path}/certificates/revoke", data=form)
            assert answer.status_code == status, form
        row = await node.catalog.read(lambda catalog: catalog.get_certificate(serial))
        assert row.revoked_at_ms is None


async def test_who_sees_what(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        serial = await with_certificate(node)
        async with person(node, "viewer") as viewer:
            assert serial not in (await viewer.get("/devices/pump")).text
        async with person(node, "operator") as operator:
            page = (await operator.get("/devices/pump")).text
            assert serial in page
            assert "/certificates/revoke" not in page
            refused = await operator.post("/devices/pump/certificates/revoke", data={"serial": serial})
            assert refused.status_code == 403
        async with person(node, "installer", frozenset({"hall"}), user_id="narrow") as narrow:
            hidden = await narrow.post("/devices/pump/certificates/revoke", data={"serial": serial})
            assert hidden.status_code == 404


def test_every_reason_and_way_has_its_words() -> None:
    assert set(REASONS) == set(REVOKED_BECAUSE)
    assert set(ISSUED_BY) == {"est", "mqtt", "api", "cli"}
