"""Certificate signing requests (PKCS#10, RFC 2986) and what of them is believed: the key, if it signed the request.

The common name must be the device's id, or missing; extensions and attributes that are asked for are ignored.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from appliance.core.errors import LimitExceeded, UsageError
from appliance.core.limits import CSR_BYTES_MAX, CSR_RSA_BITS_MAX, CSR_RSA_BITS_MIN
from appliance.identity.ca_certificates import COMMON_NAME_LENGTH_MAX

KEYS_IN_WORDS: Final = f"P-256, P-384, Ed25519, or RSA of {CSR_RSA_BITS_MIN} to {CSR_RSA_BITS_MAX} bits"
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
_PEM: Final = b"-----BEGIN "
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=\s]+")
_RSA_EXPONENT: Final = 65_537


def public_key_of(csr: bytes, device_id: str) -> CertificatePublicKeyTypes:
    """The key that a request proves to have.

    Args:
        csr: PEM, DER, or the DER form in base64.
        device_id: Whose certificate it is to be.
    Raises:
        LimitExceeded: `csr_too_large`. UsageError: `csr_invalid` (not a request), `csr_key_refused`, `csr_signature_wrong`,
            `csr_name_wrong` (it names somebody else), `device_id_too_long` (for a certificate's name).
    """
    request = _load(csr)
    if len(device_id) > COMMON_NAME_LENGTH_MAX:
        raise UsageError(
            f"The device id “{device_id[:40]}…” is too long for a certificate: a name there has {COMMON_NAME_LENGTH_MAX} "
            "characters at most.",
            hint="Give the device a shorter id, or a token.",
            code="device_id_too_long",
        )
    try:
        key = request.public_key()
        _check_key(key)
        if isinstance(request.signature_hash_algorithm, SHA1):
            raise _key_refused("its signature is made with SHA-1")
        valid = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise _key_refused("it is of another kind or damaged") from error
    if not valid:
        raise UsageError(
            "The request's signature is not of the key in it.",
            hint="Make the request anew with the key that it is for.",
            code="csr_signature_wrong",
        )
    _check_name(request, device_id)
    return key


def common_name_of(csr: bytes) -> str:
    """The device id that a request names, "" for none. Raises as `public_key_of` for what is no request."""
    names = _names_in(_load(csr))
    return names[0] if names else ""


def key_fingerprint(key: CertificatePublicKeyTypes) -> bytes:
    """SHA-256 of the key as certificates hold it (SubjectPublicKeyInfo, DER), 32 bytes."""
    digest = Hash(SHA256())
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize()


def _load(csr: bytes) -> x509.CertificateSigningRequest:
    if len(csr) > CSR_BYTES_MAX:
        raise LimitExceeded(
            f"A certificate signing request may have {CSR_BYTES_MAX} bytes at most.",
            hint="Leave extensions and attributes out of it.",
            code="csr_too_large",
        )
    try:
        if csr.lstrip().startswith(_PEM):
            return x509.load_pem_x509_csr(csr)
        if _BASE64.fullmatch(csr):
            return x509.load_der_x509_csr(b64decode(b"".join(csr.split()), validate=True))
        return x509.load_der_x509_csr(csr)
    except (ValueError, Base64Error, x509.InvalidVersion) as error:
        raise UsageError(
            "This is no certificate signing request.",
            hint="Send PKCS#10, as `openssl req -new` makes it: PEM, DER, or DER in base64.",
            code="csr_invalid",
        ) from error


def _check_key(key: object) -> None:
    match key:
        case ec.EllipticCurvePublicKey():
            if not isinstance(key.curve, _CURVES):
                raise _key_refused(f"it is of the curve {key.curve.name}")
        case rsa.RSAPublicKey():
            if not CSR_RSA_BITS_MIN <= key.key_size <= CSR_RSA_BITS_MAX:
                raise _key_refused(f"it is RSA of {key.key_size} bits")
            if key.public_numbers().e != _RSA_EXPONENT:
                raise _key_refused(f"its exponent is not {_RSA_EXPONENT}")
        case ed25519.Ed25519PublicKey():
            return
        case _:
            raise _key_refused("it is of another kind")


def _key_refused(why: str) -> UsageError:
    return UsageError(
        f"The key of the request can't be used: {why}.",
        hint=f"Use {KEYS_IN_WORDS}, and SHA-256 or better.",
        code="csr_key_refused",
    )


def _check_name(request: x509.CertificateSigningRequest, device_id: str) -> None:
    names = _names_in(request)
    if names and names != [device_id]:
        raise UsageError(
            f"The request is for “{names[0][:40]}”, and who asks is “{device_id}”.",
            hint="Make it with the device id as its common name (CN), or without one.",
            code="csr_name_wrong",
        )


def _names_in(request: x509.CertificateSigningRequest) -> list[str]:
    """Its common names; an empty one, which nobody has, where they can't be read."""
    try:
        return [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError):
        return [""]  # TypeError: a common name that is a string of bits.
