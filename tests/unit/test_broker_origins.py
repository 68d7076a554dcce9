"""Which pages may connect."""

from __future__ import annotations

import pytest

from broker.origins import OriginPolicy

POLICY = OriginPolicy(["Box", "box.local", "192.0.2.1"], ["https://pages.example:8443"])


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "anything"),
        ("https://box:8443", "box:8083"),
        ("https://BOX.local", "box.LOCAL:8084"),
        ("http://192.0.2.1", "192.0.2.1:8083"),
        ("http://198.51.100.9:3000", "198.51.100.9:8083"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8084"),
        ("https://pages.example:8443", "box"),
        ("https://Pages.example:8443", "192.0.2.1:8084"),
    ],
)
def test_pages_of_this_box_and_those_listed(origin: str | None, host: str) -> None:
    assert POLICY.allows(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        pytest.param("https://evil.example", "192.0.2.1:8083", id="another page"),
        pytest.param("https://evil.example", "evil.example:8083", id="a name made to resolve to the box"),
        pytest.param("https://box", "192.0.2.1", id="our name, called by another"),
        pytest.param("https://pages.example", "box", id="another port than the listed one"),
        pytest.param("http://pages.example:8443", "box", id="without TLS"),
        pytest.param("null", "box", id="a sandbox or a file"),
        pytest.param("", "", id="nothing at all"),
        pytest.param("https://box.evil.example", "box", id="a longer name"),
        pytest.param("https://box@evil.example", "box", id="our name as a user"),
        pytest.param("https://[box", "box", id="no URL"),
        pytest.param("https://192.0.2.1.evil.example", "192.0.2.1", id="an address as a label"),
    ],
)
def test_all_others(origin: str, host: str) -> None:
    assert not POLICY.allows(origin, host)
