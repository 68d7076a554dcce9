"""The TLS settings of the broker's own ports, and their renewal while it runs.

The files are looked at every RELOAD_INTERVAL_MS. Changed ones count for the connections that come after; those that
stand are not touched. Changed ones that can't be used count for nobody: what was loaded before stays in force, the log
says so, and the statistics and `homeport doctor` do until they can be used.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import structlog
import trio

from appliance.core.config import BrokerConfig
from appliance.core.errors import ConfigError
from appliance.core.limits import TLS_FILE_BYTES_MAX

from .tls_files import certificate_ends_at_ms

RELOAD_INTERVAL_MS: Final = 2000
"""Between a certificate's renewal and its use; three calls of stat(2)."""
FIRST_INTERVAL_MS: Final = 200
"""The same while the site's authority is not there yet, whose first certificate may be used as soon as it is made."""
MQTT: Final = "mqtt"
"""The ALPN name of MQTT; a client that offers none is served as well."""
HTTP: Final = "http/1.1"
"""What browsers offer for a WebSocket."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the settings come from.

    Attributes:
        certificate: Key and certificate chain, PEM in one file.
        client_auth: `off`, `optional` or `required`: whether clients show a certificate.
        client_ca: Bundle of the operator's own authorities that may have signed it.
        client_crl: Those authorities' revocation lists.
        site_ca: Bundle of the site's own authority, which may have signed it, too. It need not be there yet.
        site_crl: Its revocation list. Only read beside a `client_crl`, where OpenSSL wants one of every authority: whose certificate
            of the site was revoked the catalog says sooner, and the client can be told.
    """

    certificate: Path
    client_auth: str = "off"
    client_ca: Path | None = None
    client_crl: Path | None = None
    site_ca: Path | None = None
    site_crl: Path | None = None

    @property
    def site_ca_is_there(self) -> bool:
        return self.site_ca is not None and self.site_ca.exists()

    @classmethod
    def of(
        cls,
        config: BrokerConfig,
        certificate: Path,
        *,
        site_ca: Path | None = None,
        site_crl: Path | None = None,
    ) -> Self:
        """As configured."""
        return cls(
            certificate=certificate,
            client_auth=config.tls_client_auth,
            client_ca=config.tls_client_ca,
            client_crl=config.tls_client_crl,
            site_ca=site_ca,
            site_crl=site_crl,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsStatistics:
    """Numbers since start.

    Attributes:
        loads: Times the files were loaded, the first included.
        failures: Times changed files could not be used.
        failing: Whether the files as they are now can't be used, and older settings are in force.
        certificate_expires_at_ms: Of the certificate in force, UTC ms.
        trusts_site: Whether certificates of the site's own authority count.
    """

    loads: int
    failures: int
    failing: bool
    certificate_expires_at_ms: int
    trusts_site: bool


def server_context(files: TlsFiles, protocol: str = MQTT) -> ssl.SSLContext:
    """TLS 1.2 or newer.

    Args:
        protocol: Its ALPN name.
    Raises:
        ConfigError: a file can't be read or used, or the files don't go together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([protocol])
    try:
        # A key with a passphrase would be asked for on the terminal.
        context.load_cert_chain(files.certificate, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The broker's key and certificate in {files.certificate} can't be used: {error}.",
            hint="Check that the file exists, holds both without a passphrase and can be read by this user.",
        ) from error
    if files.client_auth == "off":
        if files.client_ca is not None or files.client_crl is not None:
            raise ConfigError(
                "broker.tls_client_ca or tls_client_crl is set, and nobody is asked for a certificate.",
                hint='Set broker.tls_client_auth to "optional" or "required", or take the files out.',
            )
        return context
    is_required = files.client_auth == "required"
    if files.client_ca is None and (files.client_crl is not None or (is_required and files.site_ca is None)):
        raise ConfigError(
            "broker.tls_client_crl is set, and no authority is named whose list it is."
            if files.client_crl is not None
            else 'broker.tls_client_auth is "required", and no authority is named.',
            hint="Set broker.tls_client_ca to the PEM file of who signs the devices' certificates.",
        )
    if files.client_ca is None and protocol == HTTP and not is_required:
        # A browser that is asked asks its user which of their certificates to show: not for authorities that nobody named.
        return context
    has_site_ca = files.site_ca_is_there
    if files.site_ca is not None and has_site_ca:
        _load(context, files.site_ca, "The site's authority", "a certificate of an authority", "x509_ca")
    if files.client_ca is not None:
        _load(context, files.client_ca, "broker.tls_client_ca", "a certificate of an authority", "x509_ca")
    if files.client_crl is not None:
        _load(context, files.client_crl, "broker.tls_client_crl", "a revocation list", "crl")
        if files.site_crl is not None and has_site_ca and files.site_crl.exists():
            _load(context, files.site_crl, "The site's revocation list", "a revocation list", "crl")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if is_required:
        # Without any authority yet nobody gets in; the site's is looked for every RELOAD_INTERVAL_MS.
        context.verify_mode = ssl.CERT_REQUIRED
    elif has_site_ca or files.client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
    if context.verify_mode != ssl.CERT_NONE:
        # A resumed session brings its certificate along and nobody looks at its end again, for two hours.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def _load(context: ssl.SSLContext, path: Path, key: str, what: str, kind: str) -> None:
    try:
        if path.stat().st_size > TLS_FILE_BYTES_MAX:
            raise ConfigError(
                f"{key} = {path} is larger than {TLS_FILE_BYTES_MAX} bytes.",
                hint=f"Is it the right file? It should hold {what} as PEM.",
            )
        context.load_verify_locations(path)
        found = context.cert_store_stats()[kind]
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{key} = {path} can't be used: {error}.",
            hint=f"Check that the file exists, holds {what} as PEM and can be read by this user.",
        ) from error
    if not found:
        raise ConfigError(f"{key} = {path} holds no PEM block that is {what}.", hint="Is it the right file?")


@dataclass(frozen=True, slots=True)
class _Loaded:
    mqtt: ssl.SSLContext
    web: ssl.SSLContext
    expires_at_ms: int
    trusts_site: bool


class TlsContexts:
    """See the module's docstring. Loads at once, which blocks for some ms.

    Raises:
        ConfigError: as `server_context`.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = _stamps(files)
        self._loaded = _load_all(files)
        self._loads, self._failures = 1, 0
        self._failing = False

    def mqtt(self) -> ssl.SSLContext:
        """For the next connection that speaks MQTT."""
        return self._loaded.mqtt

    def web(self) -> ssl.SSLContext:
        """For the next WebSocket connection."""
        return self._loaded.web

    def statistics(self) -> TlsStatistics:
        return TlsStatistics(
            loads=self._loads,
            failures=self._failures,
            failing=self._failing,
            certificate_expires_at_ms=self._loaded.expires_at_ms,
            trusts_site=self._loaded.trusts_site,
        )

    async def watch(self) -> None:
        """Load changed files; runs until cancelled. The site's authority is waited for at a box's first start."""
        while True:
            is_whole = self._files.site_ca is None or self._files.site_ca_is_there
            await trio.sleep((RELOAD_INTERVAL_MS if is_whole else FIRST_INTERVAL_MS) / 1000)
            await self.look()

    async def look(self) -> None:
        """Load the files if they changed."""
        # The stamps come first: what changes while it is loaded is loaded again.
        stamps = await trio.to_thread.run_sync(_stamps, self._files)
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._loaded = await trio.to_thread.run_sync(_load_all, self._files)
        except ConfigError as error:
            self._failures += 1
            self._failing = True
            log.error(
                "changed TLS files can't be used: those of before stay in force",
                error=error.message,
                hint=error.hint,
            )
            return
        self._loads += 1
        self._failing = False
        log.info("TLS files were loaded anew", certificate=str(self._files.certificate))


def _load_all(files: TlsFiles) -> _Loaded:
    is_there = files.site_ca_is_there and files.client_auth != "off"
    return _Loaded(
        server_context(files, MQTT),
        server_context(files, HTTP),
        certificate_ends_at_ms(files.certificate),
        is_there,
    )


def _stamps(files: TlsFiles) -> tuple[tuple[int, int, int] | None, ...]:
    paths = (files.certificate, files.client_ca, files.client_crl, files.site_ca, files.site_crl)
    return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None  # Gone, or not ours to look at: that is a change, and loading says what is wrong.
    return status.st_mtime_ns, status.st_size, status.st_ino
