"""The broker over the API: what is asked of it, what it says, and who may."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.broker_stand_in import away_row, client_row, retained_row
from tests.node_kit import Node, running_node


def _fill(node: Node) -> None:
    node.broker.clients = [client_row(f"c{number}", principal=f"dev-{number}") for number in range(5)]
    node.broker.retained = [retained_row(number, f"plant/{number}") for number in range(1, 4)]


async def test_at_a_glance(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        node.broker.history = [
            (10.0, {"plane": {"received_messages": 100}, "connections": {"sent_bytes": 5}}),
            (12.0, {"plane": {"received_messages": 300}, "connections": {"sent_bytes": 6}}),
        ]
        answer = await client.get("/api/v1/broker")
        assert answer.status_code == 200
        found = answer.json()
        assert (found["connected"], found["connections"]) == (True, 3)
        assert found["rates"] == {
            "received_messages_per_s": 100.0,
            "delivered_messages_per_s": 0.0,
            "received_bytes_per_s": 0.0,
            "sent_bytes_per_s": 0.5,
        }
        doors = {door["transport"]: door for door in found["doors"]}
        assert doors["tls"]["connections"] == 2
        assert doors["tcp"] == {
            "transport": "tcp", "address": "127.0.0.1:1883", "connections": 0, "accepted_total": 9,
        }  # fmt: skip
        limits = {limit["key"]: limit for limit in found["limits"]}
        assert limits["connections_max"]["in_use"] == 3
        assert limits["connections_max"]["value"] == 10_000
        assert all(limit["meaning"] for limit in limits.values())


async def test_the_broker_away(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        node.broker.connected = False
        found = (await client.get("/api/v1/broker")).json()
        assert (found["connected"], found["connections"]) == (False, 3), "the last known"
        assert found["rates"]["received_messages_per_s"] is None
        answer = await client.get("/api/v1/broker/clients")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"]


async def test_clients_page_by_page(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        _fill(node)
        page = (await client.get("/api/v1/broker/clients?limit=2&q=dev")).json()
        assert [one["client_id"] for one in page["clients"]] == ["c0", "c1"]
        assert (page["next_cursor"], page["total"]) == ("c1", 5)
        page = (await client.get("/api/v1/broker/clients?limit=3&cursor=c1")).json()
        assert [one["client_id"] for one in page["clients"]] == ["c2", "c3", "c4"]
        assert page["next_cursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "state=asleep", "q=" + "x" * 65, "order=age"])
async def test_a_query_that_makes_no_sense(tmp_path: Path, query: str) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.get(f"/api/v1/broker/clients?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "query_invalid")
        assert node.broker.asked == []


@pytest.mark.parametrize("client_id", ["c0", "plant 4/pump#1?x=%2F", "a/kick", "ü/kick"])
async def test_one_client_whatever_its_id(tmp_path: Path, client_id: str) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        node.broker.clients = [client_row(client_id)]
        node.broker.subscriptions[client_id] = [
            {
                "topic_filter": "#",
                "qos": 2,
                "no_local": True,
                "retain_as_published": False,
                "identifiers": [7],
            }
        ]
        address = f"/api/v1/broker/clients/{quote(client_id, safe='')}"
        found = (await client.get(address)).json()
        assert found["client_id"] == client_id
        assert found["subscription_list"][0]["topic_filter"] == "#"
        answer = await client.post(f"{address}/kick")
        assert (answer.status_code, answer.json()) == (200, {"client_id": client_id})
        answer = await client.post(f"{address}/kick")
        assert (answer.status_code, answer.json()["code"]) == (404, "client_unknown")
        assert (await client.get(address)).status_code == 404


async def test_a_session_that_waits_for_its_client(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        node.broker.clients = [client_row("here"), away_row("gone")]
        page = (await client.get("/api/v1/broker/clients?state=away")).json()
        (row,) = page["clients"]
        assert (row["client_id"], row["is_connected"], row["address"]) == ("gone", False, None)
        answer = await client.post("/api/v1/broker/clients/gone/kick")
        assert (answer.status_code, answer.json()["code"]) == (409, "client_away")
        answer = await client.delete("/api/v1/broker/clients/gone")
        assert (answer.status_code, answer.json()) == (200, {"client_id": "gone", "was_connected": False})
        answer = await client.delete("/api/v1/broker/clients/here")
        assert answer.json() == {"client_id": "here", "was_connected": True}
        assert (await client.delete("/api/v1/broker/clients/here")).status_code == 404


async def test_retained_messages(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        _fill(node)
        page = (await client.get("/api/v1/broker/retained?limit=2")).json()
        assert [one["topic"] for one in page["retained"]] == ["plant/3", "plant/2"]
        assert base64.b64decode(page["retained"][0]["payload"]) == b"on"
        rest = await client.get(f"/api/v1/broker/retained?cursor={page['next_cursor']}")
        assert [one["topic"] for one in rest.json()["retained"]] == ["plant/1"]
        answer = await client.delete("/api/v1/broker/retained?topic=plant/2&seq=1")
        assert (answer.status_code, answer.json()["code"]) == (404, "retained_unknown")
        answer = await client.delete("/api/v1/broker/retained?topic=plant/2&seq=2")
        assert (answer.status_code, answer.json()) == (200, {"topic": "plant/2", "seq": 2})
        assert (await client.delete("/api/v1/broker/retained")).status_code == 400


async def test_acts_need_a_session_and_its_csrf_token(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        _fill(node)
        async with node.client() as stranger:
            for method, path in (
                ("GET", "/broker"),
                ("GET", "/broker/clients"),
                ("GET", "/broker/clients/c0"),
                ("POST", "/broker/clients/c0/kick"),
                ("DELETE", "/broker/clients/c0"),
                ("GET", "/broker/retained"),
                ("DELETE", "/broker/retained?topic=plant/1"),
            ):
                answer = await stranger.request(method, f"/api/v1{path}")
                assert answer.status_code == 401, path
        async with node.admin() as client:
            del client.headers["x-csrf-token"]
            for method, path in (
                ("POST", "/broker/clients/c0/kick"),
                ("DELETE", "/broker/clients/c0"),
                ("DELETE", "/broker/retained?topic=plant/1"),
            ):
                answer = await client.request(method, f"/api/v1{path}")
                assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
        assert (len(node.broker.clients), len(node.broker.retained)) == (5, 3)


async def test_a_broker_of_another_version(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        node.broker.clients = [{"client_id": "c0", "principal": "p", "address": "a"}]
        answer = await client.get("/api/v1/broker/clients")
        assert (answer.status_code, answer.json()["code"]) == (503, "broker_version")
        assert "Restart" in answer.json()["hint"]
