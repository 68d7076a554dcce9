"""Who may publish, subscribe and ask what. Pure; the broker asks once per connection and topic and caches the answer.

Everybody reaches the topics of their own name. Two things open more: access "site", which is everything but publishing
into the broker's own topics, and a role of the configuration, which opens its patterns and nothing else. The name comes from
the credential, never from the client id or the topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from appliance.core.errors import UsageError
from appliance.core.limits import DEVICE_ID_BYTES_MAX
from appliance.management.request_topics import (
    AWS,
    PROVISION,
    SITE,
    THINGS,
    is_provisioning,
    is_reserved,
    parse,
)
from appliance.management.topic_patterns import DEVICE, PatternSet, parse_pattern

Kind = Literal["device", "application"]
PrincipalKind = Literal["device", "application", "provisioning"]
"""Who has a claim's token and nothing else yet is `provisioning`: it may ask to enrol, and nothing else."""
Access = Literal["own", "site"]

BROKERS_OWN = "$SYS"
"""Topics below it are the broker's: nobody publishes there but a bridge, and who may read them was told so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a connection belongs to, once its credential was checked.

    Attributes:
        name: The device's id. Of a provisioning one `provisioning_name`, which no device can be called.
        role: Name of a role of the configuration, "" for none.
        proof: Which of its credentials it showed: a token's keyed hash (32 bytes; of a claim's token for a provisioning one) or
            `certificate_proof`; b"" where there is nothing to tell them apart by.
    """

    name: str
    kind: PrincipalKind = "device"
    access: Access = "own"
    role: str = ""
    proof: bytes = field(default=b"", repr=False, compare=False)


def certificate_proof(issuer_key_id: str, serial: str) -> bytes:
    """A certificate as a proof: serial numbers are unique with an authority, which its key identifier names.

    Args:
        issuer_key_id: Of the certificate's authority key identifier, hexadecimal, lower case; "" where it has none.
        serial: Hexadecimal, lower case, no leading zero.
    """
    return f"certificate/{issuer_key_id}/{serial}".encode()


def is_certificate(proof: bytes) -> bool:
    """Whether a proof is of a certificate (`certificate_proof`)."""
    return proof.startswith(b"certificate/")


def certificate_serial(proof: bytes) -> str:
    """The serial number that `certificate_proof` was given, "" for another proof."""
    kind, _, rest = proof.partition(b"/")
    return rest.rpartition(b"/")[2].decode() if kind == b"certificate" else ""


def provisioning_name(user_name: str) -> str:
    """The name of a principal that enrols: `$provision/` and the device id that it wants, if it gave one as user name."""
    return f"${PROVISION}/{'' if user_name == PROVISION else user_name}"


def wanted_device_id(principal_name: str) -> str:
    """The device id that a provisioning principal gave as user name; "" for none."""
    return principal_name.removeprefix(f"${PROVISION}/")


@dataclass(frozen=True, slots=True)
class Role:
    """What a role opens beside the topics of one's own name."""

    publish: PatternSet
    subscribe: PatternSet

    @classmethod
    def of(cls, *, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> Role:
        """From the patterns of the configuration.

        Raises:
            UsageError: `topic_pattern_invalid`: see parse_pattern; or publishing into `$SYS`.
        """
        for text in publish:
            levels = text.split("/")
            if levels[0] == BROKERS_OWN and not _is_bridge_notification(levels):
                raise UsageError(
                    f"No role can publish to “{text[:100]}”: topics below {BROKERS_OWN} are the broker's own.",
                    hint="Take the pattern out of the role's publish list.",
                    code="topic_pattern_invalid",
                )
        return cls(PatternSet(publish), PatternSet(subscribe))


def check_device_id(device_id: str) -> str:
    """Return a device id unchanged, or refuse it.

    A device id is one level of a topic name: 1..128 bytes of UTF-8, no `/`, `+`, `#`, no control character, no
    space around it, and not beginning with `$`.

    Raises:
        UsageError: code `device_id_invalid`.
    """
    problem = None
    if not device_id:
        problem = "is empty"
    elif len(device_id.encode("utf-8", "surrogatepass")) > DEVICE_ID_BYTES_MAX:
        problem = f"is longer than {DEVICE_ID_BYTES_MAX} bytes"
    elif any(c in "/+#" for c in device_id):
        problem = "has one of / + #, which separate and match topic levels"
    elif not device_id.isprintable():
        problem = "has a character that can't be shown"
    elif device_id != device_id.strip():
        problem = "begins or ends with a space"
    elif device_id.startswith("$"):
        problem = "begins with $, which is kept for the broker"
    elif device_id in {".", ".."}:
        problem = "is a path segment that browsers remove from addresses"
    elif device_id == PROVISION:
        problem = "is kept for devices that enrol"
    elif device_id == SITE:
        problem = "is kept for what a site says to all of its devices"
    if problem:
        shown = device_id[:40].encode("ascii", "backslashreplace").decode()
        raise UsageError(
            f"The device id “{shown}” {problem}.",
            hint="Use 1 to 128 letters, digits, dots, dashes or underscores.",
            code="device_id_invalid",
        )
    return device_id


def role_unknown(role: str, known: Sequence[str]) -> UsageError:
    """The error for a role that the configuration doesn't have."""
    return UsageError(
        f"There is no role “{role[:100]}” in the configuration.",
        hint=f"Known: {', '.join(known)}."
        if known
        else "Write a [[broker_role]] into homeport.toml and restart.",
        code="role_unknown",
    )


class AccessPolicy:
    """Answers may-publish and may-subscribe.

    Args:
        patterns: Topic patterns of the configured mappings, such as `site/+/dev/{device}/telemetry`. Patterns without
            `{device}` give a device nothing.
        roles: By name.
    Raises:
        UsageError: `topic_pattern_invalid`, see parse_pattern.
    """

    def __init__(self, patterns: Sequence[str] = (), roles: Mapping[str, Role] | None = None) -> None:
        for text in patterns:
            parse_pattern(text)  # Those without a device open nothing, and are checked all the same.
        self._mapped = PatternSet(text for text in patterns if DEVICE in text.split("/"))
        self._roles = dict(roles or {})

    def knows_role(self, name: str) -> bool:
        """Whether there is a role of this name; one that is gone from the configuration opens nothing."""
        return name in self._roles

    def may_publish(self, principal: Principal, topic: str, client_id: str = "") -> bool:
        """Whether a principal may publish to a topic name (already checked to hold no wildcard).

        Args:
            client_id: Of the connection, for patterns with `%c`.
        """
        levels, name = topic.split("/"), principal.name
        if levels[0] == BROKERS_OWN and not _is_bridge_notification(levels):
            return False
        if principal.kind == "provisioning" or is_reserved(levels):
            return False  # `may_ask` says who may ask; whatever else is said there is Homeport's.
        if principal.access == "site" or topic.startswith(f"dm/{principal.name}/"):
            return True
        if self._mapped.opens(levels, name=name, client_id=client_id):
            return True
        role = self._roles.get(principal.role)
        return role is not None and role.publish.opens(levels, name=name, client_id=client_id)

    def may_ask(self, principal: Principal, topic: str) -> bool:
        """Whether what a principal publishes to a topic is a request (request_topics) that it may make."""
        asked = parse(topic)
        if asked is None:
            return False
        if asked.service != PROVISION:
            return principal.kind == "device" and asked.device_id == principal.name
        # A program of the box itself ($local) is no device, and none can be made of it.
        return principal.kind == "provisioning" or not principal.name.startswith("$")

    def may_subscribe(self, principal: Principal, topic_filter: str, client_id: str = "") -> bool:
        """Whether a principal may subscribe with a topic filter (already checked for its form): whether one pattern opens
        every topic that the filter can match.

        A shared subscription is judged by the filter within it (MQTT 5.0 §4.8.2).
        """
        levels = topic_filter.split("/")
        if levels[0] == "$share":
            levels = levels[2:]
        if is_provisioning(levels):
            return True  # Nothing is ever published there: answers go to whoever asked.
        if principal.kind == "provisioning":
            return False
        if principal.access == "site" or levels == ["dm", SITE, "brokers"]:
            return True
        if levels[:2] == ["dm", principal.name] or levels[:3] == [AWS, THINGS, principal.name]:
            return True
        role = self._roles.get(principal.role)
        if role is None or not levels:
            return False
        return role.subscribe.opens(levels, name=principal.name, client_id=client_id)


def _is_bridge_notification(levels: Sequence[str]) -> bool:
    """`$SYS/broker/connection/NAME/state`, where a bridging mosquitto says whether it is connected, by its will too.

    mosquitto, as the other end, takes this one topic below `$SYS` from clients as well.
    """
    return len(levels) == 5 and list(levels[1:3]) == ["broker", "connection"] and levels[4] == "state"
