"""The TLS settings of the broker's own port."""

from __future__ import annotations

import ssl
from pathlib import Path

from appliance.core.errors import ConfigError


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the server's certificate and the ALPN name `mqtt`.

    Raises:
        ConfigError: the files can't be read or don't belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["mqtt"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The broker's certificate {certificate} and its key can't be used: {error}.",
            hint="Check that both files exist, belong together and can be read by this user.",
        ) from error
    return context
