"""Topic patterns of mappings and roles: which topics one opens, and whether it opens all that a filter can match.

A pattern is a topic filter whose levels may also be placeholders: `{device}` and `%u` stand for the name of who is
connected (it comes from the credential), `%c` for the client id, `{metric}` and `{stream}` for any level. A placeholder is a
whole level, and what it stands for is compared as text: a client id that holds `+`, `#` or `/`, or begins with `$`, opens
nothing, so no name can widen a pattern. Pure. Must not know who may do what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from appliance.core.errors import UsageError
from appliance.core.limits import TOPIC_BYTES_MAX, TOPIC_LEVEL_COUNT_MAX

DEVICE: Final = "{device}"
USER: Final = "%u"
CLIENT: Final = "%c"
_NAMES: Final = (DEVICE, USER)
_ANY_LEVEL: Final = ("{metric}", "{stream}")
_PLACEHOLDERS: Final = (*_NAMES, CLIENT, *_ANY_LEVEL)
_WHOLE_LEVEL: Final = ("+", "#", *_PLACEHOLDERS)


def parse_pattern(text: str) -> tuple[str, ...]:
    """Check a pattern and take it apart into levels.

    Raises:
        UsageError: `topic_pattern_invalid`: a wildcard or placeholder that is only part of a level, `#` before the end,
            `{device}` twice, too many levels or bytes, nothing at all, or `$share`, which is no part of a topic.
    """
    levels = tuple(text.split("/"))
    problem = _problem(text, levels)
    if problem:
        raise UsageError(
            f"In the topic pattern “{text[:100]}” {problem}.",
            hint="Write it like site/+/dev/{device}/telemetry, dm/+/status or room/%u/#.",
            code="topic_pattern_invalid",
        )
    return tuple("+" if level in _ANY_LEVEL else level for level in levels)


class _Node:
    """A level of the tree. What stands for something else is not among the literals: a client may send a level “%u”."""

    __slots__ = ("any", "client", "ends", "literals", "rest", "user")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.user: _Node | None = None
        self.client: _Node | None = None
        self.ends = False
        self.rest = False
        """Whether `#` follows."""

    def child(self, level: str) -> _Node:
        if level == "+":
            self.any = self.any or _Node()
            return self.any
        if level in _NAMES:
            self.user = self.user or _Node()
            return self.user
        if level == CLIENT:
            self.client = self.client or _Node()
            return self.client
        return self.literals.setdefault(level, _Node())


class PatternSet:
    """Some patterns as a tree by level: a topic that none opens costs about what its own levels cost.

    Args:
        patterns: As `parse_pattern` takes them.
    Raises:
        UsageError: see `parse_pattern`.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._root = _Node()
        self._is_empty = True
        for text in patterns:
            self._is_empty = False
            node = self._root
            for level in parse_pattern(text):
                if level == "#":
                    node.rest = True
                    break
                node = node.child(level)
            else:
                node.ends = True

    def opens(self, wanted: Sequence[str], *, name: str, client_id: str) -> bool:
        """Whether one of the patterns, for this name and client id, matches every topic that a filter matches.

        Args:
            wanted: Levels of a valid topic filter; or of a topic name, which is a filter that matches itself.
        Source: MQTT 5.0 §4.7.1, §4.7.2 (a leading wildcard matches no topic that begins with `$`).
        """
        if self._is_empty:
            return False
        if wanted[0] == "#":
            # Alone, at the first level, it matches what `+/#` does: every topic has a first level.
            wanted = ("+", "#")
        elif len(wanted) == 2 and wanted[0] == "" and wanted[1] == "#":
            # `/#` would match the topic without a name, too, which there is not: it matches what `/+/#` does.
            wanted = ("", "+", "#")
        is_special = wanted[0].startswith("$")
        places = [(self._root, 0)]
        while places:
            node, index = places.pop()
            if node.rest and not (is_special and index == 0):
                return True
            if index == len(wanted):
                if node.ends:
                    return True
                continue
            level = wanted[index]
            if level == "#":
                continue
            index += 1
            if node.any is not None and not (is_special and index == 1):
                places.append((node.any, index))
            if level == "+":
                continue
            if (literal := node.literals.get(level)) is not None:
                places.append((literal, index))
            if node.user is not None and level == name and is_plain_level(name):
                places.append((node.user, index))
            if node.client is not None and level == client_id and is_plain_level(client_id):
                places.append((node.client, index))
        return False


def is_plain_level(text: str) -> bool:
    """Whether a name can stand for one level of a topic and for nothing more."""
    return bool(text) and not text.startswith("$") and not any(sign in text for sign in "+#/\0")


def _problem(text: str, levels: tuple[str, ...]) -> str:
    if not text or "\0" in text:
        return "there is no topic"
    if len(levels) > TOPIC_LEVEL_COUNT_MAX or len(text.encode("utf-8", "surrogatepass")) > TOPIC_BYTES_MAX:
        return f"there are more than {TOPIC_LEVEL_COUNT_MAX} levels or {TOPIC_BYTES_MAX} bytes"
    if levels[0] == "$share":
        return "$share stands where a topic begins: write the filter behind the share's name"
    if "#" in levels[:-1]:
        return "# stands before the last level"
    if levels.count(DEVICE) > 1:
        return f"{DEVICE} stands twice"
    for level in levels:
        if level in _WHOLE_LEVEL:
            continue
        for part in _WHOLE_LEVEL:
            if part in level:
                return f"{part} must be one whole level"
    return ""
