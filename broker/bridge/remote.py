"""A connection to the other broker: TCP, and TLS whose certificate is checked for the name we asked for."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.core.errors import ConfigError, Unavailable
from appliance.core.limits import BRIDGE_CONNECT_TIMEOUT_MS, BRIDGE_PASSWORD_FILE_BYTES_MAX
from appliance.core.settings import Bind


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How the other broker is checked.

    Attributes:
        server_name: Must be in its certificate.
        ca_file: PEM; None for the system's certificates.
        certificate_file: Our certificate with its key, PEM; None for none.
    """

    server_name: str
    ca_file: Path | None = None
    certificate_file: Path | None = None


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and name checked. Blocks.

    Raises:
        ConfigError: a file can't be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file {settings.ca_file} can't be used: {_words(error)}.",
            hint="It must hold certificates in PEM and be readable by Homeport's user.",
            code="bridge_tls_files",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if settings.certificate_file is not None:
        try:
            context.load_cert_chain(settings.certificate_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"certificate_file {settings.certificate_file} can't be used: {_words(error)}.",
                hint="It must hold our certificate and its key without a passphrase, in PEM.",
                code="bridge_tls_files",
            ) from error
    return context


def read_password(path: Path) -> bytes:
    """The first line of a password file. Blocks.

    Raises:
        ConfigError: it can't be read, is empty or too long, or others may read it.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode & 0o777
            data = file.read(BRIDGE_PASSWORD_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"password_file {path} can't be read: {_words(error)}.",
            hint="Make it with the password in its first line, owned by Homeport's user, mode 600.",
            code="bridge_password_file",
        ) from error
    if mode & 0o077:
        raise ConfigError(
            f"password_file {path} may be read by others (mode {mode:o}).",
            hint=f"Run: chmod 600 {path}",
            code="bridge_password_file",
        )
    password = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not password or len(data) > BRIDGE_PASSWORD_FILE_BYTES_MAX:
        raise ConfigError(
            f"password_file {path} has no password in its first line, or more than {BRIDGE_PASSWORD_FILE_BYTES_MAX} bytes.",
            hint="Write the password, and nothing else, into its first line.",
            code="bridge_password_file",
        )
    return password


async def open_remote(address: Bind, tls: TlsSettings | None) -> trio.abc.Stream:
    """Connect.

    Raises:
        Unavailable: nobody answers at the address, or the certificate is not what it should be; says what to look at.
        ConfigError: as `client_context`.
    """
    context = await trio.to_thread.run_sync(client_context, tls) if tls is not None else None
    stream: trio.abc.Stream | None = None
    try:
        with trio.fail_after(BRIDGE_CONNECT_TIMEOUT_MS / 1000):
            stream = await trio.open_tcp_stream(address.host, address.port)
            if context is None or tls is None:
                return stream
            secured = trio.SSLStream(stream, context, server_hostname=tls.server_name, https_compatible=True)
            await secured.do_handshake()
            return secured
    except trio.TooSlowError as error:
        await _let_go(stream)
        raise Unavailable(
            f"{address} does not answer within {BRIDGE_CONNECT_TIMEOUT_MS // 1000} s.",
            hint="Look at the network and the firewall in between, and whether the port speaks TLS.",
            code="bridge_no_answer",
        ) from error
    except trio.BrokenResourceError as error:
        await _let_go(stream)
        raise _tls_failed(address, error.__cause__) from error
    except OSError as error:
        await _let_go(stream)
        raise Unavailable(
            f"{address} can't be reached: {_words(error)}.",
            hint="Look at the address, at whether the other broker runs, and at the network.",
            code="bridge_unreachable",
        ) from error
    except trio.Cancelled:
        await _let_go(stream)
        raise


async def _let_go(stream: trio.abc.Stream | None) -> None:
    if stream is not None:
        await trio.aclose_forcefully(stream)


def _tls_failed(address: Bind, cause: BaseException | None) -> Unavailable:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(
            f"The certificate of {address} is not trusted: {cause.verify_message}.",
            hint="Set ca_file to the certificate that signed it, or server_name to the name in it.",
            code="bridge_certificate",
        )
    words = _words(cause) if isinstance(cause, OSError) else "the connection was closed"
    return Unavailable(
        f"TLS with {address} failed: {words}.",
        hint="Look at whether the port speaks TLS and whether the other broker wants a certificate from us.",
        code="bridge_tls",
    )


def _words(error: OSError) -> str:
    """What went wrong, without Python's decoration. Of several attempts, the last."""
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[-1]
    if error.strerror is None and isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return error.strerror or str(error)
