"""JSON as twins and commands take it: strict, so that what is kept means the same to whoever reads it. Pure.

Any bytes give a value or a UsageError that says what is wrong. Refused beside what is no JSON: NaN and Infinity, numbers that no double or
64 bits hold, a key that stands twice in an object (which one counts differs from reader to reader), half a surrogate pair, deep nesting.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from appliance.core.errors import UsageError
from appliance.core.limits import JSON_DEPTH_MAX

Json = Any
"""None, bool, int, float, str, lists and dicts of these."""
INTEGER_MAX: Final = 2**63 - 1
INTEGER_MIN: Final = -(2**63)
_HINT: Final = "Send one JSON object in UTF-8."


def decode(data: bytes) -> Json:
    """The value that JSON bytes hold.

    Args:
        data: Of a length that the caller has bounded: it is read as a whole.
    Raises:
        UsageError: `json_invalid`, with what is wrong.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_float,
            parse_int=_integer,
        )
        is_too_deep = depth(value) > JSON_DEPTH_MAX
    except UnicodeDecodeError as error:
        raise invalid(f"it is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise invalid("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise invalid(f"it is not well-formed JSON ({error.msg} at character {error.pos})") from error
    if is_too_deep:
        raise invalid("it is nested too deeply")
    return value


def encode(value: Json) -> bytes:
    """Compact JSON in UTF-8, with the keys in their order."""
    return text_of(value).encode()


def text_of(value: Json) -> str:
    """As `encode`, as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def depth(value: Json) -> int:
    """Objects and arrays within each other: 0 of a plain value, 1 of {} or [1]."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def leaf_count(value: Json) -> int:
    """Values that are neither object nor array; an empty one of these counts as a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return sum(map(leaf_count, inner)) if inner else 1


def check_text(value: Json) -> None:
    """Refuse half a surrogate pair anywhere in a value: no UTF-8 says it.

    Raises:
        UsageError: `json_invalid`.
    """
    try:
        encode(value)
    except UnicodeEncodeError as error:
        raise invalid("a text in it has half a surrogate pair (\\ud800 to \\udfff)") from error


def invalid(why: str) -> UsageError:
    """The refusal of what is no JSON that is taken here."""
    return UsageError(f"The payload can't be used: {why}.", hint=_HINT, code="json_invalid")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise invalid(f"the key “{_shown(twice)}” stands twice in one object")
    return made


def _shown(key: str) -> str:
    return key[:40].encode("utf-8", "replace").decode()


def _no_constant(word: str) -> NoReturn:
    raise invalid(f"{word} is no number of JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise invalid("a number in it is larger than any double")
    return value


def _integer(digits: str) -> int:
    if len(digits) <= 20 and INTEGER_MIN <= (value := int(digits)) <= INTEGER_MAX:
        return value
    raise invalid("a whole number in it has more than 64 bits; send it as text")
