"""Signed addresses: good for one device, one content and one time."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotAuthorized
from appliance.core.limits_delivery import DOWNLOAD_URL_MS
from appliance.identity.keys import SiteKeys
from appliance.updates.signed_urls import SignedUrls

SHA256 = "ab" * 32


def made(tmp_path: Path) -> tuple[SignedUrls, ManualClock]:
    clock = ManualClock()
    return SignedUrls(SiteKeys.load_or_create(tmp_path), clock=clock, base="https://box:8444"), clock


def code_of(urls: SignedUrls, query: str, sha256: str = SHA256) -> str:
    with pytest.raises(NotAuthorized) as caught:
        urls.device_of(query, sha256)
    return caught.value.code


def test_an_address_says_whose_it_is(tmp_path: Path) -> None:
    urls, _ = made(tmp_path)
    url = urlsplit(urls.url("pump 1/ü", SHA256))
    assert (url.scheme, url.netloc, url.path) == ("https", "box:8444", f"/dl/{SHA256}")
    assert urls.device_of(url.query, SHA256) == "pump 1/ü"
    assert urls.url("pump", SHA256, base="https://10.0.0.1").startswith("https://10.0.0.1/dl/")


def test_the_same_for_an_hour(tmp_path: Path) -> None:
    urls, clock = made(tmp_path)
    clock.set_wall(1_700_000_000_000 // 3_600_000 * 3_600_000)
    first = urls.url("pump", SHA256)
    clock.advance(3_599_999)
    assert urls.url("pump", SHA256) == first
    clock.advance(1)
    assert urls.url("pump", SHA256) != first


def test_it_ends(tmp_path: Path) -> None:
    urls, clock = made(tmp_path)
    query = urlsplit(urls.url("pump", SHA256)).query
    clock.advance(DOWNLOAD_URL_MS)
    assert urls.device_of(query, SHA256) == "pump"
    clock.advance(3_600_000)
    assert code_of(urls, query) == "url_ended"


def test_what_was_changed_is_refused(tmp_path: Path) -> None:
    urls, _ = made(tmp_path)
    query = urlsplit(urls.url("pump", SHA256)).query
    assert code_of(urls, query.replace("d=pump", "d=fan")) == "url_invalid"
    assert code_of(urls, query, "cd" * 32) == "url_invalid"
    assert code_of(urls, query.replace("&e=1", "&e=2")) == "url_invalid"
    assert code_of(urls, query[:-1] + ("A" if query[-1] != "A" else "B")) == "url_invalid"
    for query in ("s=x", "s=x&d=pump&e=-1", "s=%ff&d=%ff&e=%D9%A3", "s=", "d=pump&s=x&e=" + "9" * 5000):
        assert code_of(urls, query) == "url_invalid", query


def test_another_site_signs_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    query = urlsplit(made(tmp_path / "a")[0].url("pump", SHA256)).query
    assert code_of(made(tmp_path / "b")[0], query) == "url_invalid"


def test_what_is_not_signed_is_nobodys(tmp_path: Path) -> None:
    urls, _ = made(tmp_path)
    assert urls.device_of("", SHA256) is None
    assert urls.device_of("d=pump", SHA256) is None
    assert urls.device_of("&" * 2000 + "s=x", SHA256) is None
