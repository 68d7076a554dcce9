"""When certificates and revocation lists end, and files that are neither."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from broker.tls_files import certificate_ends_at_ms, crl_ends_at_ms
from tests.pki_kit import Authority

DAY_MS = 86_400_000


def days_left(ends_at_ms: int) -> float:
    return (ends_at_ms - time.time() * 1000) / DAY_MS


def test_the_first_that_ends_counts(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(authority.path.read_bytes() + authority.issue("pump", days=(-1, 3)).read_bytes())
    assert days_left(certificate_ends_at_ms(authority.path)) == pytest.approx(30, abs=0.1)
    assert days_left(certificate_ends_at_ms(bundle)) == pytest.approx(3, abs=0.1)


def test_the_first_list_that_ends_counts(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lists = authority.revoke([], days=(-1, 5)).read_bytes() + authority.revoke([], days=(-3, -1)).read_bytes()
    path = tmp_path / "lists.pem"
    path.write_bytes(lists)
    assert days_left(crl_ends_at_ms(path)) == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("read", [certificate_ends_at_ms, crl_ends_at_ms])
@pytest.mark.parametrize(
    "content",
    [None, b"", b"text", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b"x" * 5_000_000],
    ids=["missing", "empty", "text", "no list", "too large"],
)
def test_what_can_not_be_used(tmp_path: Path, read: Callable[[Path], int], content: bytes | None) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read(path)
    assert str(path) in refused.value.message
    assert refused.value.hint
