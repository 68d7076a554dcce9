"""The broker's pages as a browser without JavaScript sees them: what they show, and acts that have to be confirmed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.broker_stand_in import away_row, client_row, retained_row
from tests.node_kit import NOW_MS, Node, running_node
from ui.api import broker_structs as structs
from ui.broker_numbers import broker as numbers_of
from ui.pages.broker_views import ClientView, RetainedView, attention, rows_of, words

HOSTILE = "<b>\u202e&{{7*7}}"


@asynccontextmanager
async def pages(tmp_path: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        node.broker.clients = [client_row(f"press-{number:02}") for number in range(60)]
        node.broker.retained = [
            retained_row(number, f"plant/{number}", received_at_ms=NOW_MS) for number in range(1, 4)
        ]
        yield node, client


async def post(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """A form as the page sends it."""
    token = client.headers["x-csrf-token"]
    return await client.post(path, data={"csrf_token": token, **fields}, headers={"x-csrf-token": token})


async def test_the_list_goes_on_and_is_filtered_by_its_url(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client):
        page = (await client.get("/broker")).text
        assert "50 of 60 clients shown" in page
        assert 'href="/broker?after=press-49" rel="next"' in page
        page = (await client.get("/broker?after=press-49")).text
        assert "press-59" in page
        assert "press-49<" not in page
        assert 'rel="next"' not in page
        page = (await client.get("/broker?q=PRESS-07")).text
        assert "press-07" in page
        assert "press-08" not in page
        assert 'hx-sse:connect="/live/broker?q=PRESS-07"' in page
        assert "No client matches." in (await client.get("/broker?q=nobody")).text


async def test_limits_say_what_is_allowed_and_how_often_they_were_reached(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        node.broker.statistics["limits"] = {"packet_bytes_max": 3}
        page = (await client.get("/broker")).text
        assert "<code>connections_max</code>" in page
        assert "<b>3 times</b>" in page


async def test_the_disks_level_and_who_is_held_back(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        assert "disk filling up" in (await client.get("/broker")).text
        node.broker.statistics["log"]["housekeeping"]["disk_level_name"] = "hold"
        node.broker.statistics["held"] = {"clients": 2}
        page = (await client.get("/broker")).text
        assert "readings held back" in page
        assert "2 clients are not read from" in page
        assert "The disk is nearly full" in page


async def test_while_the_broker_is_away_the_numbers_are_the_last_known(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        node.broker.connected = False
        answer = await client.get("/broker")
        assert answer.status_code == 200
        assert "The broker is away" in answer.text
        assert "not known while the broker is away" in answer.text
        answer = await client.get("/broker/retained")
        assert answer.status_code == 503
        assert "not connected" in answer.text


async def test_a_client_whatever_it_calls_itself(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        node.broker.clients = [client_row(HOSTILE, principal=HOSTILE)]
        node.broker.subscriptions[HOSTILE] = [
            {
                "topic_filter": HOSTILE,
                "qos": 2,
                "no_local": True,
                "retain_as_published": True,
                "identifiers": [3, 9],
            }
        ]
        answer = await client.get(f"/broker/client?id={quote(HOSTILE, safe='')}")
        assert answer.status_code == 200
        assert "<b>\u202e" not in answer.text
        assert "&lt;b&gt;\\u202e&amp;{{7*7}}" in answer.text
        assert "not its own messages, RETAIN as published, identifier 3, 9" in answer.text
        assert f'value="{"&lt;b&gt;"}' in answer.text
        answer = await client.get("/broker/client?id=nobody")
        assert (answer.status_code, "Look" in answer.text) == (404, True)


async def test_disconnecting_takes_a_tick(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        for fields in ({}, {"confirm": "no"}):
            answer = await post(client, "/broker/client/kick", client_id="press-07", **fields)
            assert answer.status_code == 422
            assert "not ticked" in answer.text
        assert ("kick", {"client_id": "press-07"}) not in node.broker.asked
        answer = await post(client, "/broker/client/kick", client_id="press-07", confirm="yes")
        assert (answer.status_code, answer.headers["location"]) == (303, "/broker?done=kicked")
        assert ("kick", {"client_id": "press-07"}) in node.broker.asked
        assert "The client was disconnected." in (await client.get("/broker?done=kicked")).text
        answer = await post(client, "/broker/client/kick", client_id="press-07", confirm="yes")
        assert answer.status_code == 404


async def test_a_session_that_waits_and_ending_it_takes_a_word(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        node.broker.clients.append(away_row("pump", principal="pump-9", expires_at_ms=NOW_MS))
        page = (await client.get("/broker?state=away")).text
        assert "1 of 1 client shown" in page
        assert "kept until 2026-02-25" in page
        assert 'href="/broker?state=away" aria-current="true"' in page
        page = (await client.get("/broker/client?id=pump")).text
        assert "Away since" in page
        assert "1 subscription and 12 messages that wait for it go for good." in page
        assert "/broker/client/kick" not in page
        answer = await post(client, "/broker/client/end", client_id="pump", confirm="yes")
        assert answer.status_code == 422
        answer = await post(client, "/broker/client/end", client_id="pump", confirm="END")
        assert (answer.status_code, answer.headers["location"]) == (303, "/broker?done=ended")
        assert "The session is ended." in (await client.get("/broker?done=ended")).text
        assert "No client matches." in (await client.get("/broker?state=away")).text
        page = (await client.get("/broker/client?id=press-01")).text
        assert "and its connection is closed" in page


async def test_clearing_takes_a_word(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        page = (await client.get("/broker/retained?q=plant/2")).text
        assert "/broker/retained/clear?seq=2" in page
        assert "/broker/retained/clear?seq=3" not in page
        page = (await client.get("/broker/retained/clear?seq=2")).text
        assert "plant/2" in page
        assert "Type “clear”" in page
        for word in ("", "yes"):
            answer = await post(client, "/broker/retained/clear", topic="plant/2", seq="2", confirm=word)
            assert answer.status_code == 422
        assert len(node.broker.retained) == 3
        answer = await post(client, "/broker/retained/clear", topic="plant/2", seq="2", confirm=" Clear ")
        assert (answer.status_code, answer.headers["location"]) == (303, "/broker/retained?done=cleared")
        assert [row["topic"] for row in node.broker.retained] == ["plant/1", "plant/3"]


@pytest.mark.parametrize("seq", ["", "x", "-1", "2", "9" * 30, "²"])
async def test_a_message_that_is_gone_is_not_another_one(tmp_path: Path, seq: str) -> None:
    async with pages(tmp_path) as (node, client):
        node.broker.retained = [retained_row(1, "plant/1"), retained_row(3, "plant/1x")]
        answer = await client.get(f"/broker/retained/clear?seq={quote(seq)}")
        assert answer.status_code == 404
        assert "gone" in answer.text


async def test_older_retained_messages(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        node.broker.retained = [retained_row(number, f"t/{number}") for number in range(1, 61)]
        page = (await client.get("/broker/retained?q=t")).text
        assert 'href="/broker/retained?q=t&amp;before=11" rel="next"' in page
        page = (await client.get("/broker/retained?q=t&before=11")).text
        assert "t/10<" in page
        assert "t/11<" not in page
        assert "Nothing is retained" not in page


async def test_acts_need_the_csrf_token(tmp_path: Path) -> None:
    async with pages(tmp_path) as (node, client):
        del client.headers["x-csrf-token"]
        for path in ("/broker/client/kick", "/broker/client/end", "/broker/retained/clear"):
            answer = await client.post(path, data={"confirm": "yes"})
            assert answer.status_code == 403
        assert not any(
            question in ("kick", "end_session", "clear_retained") for question, _ in node.broker.asked
        )


async def test_what_an_operator_has_to_know(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.broker.statistics["plane"]["lagging_subscribers"] = 0
        assert attention(numbers_of(node.services)) == ()
        node.broker.statistics["plane"] |= {"lagging_subscribers": 2, "log_is_full": True}
        node.broker.connected = False
        node.broker.statistics["sessions"] |= {"dropped_messages": 4, "lost_messages": 1}
        lines = attention(numbers_of(node.services))
        assert [line.tone for line in lines] == ["bad", "bad", "warn", "warn"]
        assert lines[3].text.startswith("5 messages for clients that were away too long")
        assert "2 subscribers are too slow" in lines[2].text


def test_rows_keep_their_places_and_say_who_is_gone() -> None:
    one = _client("b", is_lagging=True, in_flight=3, queued_messages=4)
    views = rows_of(["a", "b"], structs.ClientPage(clients=(one,), next_cursor=None))
    assert [(view.client_id, view.look.word, view.waiting) for view in views] == [
        ("a", "gone", 0),
        ("b", "fed from the log", 7),
    ]
    assert (views[0].principal_url, views[1].principal_url) == ("", "/devices/b")
    assert ClientView(client_id="..", facts=None).url == "/broker/client?id=.."


def test_retained_views_hide_nothing() -> None:
    view = RetainedView.of(
        structs.RetainedMessage(
            seq=1, topic=HOSTILE, client_id="c", qos=0, payload_bytes=9, payload=b"\xff", received_at_ms=1,
            expires_at_ms=None,
        )
    )  # fmt: skip
    assert "\u202e" not in view.topic
    assert view.is_cut
    assert view.payload.startswith("hex:")


def test_counts_as_people_read_them() -> None:
    found = [
        (word.word, word.count) for word in words({"keep_alive": 2, "kicked": 0, "takeover": 7, "a_b": 2})
    ]
    assert found == [("takeover", 7), ("a b", 2), ("keep alive", 2)]


def _client(client_id: str, **changes: object) -> structs.Client:
    return structs.Client(**client_row(client_id, **changes))
