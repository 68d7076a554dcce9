"""Until when TLS files count: certificates, bundles of authorities and revocation lists, as PEM. Blocks for a file's reading."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from appliance.core.errors import ConfigError
from appliance.core.limits import TLS_FILE_BYTES_MAX

_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


def certificate_ends_at_ms(path: Path) -> int:
    """When the first certificate of a file that ends does so, UTC ms. Raises ConfigError."""
    data = _read(path)
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise _unusable(path, "a certificate", str(error)) from error
    return min(_ms(certificate.not_valid_after_utc) for certificate in certificates)


def crl_ends_at_ms(path: Path) -> int:
    """When the first revocation list of a file that ends does so, UTC ms. Raises ConfigError."""
    blocks = _CRL.findall(_read(path))
    try:
        lists = [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError as error:
        raise _unusable(path, "a revocation list", str(error)) from error
    ends = [_ms(each.next_update_utc) for each in lists if each.next_update_utc is not None]
    if not ends:
        raise _unusable(path, "a revocation list", "none with a time of its next update")
    return min(ends)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(TLS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _unusable(path, "PEM", error.strerror or str(error)) from error
    if len(data) > TLS_FILE_BYTES_MAX:
        raise _unusable(path, "PEM", f"it is larger than {TLS_FILE_BYTES_MAX} bytes")
    return data


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _unusable(path: Path, what: str, why: str) -> ConfigError:
    return ConfigError(
        f"{path} can't be used: {why}.",
        hint=f"Check that it holds {what} as PEM and can be read by this user.",
    )
