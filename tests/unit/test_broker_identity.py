"""Who it is, from certificate, token and Unix socket, and every way in which they can disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import NotAuthorized, UsageError
from appliance.management.access import Principal, check_device_id
from broker.identity import LOCAL, NOTHING, Proof, identify, read_certificate
from broker.mqtt.packets import Connect, Version
from tests.pki_kit import Authority, der


class Authenticator:
    """Knows one device, `pump`, with one token; writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        self.asked.append("token")
        if (username, password) != ("pump", b"token"):
            raise NotAuthorized("wrong", code="bad_credentials")
        return Principal(name="pump")

    def authenticate_certificate(
        self, common_name: str, proof: bytes, client_id: str, address: str
    ) -> Principal:
        self.asked.append("certificate")
        if common_name != "pump":
            raise NotAuthorized("who?", code="unknown_device")
        return Principal(name="pump")


def connect(username: str | None = None, password: bytes | None = None) -> Connect:
    return Connect(
        client_id="c",
        clean_start=True,
        keep_alive_s=60,
        username=username,
        password=password,
        will=None,
        version=Version.MQTT_5,
    )


def refusal(connect: Connect, proof: Proof) -> str:
    with pytest.raises(NotAuthorized) as refused:
        identify(Authenticator(), connect, "192.0.2.1", proof)
    return refused.value.code


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def pump(authority: Authority) -> Proof:
    return Proof(certificate=der(authority.issue("pump")))


def test_a_token_alone() -> None:
    authenticator = Authenticator()
    assert identify(authenticator, connect("pump", b"token"), "", NOTHING).name == "pump"
    assert authenticator.asked == ["token"]
    assert refusal(connect("pump", b"wrong"), NOTHING) == "bad_credentials"
    assert refusal(connect(), NOTHING) == "bad_credentials", "anonymous"


SDK = "?SDK=IoTDeviceSDK/Python&Platform=Unix&Metadata=(CRTVersion=0.36.1)"


@pytest.mark.parametrize("username", [None, "pump", SDK])
def test_a_certificate_alone(pump: Proof, username: str | None) -> None:
    authenticator = Authenticator()
    assert identify(authenticator, connect(username), "", pump).name == "pump"
    assert authenticator.asked == ["certificate"], "the catalog is asked each time"


@pytest.mark.parametrize("username", ["valve", "Pump", ""])
def test_a_certificate_of_somebody_else(pump: Proof, username: str) -> None:
    assert refusal(connect(username), pump) == "certificate_mismatch"
    assert refusal(connect(username, b"token"), pump) == "certificate_mismatch"


def test_what_an_sdk_says_of_itself_is_a_name_beside_a_token(pump: Proof) -> None:
    assert refusal(connect(SDK, b"token"), pump) == "certificate_mismatch"
    assert refusal(connect(SDK), NOTHING) == "bad_credentials", "and no proof without a certificate"


def test_a_certificate_and_a_token_are_both_right(pump: Proof) -> None:
    authenticator = Authenticator()
    assert identify(authenticator, connect("pump", b"token"), "", pump).name == "pump"
    assert authenticator.asked == ["token", "certificate"]
    assert refusal(connect("pump", b"wrong"), pump) == "bad_credentials"
    assert refusal(connect(None, b"wrong"), pump) == "bad_credentials"


def test_a_certificate_that_the_catalog_does_not_know(authority: Authority) -> None:
    assert refusal(connect(), Proof(certificate=der(authority.issue("valve")))) == "unknown_device"


@pytest.mark.parametrize("names", [(), ("pump", "valve")])
def test_a_certificate_without_one_common_name(authority: Authority, names: tuple[str, ...]) -> None:
    assert refusal(connect(), Proof(certificate=der(authority.issue(*names)))) == "certificate_unnamed"


def test_a_certificate_that_can_not_be_read() -> None:
    with pytest.raises(NotAuthorized) as refused:
        read_certificate(b"\x30\x03\x02\x01\x01")
    assert refused.value.code == "certificate_unnamed"


def test_names_are_taken_as_they_are(authority: Authority) -> None:
    path: Path = authority.issue("Grüße/../+#", file="odd")
    assert read_certificate(der(path)).common_name == "Grüße/../+#"


class TestUnixSocket:
    LOCAL_PROOF = Proof(is_local=True)

    def test_our_own_user_needs_no_token(self) -> None:
        authenticator = Authenticator()
        assert identify(authenticator, connect(), "uid-0", self.LOCAL_PROOF) is LOCAL
        assert authenticator.asked == []

    def test_who_offers_a_token_is_who_it_says(self) -> None:
        assert identify(Authenticator(), connect("pump", b"token"), "", self.LOCAL_PROOF).name == "pump"
        assert refusal(connect("pump", b"wrong"), self.LOCAL_PROOF) == "bad_credentials"
        assert refusal(connect("pump"), self.LOCAL_PROOF) == "bad_credentials"

    def test_no_device_can_be_called_like_it(self) -> None:
        with pytest.raises(UsageError):
            check_device_id(LOCAL.name)
