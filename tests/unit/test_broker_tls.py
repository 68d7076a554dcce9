"""The settings of the TLS port."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from broker.tls import server_context


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_certificate_that_can_not_be_used(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "certificate.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        server_context(path)
    assert str(path) in caught.value.message


def test_nothing_below_tls_1_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", lambda self, path: None)
    context = server_context(tmp_path)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
