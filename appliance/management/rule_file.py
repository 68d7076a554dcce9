"""Rules as a file: to be carried to another site, or kept beside the site's other papers. Pure.

    {"homeport_rules": 1, "rules": [{"name": "Too warm", "is_enabled": true, "definition": {…}}, …]}

A rule of the same name is the same rule: an import changes it. What is not in the file stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from appliance.core.errors import UsageError
from appliance.core.limits_alarms import RULE_COUNT_MAX, RULE_FILE_BYTES_MAX
from appliance.management.rule import RuleDefinition, check

FORMAT: Final = 1


class FiledRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of a file."""

    name: str
    is_enabled: bool = True
    definition: RuleDefinition


class RuleFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file. `homeport_rules` is its format's number."""

    homeport_rules: int
    rules: tuple[FiledRule, ...]


_decode = msgspec.json.Decoder(RuleFile).decode


def write(rules: Iterable[FiledRule]) -> bytes:
    """A file that a person can read: indented JSON, UTF-8."""
    packed = msgspec.json.encode(RuleFile(homeport_rules=FORMAT, rules=tuple(rules)))
    return msgspec.json.format(packed, indent=2) + b"\n"


def read(data: bytes) -> RuleFile:
    """A file that a person chose.

    Raises:
        UsageError: `rule_file_invalid`: no such file, of a newer format, or two rules of one name. `rule_invalid`: a rule makes no sense;
            the message names it. Nothing is taken of a file that is refused.
    """
    if len(data) > RULE_FILE_BYTES_MAX:
        raise _refused(f"The file is larger than {RULE_FILE_BYTES_MAX // 1_048_576} MiB.")
    try:
        found = _decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(f"The file can't be read: {error}.") from error
    return checked(found)


def checked(found: RuleFile) -> RuleFile:
    """The file, when all of it makes sense. Raises as `read`."""
    if found.homeport_rules != FORMAT:
        raise _refused(f"The file has format {found.homeport_rules}, this Homeport reads {FORMAT}.")
    if len(found.rules) > RULE_COUNT_MAX:
        raise _refused(f"The file has more than {RULE_COUNT_MAX} rules.")
    seen: set[str] = set()
    for each in found.rules:
        try:
            check(each.name, each.definition)
        except UsageError as error:
            raise UsageError(
                f"Rule “{each.name[:100]}”: {error.message}", hint=error.hint, code=error.code
            ) from error
        if each.name in seen:
            raise _refused(f"Two rules of the file are called “{each.name}”.")
        seen.add(each.name)
    return found


def _refused(message: str) -> UsageError:
    return UsageError(
        message,
        hint="Take a file that `homeport rule export` wrote, or see docs/RULES.md.",
        code="rule_file_invalid",
    )
