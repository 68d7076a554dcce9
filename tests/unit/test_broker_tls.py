"""The settings of the TLS ports, what is wrong with files, and loading them anew."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from appliance.core.errors import ConfigError
from broker.tls import HTTP, MQTT, TlsContexts, TlsFiles, server_context
from broker.tls_files import certificate_ends_at_ms
from tests.pki_kit import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_certificate_that_can_not_be_used(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "certificate.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        server_context(TlsFiles(certificate=path))
    assert str(path) in caught.value.message


def test_a_key_with_a_passphrase_is_refused_and_asked_for_by_nobody(authority: Authority) -> None:
    path = authority.issue("box", server=True)
    certificate = path.read_text().partition("-----BEGIN CERTIFICATE-----")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    path.write_text(key.decode() + "".join(certificate[1:]))
    with pytest.raises(ConfigError, match="passphrase"):
        server_context(TlsFiles(certificate=path))


def test_nothing_below_tls_1_2_and_no_renegotiation(authority: Authority) -> None:
    context = server_context(TlsFiles(certificate=authority.issue("box", server=True)))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("auth", ["optional", "required"])
def test_client_certificates(authority: Authority, auth: str) -> None:
    files = TlsFiles(
        certificate=authority.issue("box", server=True),
        client_auth=auth,
        client_ca=authority.path,
        client_crl=authority.revoke([]),
    )
    context = server_context(files)
    assert context.verify_mode is (ssl.CERT_REQUIRED if auth == "required" else ssl.CERT_OPTIONAL)
    assert context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_that_a_certificate_has_begun_is_not_resumed(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    """It would let the certificate in for two hours after its end."""
    files = TlsFiles(
        certificate=authority.issue("box", server=True), client_auth="optional", client_ca=authority.path
    )
    served = server_context(files)
    client = ssl.create_default_context(cafile=str(authority.path))
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    client.minimum_version = client.maximum_version = version
    client.load_cert_chain(authority.issue("pump"))
    first = _connected(served, client, None)
    assert not _connected(served, client, first.session).session_reused


def _connected(
    served: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLObject:
    """The client's end of a connection through memory, once a byte of the server has come."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    there = served.wrap_bio(to_server, to_client, server_side=True)
    is_up: set[ssl.SSLObject] = set()
    while len(is_up) < 2:
        for end in {here, there} - is_up:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                is_up.add(end)
    there.write(b"x")
    assert here.read(1) == b"x"
    assert there.getpeercert(binary_form=True)
    return here


class TestTheSitesAuthority:
    def _files(self, authority: Authority, **more: Any) -> TlsFiles:
        return TlsFiles(
            certificate=authority.issue("box", server=True),
            site_ca=authority.folder / "devices.pem",
            site_crl=authority.folder / "crl.pem",
            client_auth=more.pop("client_auth", "optional"),
            **more,
        )

    async def test_certificates_are_asked_for_as_soon_as_it_is_there(self, authority: Authority) -> None:
        contexts = TlsContexts(self._files(authority))
        assert contexts.mqtt().verify_mode is ssl.CERT_NONE
        assert not contexts.statistics().trusts_site
        shutil.copy(authority.path, authority.folder / "devices.pem")
        await contexts.look()
        assert contexts.mqtt().verify_mode is ssl.CERT_OPTIONAL
        assert contexts.statistics().trusts_site
        assert contexts.mqtt().cert_store_stats()["x509_ca"] == 1
        assert contexts.web().verify_mode is ssl.CERT_NONE, "a browser would ask its user"

    def test_required_lets_nobody_in_before_it_is_there(self, authority: Authority) -> None:
        context = server_context(self._files(authority, client_auth="required"))
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.cert_store_stats()["x509_ca"] == 0

    def test_it_stands_beside_the_operators_own(self, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "own").mkdir()
        own = Authority(tmp_path / "own", "own")
        shutil.copy(authority.path, authority.folder / "devices.pem")
        files = self._files(authority, client_ca=own.path)
        for protocol in (MQTT, HTTP):
            context = server_context(files, protocol)
            assert context.verify_mode is ssl.CERT_OPTIONAL
            assert context.cert_store_stats()["x509_ca"] == 2

    def test_its_revocation_list_comes_with_another(self, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "own").mkdir()
        own = Authority(tmp_path / "own", "own")
        shutil.copy(authority.path, authority.folder / "devices.pem")
        shutil.copy(authority.revoke([]), authority.folder / "crl.pem")
        context = server_context(self._files(authority, client_ca=own.path, client_crl=own.revoke([])))
        assert context.cert_store_stats()["crl"] == 2
        assert server_context(self._files(authority, client_ca=own.path)).cert_store_stats()["crl"] == 0

    def test_off_asks_nobody(self, authority: Authority) -> None:
        shutil.copy(authority.path, authority.folder / "devices.pem")
        context = server_context(self._files(authority, client_auth="off"))
        assert context.verify_mode is ssl.CERT_NONE

    def test_a_list_without_an_authority_of_ones_own(self, authority: Authority) -> None:
        with pytest.raises(ConfigError, match="tls_client_crl"):
            server_context(self._files(authority, client_crl=authority.revoke([])))


class TestFilesThatDoNotGoTogether:
    def test_an_authority_and_nobody_is_asked(self, authority: Authority) -> None:
        certificate = authority.issue("box", server=True)
        with pytest.raises(ConfigError, match="nobody is asked"):
            server_context(TlsFiles(certificate=certificate, client_ca=authority.path))

    def test_a_certificate_is_asked_for_and_no_authority_named(self, authority: Authority) -> None:
        certificate = authority.issue("box", server=True)
        with pytest.raises(ConfigError, match="tls_client_ca"):
            server_context(TlsFiles(certificate=certificate, client_auth="required"))

    @pytest.mark.parametrize("content", [None, "", "nonsense", "leaf"])
    def test_an_authority_that_is_none(self, authority: Authority, content: str | None) -> None:
        path = authority.folder / "bundle.pem"
        if content == "leaf":
            path.write_bytes(authority.issue("leaf").read_bytes())
        elif content is not None:
            path.write_text(content)
        files = TlsFiles(
            certificate=authority.issue("box", server=True), client_auth="required", client_ca=path
        )
        with pytest.raises(ConfigError, match="tls_client_ca") as caught:
            server_context(files)
        assert str(path) in caught.value.message

    def test_a_revocation_list_that_is_none(self, authority: Authority) -> None:
        files = TlsFiles(
            certificate=authority.issue("box", server=True),
            client_auth="required",
            client_ca=authority.path,
            client_crl=authority.path,
        )
        with pytest.raises(ConfigError, match="revocation list"):
            server_context(files)

    def test_a_file_too_large_is_not_read(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("broker.tls.TLS_FILE_BYTES_MAX", 100)
        files = TlsFiles(
            certificate=authority.issue("box", server=True), client_auth="required", client_ca=authority.path
        )
        with pytest.raises(ConfigError, match="larger than 100 bytes"):
            server_context(files)


class TestReload:
    async def test_what_changed_counts_for_the_next(self, authority: Authority) -> None:
        path = authority.issue("box", server=True)
        contexts = TlsContexts(TlsFiles(certificate=path))
        before, web = contexts.mqtt(), contexts.web()
        await contexts.look()
        assert contexts.mqtt() is before, "nothing changed"
        assert contexts.statistics().loads == 1
        authority.issue("box", server=True, days=(-1, 20))
        await contexts.look()
        assert contexts.mqtt() is not before
        assert contexts.web() is not web
        statistics = contexts.statistics()
        assert (statistics.loads, statistics.failures, statistics.failing) == (2, 0, False)
        assert statistics.certificate_expires_at_ms == certificate_ends_at_ms(path)

    @pytest.mark.parametrize("content", [b"", b"half a file", None])
    async def test_a_broken_file_leaves_the_old_settings_and_says_so(
        self, authority: Authority, content: bytes | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr(
            "broker.tls.log",
            SimpleNamespace(
                error=lambda event, **fields: said.append(f"{event} {fields}"), info=lambda *_, **__: None
            ),
        )
        path = authority.issue("box", server=True)
        whole = path.read_bytes()
        contexts = TlsContexts(TlsFiles(certificate=path))
        before, expires = contexts.mqtt(), contexts.statistics().certificate_expires_at_ms
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        await contexts.look()
        await contexts.look()
        statistics = contexts.statistics()
        assert contexts.mqtt() is before
        assert (statistics.loads, statistics.failures, statistics.failing) == (1, 1, True)
        assert statistics.certificate_expires_at_ms == expires
        assert len(said) == 1, "once for each change"
        assert "those of before stay in force" in said[0]
        assert str(path) in said[0]
        path.write_bytes(whole)
        os.utime(path, ns=(1, 1))
        await contexts.look()
        assert not contexts.statistics().failing

    async def test_watching(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        import trio

        monkeypatch.setattr("broker.tls.RELOAD_INTERVAL_MS", 1)
        path = authority.issue("box", server=True)
        contexts = TlsContexts(TlsFiles(certificate=path))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(contexts.watch)
                authority.issue("box", server=True)
                while contexts.statistics().loads < 2:  # noqa: ASYNC110 - the watch has no event
                    await trio.sleep(0.002)
                nursery.cancel_scope.cancel()

    def test_broken_from_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            TlsContexts(TlsFiles(certificate=tmp_path / "none"))


def test_the_web_port_speaks_http(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[list[str]] = []
    monkeypatch.setattr(ssl.SSLContext, "set_alpn_protocols", lambda self, names: offered.append(names))
    server_context(TlsFiles(certificate=authority.issue("box", server=True)), HTTP)
    assert offered == [["http/1.1"]]
