"""The TLS settings of the broker's own port."""

from __future__ import annotations

import ssl
from pathlib import Path

from appliance.core.errors import ConfigError


def server_context(path: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the ALPN name `mqtt`.

    Args:
        path: Key and certificate chain, PEM in one file.

    Raises:
        ConfigError: the file can't be read, or key and certificate don't belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["mqtt"])
    try:
        context.load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The broker's key and certificate in {path} can't be used: {error}.",
            hint="Check that the file exists, holds both and can be read by this user.",
        ) from error
    return context
