"""Targets of notifications: where somebody or something is told, and by which way. Pure.

What is secret (a webhook's signing secret, a mail account's password) is kept apart and sealed; nothing here is.

Must not know: tables, sealing, how anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from appliance.core.errors import UsageError
from appliance.core.limits import TOPIC_BYTES_MAX
from appliance.core.limits_notifications import (
    NOTIFICATION_ADDRESS_LENGTH_MAX,
    NOTIFICATION_CA_BYTES_MAX,
    NOTIFICATION_SECRET_BYTES_MAX,
    NOTIFICATION_TARGET_NAME_LENGTH_MAX,
    NOTIFICATION_URL_LENGTH_MAX,
)

Kind = Literal["webhook", "email", "mqtt"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
)
"""The addresses that people have: RFC 5321 without quoted local parts, comments and address literals."""
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]{2,45}\]?")
_URL_SIGNS: Final = re.compile(r"[!-~]+")
RESERVED_TOPICS: Final = ("$", "dm/")
"""What Homeport and devices say there means something to them."""


class Webhook(
    msgspec.Struct, tag_field="kind", tag="webhook", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A POST of JSON.

    Attributes:
        url: http or https.
        ca_pem: The authorities that may vouch for the receiver, instead of the machine's; "" for those.
    """

    url: str
    ca_pem: str = ""


class Email(
    msgspec.Struct, tag_field="kind", tag="email", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A mail by a server of one's own.

    Attributes:
        to, from_: Addresses without a name.
        host, port: Of the mail server that takes it.
        security: starttls (587, usually), tls from the first byte on (465), or none.
        username: "" where the server asks for none; its password is the target's secret.
        ca_pem: As of a webhook.
    """

    to: str
    from_: str = msgspec.field(name="from")
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    ca_pem: str = ""


class Mqtt(
    msgspec.Struct, tag_field="kind", tag="mqtt", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A message on a topic of this box's broker, at QoS 1.

    Attributes:
        retained: Whether it is kept as the topic's newest.
    """

    topic: str
    retained: bool = False


Settings = Webhook | Email | Mqtt
_decode: Callable[[str | bytes], Settings] = msgspec.json.Decoder(Settings).decode
_encode = msgspec.json.Encoder().encode


def kind_of(settings: Settings) -> Kind:
    """The kind's word."""
    match settings:
        case Webhook():
            return "webhook"
        case Email():
            return "email"
        case _:
            return "mqtt"


def to_json(settings: Settings) -> str:
    """Compact JSON, with its `kind`."""
    return _encode(settings).decode()


def of_json(text: str | bytes) -> Settings:
    """Settings from their JSON, not yet checked.

    Raises:
        UsageError: `target_invalid`; the message names the field.
    """
    try:
        return _decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(
            f"The target can't be read: {error}.", "See docs/NOTIFICATIONS.md for what each kind has."
        ) from error


def of_fields(fields: dict[str, Any]) -> Settings:
    """The same from decoded JSON. Raises as of_json."""
    return of_json(msgspec.json.encode(fields))


def address_of(settings: Settings) -> str:
    """Where it goes, in one line for people."""
    match settings:
        case Webhook(url=url):
            return url
        case Email(to=to):
            return to
        case _:
            return settings.topic


def check(name: str, settings: Settings, *, secret: bytes) -> None:
    """Raises UsageError `target_invalid`, with what is wrong and what to do.

    Args:
        secret: That it has, b"" for none.
    """
    if (
        not 1 <= len(name) <= NOTIFICATION_TARGET_NAME_LENGTH_MAX
        or not name.isprintable()
        or name != name.strip()
    ):
        raise _invalid(
            f"A target's name has 1 to {NOTIFICATION_TARGET_NAME_LENGTH_MAX} printable characters.",
            "Give it another name.",
        )
    if len(secret) > NOTIFICATION_SECRET_BYTES_MAX or not secret.decode("utf-8", "replace").isprintable():
        raise _invalid(
            f"A secret has at most {NOTIFICATION_SECRET_BYTES_MAX} bytes of printable text, in one line.",
            "Make another one.",
        )
    match settings:
        case Webhook():
            _check_url(settings.url)
            _check_ca(settings.ca_pem)
        case Email():
            _check_email(settings, has_secret=bool(secret))
            _check_ca(settings.ca_pem)
        case _:
            _check_topic(settings.topic)
            if secret:
                raise _invalid("A message over MQTT needs no secret.", "Leave it out.")


def _check_url(url: str) -> None:
    if len(url) > NOTIFICATION_URL_LENGTH_MAX or _URL_SIGNS.fullmatch(url) is None:
        raise _invalid(
            f"A URL has at most {NOTIFICATION_URL_LENGTH_MAX} visible ASCII characters.",
            "Write other characters in percent encoding.",
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _invalid(f"The URL can't be read: {error}.", "Write https://host/path.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _invalid("The URL is not http:// or https:// with a host.", "Write https://host/path.")
    if _HOST.fullmatch(parts.hostname) is None:
        raise _invalid("The URL's host is no name and no address.", "Write names of other scripts as xn--…")
    if parts.username is not None or parts.password is not None:
        raise _invalid(
            "The URL has a user name in it, which everybody who may read targets would see.",
            "Take it out; a receiver knows Homeport by the signature.",
        )


def _check_email(settings: Email, *, has_secret: bool) -> None:
    for what, address in (("to", settings.to), ("from", settings.from_)):
        if len(address) > NOTIFICATION_ADDRESS_LENGTH_MAX or _ADDRESS.fullmatch(address) is None:
            raise _invalid(f"“{what}” is no mail address.", "Write name@example.org, one address.")
    if _HOST.fullmatch(settings.host) is None:
        raise _invalid("The mail server is no host name and no address.", "Write smtp.example.org.")
    if not 1 <= settings.port <= 65_535:
        raise _invalid("The port is 1 to 65535.", "587 and 465 are usual.")
    if bool(settings.username) != has_secret:
        raise _invalid("A user name and a password go together.", "Give both, or neither of them.")
    if len(settings.username) > NOTIFICATION_ADDRESS_LENGTH_MAX or not settings.username.isprintable():
        raise _invalid("The user name can't be used.", "Write it in one line.")
    if has_secret and settings.security == "none":
        raise _invalid(
            "The password would be sent in clear.", "Use starttls or tls, or a server that asks for none."
        )


def _check_ca(ca_pem: str) -> None:
    if ca_pem and (
        len(ca_pem.encode()) > NOTIFICATION_CA_BYTES_MAX
        or "-----BEGIN CERTIFICATE-----" not in ca_pem
        or "PRIVATE KEY" in ca_pem
    ):
        raise _invalid(
            f"The authorities are not certificates in PEM of at most {NOTIFICATION_CA_BYTES_MAX} bytes.",
            "Give the file that begins with -----BEGIN CERTIFICATE-----, without a key.",
        )


def _check_topic(topic: str) -> None:
    if (
        not 1 <= len(topic.encode()) <= TOPIC_BYTES_MAX
        or not topic.isprintable()
        or any(sign in topic for sign in "+#")
    ):
        raise _invalid("The topic is no topic name.", "Write levels with / between them, without + and #.")
    if topic.startswith(RESERVED_TOPICS):
        raise _invalid(
            "Topics that begin with $ or dm/ are Homeport's and devices' own.", "Write alarms/…, for example."
        )


def _invalid(message: str, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="target_invalid")
