from __future__ import annotations

import pytest

from appliance.core.config_values import network, origin
from appliance.core.settings import BadValueError


@pytest.mark.parametrize(
    ("text", "said"),
    [("10.0.0.5", "10.0.0.5/32"), (" 10.0.0.0/24", "10.0.0.0/24"), ("2001:db8::/32", "2001:db8::/32")],
)
def test_networks(text: str, said: str) -> None:
    assert str(network(text)) == said


@pytest.mark.parametrize("text", ["10.0.0.5/24", "10.0.0.0/33", "proxy.example", ""])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(BadValueError, match="such as"):
        network(text)


@pytest.mark.parametrize(
    "text", ["https://Pages.example:8443", "http://192.0.2.1", " https://[2001:db8::1]:1 "]
)
def test_origins(text: str) -> None:
    assert origin(text) == text.strip().lower()


@pytest.mark.parametrize(
    "text", ["", "*", "null", "pages.example", "https://pages.example/", "ftp://x", "https://", "https://a b"]
)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(BadValueError, match="such as"):
        origin(text)
