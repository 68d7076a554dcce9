"""Properties of MQTT 5: an immutable bag of them, and their bytes.

A bag is a value: it never changes, compares by content and, when empty, is the shared `Properties.EMPTY`.
What may stand in it is said by the table in `property_table`, from which everything here is derived.

Source: MQTT 5.0 §2.2.2 (Table 2-4) and the property sections of each packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, TypeAlias

from appliance.core.errors import ProtocolError
from appliance.core.limits import SUBSCRIPTION_COUNT_MAX, USER_PROPERTY_COUNT_MAX
from broker.mqtt.constants import PacketType
from broker.mqtt.property_table import LABELS, PROPERTY_RULES, Carrier, Kind, PropertyId
from broker.mqtt.reason_codes import ReasonCode
from broker.mqtt.topics import validate_topic_name
from broker.mqtt.violations import Fail, local, remote
from broker.mqtt.wire import Cursor, put_binary, put_text, put_uint, put_varint

__all__ = ["Properties", "PropertyId", "Value", "check_properties", "decode_properties", "encode_properties"]

Value: TypeAlias = int | str | bytes | tuple[int, ...]
"""A property's value; the tuple is of subscription identifiers, which a PUBLISH may carry more than once."""


class Properties:
    """An immutable bag of properties.

    Args:
        values: Property id → value; integers for numbers and booleans (0/1), `str` for text, `bytes` for
            binary data, a tuple of integers for subscription identifiers. No user properties here.
        user: Name and value of each user property, in order; a name may stand more than once.
    """

    __slots__ = ("_user", "_values")
    EMPTY: ClassVar[Properties]

    def __init__(
        self, values: Mapping[PropertyId, Value] | None = None, user: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._values: dict[int, Value] = (
            {PropertyId(key): value for key, value in values.items()} if values else {}
        )
        self._user = user

    @property
    def user_properties(self) -> tuple[tuple[str, str], ...]:
        return self._user

    @property
    def subscription_identifiers(self) -> tuple[int, ...]:
        value = self._values.get(PropertyId.SUBSCRIPTION_IDENTIFIER, ())
        return value if isinstance(value, tuple) else ()

    def integer(self, key: PropertyId, default: int) -> int:
        """A number or boolean, or the default the specification gives when it is absent."""
        value = self._values.get(key, default)
        return value if isinstance(value, int) else default

    def text(self, key: PropertyId) -> str | None:
        value = self._values.get(key)
        return value if isinstance(value, str) else None

    def binary(self, key: PropertyId) -> bytes | None:
        value = self._values.get(key)
        return value if isinstance(value, bytes) else None

    def without(self, *keys: PropertyId) -> Properties:
        """The same bag less these properties, as a forwarded message needs (topic alias …)."""
        left = {PropertyId(key): value for key, value in self._values.items() if key not in keys}
        user = () if PropertyId.USER_PROPERTY in keys else self._user
        return Properties(left, user) if left or user else Properties.EMPTY

    def with_values(self, values: Mapping[PropertyId, Value]) -> Properties:
        """The same bag with these values added or replaced."""
        return Properties({**dict(self.items()), **values}, self._user)

    def items(self) -> Iterator[tuple[PropertyId, Value]]:
        """All but the user properties."""
        return ((PropertyId(key), value) for key, value in self._values.items())

    def get(self, key: PropertyId | str) -> Value | None:
        """By id or by name (`"receive_maximum"`); None when absent."""
        return self._values.get(_key(key))

    def __getitem__(self, key: PropertyId | str) -> Value:
        return self._values[_key(key)]

    def __contains__(self, key: object) -> bool:
        if key == PropertyId.USER_PROPERTY:
            return bool(self._user)
        return key in self._values

    def __len__(self) -> int:
        return len(self._values) + len(self._user)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Properties):
            return NotImplemented
        return self._values == other._values and self._user == other._user

    def __hash__(self) -> int:
        return hash((frozenset(self._values.items()), self._user))

    def __repr__(self) -> str:
        if not self:
            return "Properties.EMPTY"
        parts = [f"{LABELS[key]}={value!r}" for key, value in self._values.items()]
        parts += [f"{name!r}: {value!r}" for name, value in self._user]
        return f"<Properties {', '.join(parts)}>"


Properties.EMPTY = Properties()


def _key(key: PropertyId | str) -> PropertyId:
    return PropertyId[key.upper()] if isinstance(key, str) else key


def decode_properties(body: bytes, carrier: Carrier = PacketType.PUBLISH) -> Properties:
    """Properties from their bytes, without the length in front.

    Args:
        body: What follows the property length.
        carrier: The packet, or the will, they stand in.
    Raises:
        RemoteProtocolError: malformed packet for an unknown property, one that this carrier may not have or
            a broken value; protocol error for a duplicate or a value out of range; quota exceeded above
            USER_PROPERTY_COUNT_MAX; topic alias invalid for alias 0.
    Source: MQTT 5.0 §2.2.2.2.
    """
    if not body:
        return Properties.EMPTY
    cursor = Cursor(body)
    values: dict[int, Value] = {}
    user: list[tuple[str, str]] = []
    identifiers: list[int] = []
    while cursor.remaining:
        key = cursor.varint("property identifier")
        rule = PROPERTY_RULES.get(key)
        if rule is None or carrier not in rule.carriers:
            name = LABELS.get(key, f"0x{key:02X}")
            raise remote(f"Property {name} does not belong in {carrier.name}.", ReasonCode.MALFORMED_PACKET)
        label = LABELS[key]
        if rule.kind is Kind.PAIR:
            if len(user) >= USER_PROPERTY_COUNT_MAX:
                raise remote(
                    f"More than {USER_PROPERTY_COUNT_MAX} user properties.",
                    ReasonCode.QUOTA_EXCEEDED,
                    limit="user_property_count_max",
                )
            user.append((cursor.text(label), cursor.text(label)))
        elif rule.kind is Kind.VARINT:
            if len(identifiers) >= SUBSCRIPTION_COUNT_MAX:
                raise remote(f"More than {SUBSCRIPTION_COUNT_MAX} of {label}.", ReasonCode.QUOTA_EXCEEDED)
            identifiers.append(cursor.varint(label))
            values[key] = tuple(identifiers)
        elif key in values:
            raise _duplicate(key, remote)
        else:
            values[key] = _READERS[rule.kind](cursor, label)
    properties = Properties.__new__(Properties)
    properties._values, properties._user = values, tuple(user)
    check_properties(properties, carrier, remote)
    return properties


def encode_properties(properties: Properties, carrier: Carrier = PacketType.PUBLISH) -> bytes:
    """The bytes of properties, without the length in front; user properties come last, in their order.

    Raises:
        LocalProtocolError: what `decode_properties` would refuse, or a value of the wrong type.
    """
    if not properties:
        return b""
    check_properties(properties, carrier, local)
    parts: list[bytes] = []
    for key, value in properties.items():
        label = LABELS[key]
        for single in value if isinstance(value, tuple) else (value,):
            parts += (bytes((key,)), _write(PROPERTY_RULES[key].kind, single, label))
    for name, text in properties.user_properties:
        parts += (_USER_PROPERTY, put_text(name, "user property"), put_text(text, "user property"))
    return b"".join(parts)


def check_properties(properties: Properties, carrier: Carrier, fail: Fail) -> None:
    """The rules that hold whichever way the properties go: place, count and range of each, and what needs what.

    Raises:
        What `fail` makes.
    """
    if len(properties.user_properties) > USER_PROPERTY_COUNT_MAX:
        raise fail(
            f"More than {USER_PROPERTY_COUNT_MAX} user properties.",
            ReasonCode.QUOTA_EXCEEDED,
            limit="user_property_count_max",
        )
    for key, value in properties.items():
        rule, label = PROPERTY_RULES[key], LABELS[key]
        if carrier not in rule.carriers or rule.kind is Kind.PAIR:
            raise fail(f"Property {label} does not belong in {carrier.name}.", ReasonCode.MALFORMED_PACKET)
        if isinstance(value, tuple) is not (rule.kind is Kind.VARINT) or value == ():
            raise fail(f"{value!r} is not a value of {label}.", ReasonCode.MALFORMED_PACKET)
        if isinstance(value, tuple) and len(value) > 1 and carrier is not PacketType.PUBLISH:
            raise _duplicate(key, fail)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and not rule.least <= number <= rule.most:
                raise fail(f"{number} is not a value of {label}.", rule.refusal)
    response_topic = properties.text(PropertyId.RESPONSE_TOPIC)
    if response_topic is not None:
        validate_topic_name(response_topic, fail, ReasonCode.PROTOCOL_ERROR)
    if PropertyId.AUTHENTICATION_DATA in properties and PropertyId.AUTHENTICATION_METHOD not in properties:
        raise fail("Authentication data without an authentication method.", ReasonCode.PROTOCOL_ERROR)


def _duplicate(key: int, fail: Fail) -> ProtocolError:
    return fail(f"Property {LABELS[key]} stands there more than once.", ReasonCode.PROTOCOL_ERROR)


_USER_PROPERTY = bytes((PropertyId.USER_PROPERTY,))
_READERS: dict[Kind, Callable[[Cursor, str], Value]] = {
    Kind.U8: Cursor.u8,
    Kind.U16: Cursor.u16,
    Kind.U32: Cursor.u32,
    Kind.TEXT: Cursor.text,
    Kind.BINARY: Cursor.binary,
}


def _write(kind: Kind, value: int | str | bytes, label: str) -> bytes:
    if isinstance(value, str) and kind is Kind.TEXT:
        return put_text(value, label)
    if isinstance(value, bytes) and kind is Kind.BINARY:
        return put_binary(value, label)
    if isinstance(value, int) and kind is Kind.VARINT:
        return put_varint(value, label)
    if isinstance(value, int) and kind in _INTEGER_KINDS:
        return put_uint(value, kind, label)
    raise local(f"A {type(value).__name__} is not a value of {label}.", ReasonCode.MALFORMED_PACKET)


_INTEGER_KINDS = frozenset({Kind.U8, Kind.U16, Kind.U32})
