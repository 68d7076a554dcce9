"""What of a certificate signing request is believed, and what it is refused for."""

from __future__ import annotations

from base64 import b64encode, encodebytes

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.core.errors import LimitExceeded, UsageError
from appliance.core.limits import CSR_BYTES_MAX
from appliance.identity.csr import common_name_of, key_fingerprint, public_key_of
from tests.ca_kit import make_csr


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65_537, 2048),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA 2048"],
)
def test_keys_that_are_taken(key: CertificateIssuerPrivateKeyTypes) -> None:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    found = public_key_of(make_csr("pump-1", key=key, algorithm=algorithm), "pump-1")
    assert found == key.public_key()
    assert len(key_fingerprint(found)) == 32


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (ec.generate_private_key(ec.SECP521R1()), "curve secp521r1"),
        (ec.generate_private_key(ec.SECP256K1()), "curve secp256k1"),
        (rsa.generate_private_key(65_537, 1024), "RSA of 1024 bits"),
        (rsa.generate_private_key(3, 2048), "exponent"),
        (ed448.Ed448PrivateKey.generate(), "another kind"),
        (dsa.generate_private_key(2048), "another kind"),
    ],
    ids=["P-521", "secp256k1", "RSA 1024", "RSA exponent 3", "Ed448", "DSA"],
)
def test_keys_that_are_refused(key: CertificateIssuerPrivateKeyTypes, why: str) -> None:
    algorithm = None if isinstance(key, ed448.Ed448PrivateKey) else SHA256()
    with pytest.raises(UsageError, match=why) as refused:
        public_key_of(make_csr("pump-1", key=key, algorithm=algorithm), "pump-1")
    assert refused.value.code == "csr_key_refused"
    assert "Ed25519" in refused.value.hint


def test_its_forms() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = make_csr("d", key=key, encoding=Encoding.DER)
    for form in (
        make_csr("d", key=key),
        der,
        b64encode(der),
        encodebytes(der),
        b"\n" + make_csr("d", key=key),
    ):
        assert public_key_of(form, "d") == key.public_key()


@pytest.mark.parametrize("names", [(), ("pump-1",)])
def test_names_that_fit(names: tuple[str, ...]) -> None:
    public_key_of(make_csr(*names), "pump-1")


@pytest.mark.parametrize("names", [("pump-2",), ("pump-1", "pump-2"), ("Pump-1",)])
def test_a_request_for_somebody_else(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        public_key_of(make_csr(*names), "pump-1")
    assert refused.value.code == "csr_name_wrong"


def test_a_key_that_did_not_sign_the_request_is_refused() -> None:
    """Proof of possession: somebody else's public key gets no certificate."""
    mine, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    der = bytearray(make_csr("d", key=mine, encoding=Encoding.DER))
    point = mine.public_key().public_numbers()
    other = theirs.public_key().public_numbers()
    old = point.x.to_bytes(32) + point.y.to_bytes(32)
    at = bytes(der).index(old)
    der[at : at + 64] = other.x.to_bytes(32) + other.y.to_bytes(32)
    with pytest.raises(UsageError) as refused:
        public_key_of(bytes(der), "d")
    assert refused.value.code == "csr_signature_wrong"


def test_sha1_is_refused() -> None:
    """The identifier of the signature's algorithm is changed to ecdsa-with-SHA1 (1.2.840.10045.4.1)."""
    der = make_csr("d", encoding=Encoding.DER)
    with_sha256, with_sha1 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06072a8648ce3d0401")
    assert with_sha256 in der
    at = der.index(with_sha256)
    changed = der[: at - 1] + b"\x09" + with_sha1 + der[at + len(with_sha256) :]
    changed = b"\x30\x81" + bytes([len(changed) - 3]) + changed[3:]
    with pytest.raises(UsageError) as refused:
        public_key_of(changed, "d")
    assert refused.value.code in ("csr_key_refused", "csr_invalid")


def test_an_authority_that_is_asked_for_is_no_matter() -> None:
    """Extensions are not read: the certificate's own stand in ca_certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    asked = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA384())
    )
    assert public_key_of(asked.public_bytes(Encoding.PEM), "d") == key.public_key()


def test_too_large_a_request_is_not_parsed() -> None:
    with pytest.raises(LimitExceeded) as refused:
        public_key_of(b"A" * (CSR_BYTES_MAX + 1), "d")
    assert refused.value.code == "csr_too_large"


def test_an_id_that_no_certificate_can_hold() -> None:
    with pytest.raises(UsageError) as refused:
        public_key_of(make_csr(), "d" * 65)
    assert refused.value.code == "device_id_too_long"


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=50).map(lambda each: b"-----BEGIN " + each)))
def test_any_bytes_are_refused_in_order(data: bytes) -> None:
    with pytest.raises(UsageError) as refused:
        public_key_of(data, "d")
    assert refused.value.code == "csr_invalid"


@given(st.integers(0, 10_000), st.integers(1, 255))
@example(7, 1)  # the version
def test_a_changed_byte_is_found(place: int, change: int) -> None:
    der = bytearray(_FIXED)
    der[place % len(der)] ^= change
    with pytest.raises(UsageError):
        public_key_of(bytes(der), "d")


def test_a_name_that_is_a_string_of_bits() -> None:
    """What random bytes found: cryptography raises a TypeError for it."""
    der = bytearray(make_csr("d", encoding=Encoding.DER))
    at = bytes(der).index(bytes.fromhex("06035504030c0164"))
    der[at + 5] = 0x03
    assert common_name_of(bytes(der)) == ""
    with pytest.raises(UsageError):
        public_key_of(bytes(der), "d")


_FIXED = make_csr("d", encoding=Encoding.DER)
