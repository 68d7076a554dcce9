"""The page of the audit: filters in the URL, before and after, the check."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.requests import Request

from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT
from tests.acts import ACT
from tests.node_kit import running_node
from ui.pages.audit import ChangedValue, Filter, changes_of


def filter_of(query: str) -> Filter:
    return Filter.of(Request({"type": "http", "query_string": query.encode(), "headers": []}))


def test_a_filter_goes_into_the_url_and_comes_back() -> None:
    chosen = filter_of(
        "actor=anna&action=device&kind=device&object=a%26b&outcome=refused&from=2026-03-01&to=2026-03-02"
    )
    assert filter_of(chosen.query().removeprefix("?")) == chosen
    assert chosen.catalog().from_ms == 1_772_323_200_000
    assert chosen.catalog().to_ms == 1_772_323_200_000 + 2 * 86_400_000, "the last day is included"
    export = parse_qs(urlsplit(chosen.export_url("csv")).query)
    assert export["format"] == ["csv"]
    assert export["object_id"] == ["a&b"]
    assert export["to"] == ["1772496000000"]


def test_what_means_nothing_is_left_out() -> None:
    assert filter_of("outcome=perhaps&from=tomorrow&to=2026-02-30&unknown=1") == Filter()
    assert Filter().query() == ""


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('{"a": 1}', '{"a": 2}', [("a", "1", "2")]),
        (None, '{"a": "x", "b": null}', [("a", "—", "x")]),
        ('{"a": ["t"]}', None, [("a", '["t"]', "—")]),
        ('{"a": ""}', '{"a": "x"}', [("a", "“”", "x")]),
        ('{"p": "(hidden)"}', '{"p": "(hidden)"}', [("p", "(hidden)", "(hidden)")]),
        (None, None, []),
        ("[]", "3", []),
    ],
)
def test_before_and_after(
    before: str | None, after: str | None, expected: list[tuple[str, str, str]]
) -> None:
    assert list(changes_of(before, after)) == [
        ChangedValue(name=name, before=old, after=new) for name, old, new in expected
    ]


def test_what_cannot_be_seen_is_shown() -> None:
    (change,) = changes_of(None, '{"a": "\\u202egnp.exe"}')
    assert "\u202e" not in change.after


async def test_the_page_and_the_check(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        await client.post("/api/v1/devices", json={"device_id": "d1", "name": "<b>pump</b>"})
        page = await client.get("/audit")
        assert page.status_code == 200
        assert "device.create" in page.text
        assert "&lt;b&gt;pump&lt;/b&gt;" in page.text
        assert "<b>pump" not in page.text
        assert "Check now" in page.text
        filtered = await client.get("/audit?action=session")
        assert "device.create" not in filtered.text.split("<tbody>", 1)[1]
        assert "No entry matches" in (await client.get("/audit?actor=x")).text
        checked = await client.post("/audit/check", data={"head": ""})
        assert (checked.status_code, checked.headers["location"]) == (303, "/audit#check")
        assert "every hash and signature right" in (await client.get("/audit")).text
        await client.post("/audit/check", data={"head": f"99:{'a' * 64}"})
        assert "The newest entries are missing" in (await client.get("/audit")).text
        for head in ("nonsense", "1" * 201):
            refused = await client.post("/audit/check", data={"head": head})
            assert refused.status_code == 422
        bad = await client.get("/audit?after=x")
        assert bad.status_code == 422


async def test_pages_of_it(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        await node.catalog.write(lambda c: [c.add_device(f"d{n:03}") for n in range(120)], by=ACT)
        first = await client.get("/audit?action=test")
        assert 'rel="next"' in first.text
        link = first.text.split('rel="next"')[0].rpartition('href="')[2].split('"')[0].replace("&amp;", "&")
        second = await client.get(link)
        newest = 119 - PAGE_ROW_COUNT_DEFAULT
        assert f">d{newest:03}<" in second.text
        assert f">d{newest + 1:03}<" not in second.text
        assert "Newest" in second.text


async def test_others_see_neither_page_nor_entry_in_the_navigation(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        async with node.admin() as client:
            assert 'href="/audit"' in (await client.get("/settings")).text
        async with node.client() as stranger:
            assert (await stranger.get("/audit")).status_code == 303
