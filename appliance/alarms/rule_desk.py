"""What people do with rules: make, change, remove, bring by file. Each change holds from a position of the log on.

Theory of operation. A change is written while reading is held up at the log's head (`changing`, by whoever evaluates rules), so the position
that is written down is one that no reading was evaluated behind. The functions here run in the catalog's writer, in the transaction of
whoever asked, so that the audit has their name.

Must not know: how rules are evaluated, requests, pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from appliance.management.rule_file import FiledRule, RuleFile
from storage.catalog import Catalog
from storage.catalog.rules import Position, WrittenRule


class RuleChanges(Protocol):
    """Holds evaluation up while rules are changed."""

    def changing(self) -> AbstractAsyncContextManager[Position]:
        """Around a transaction that changes rules, one at a time; what was written holds when it is left.

        Yields:
            (epoch, sequence) of the first record that the change may hold for.
        Raises:
            LimitExceeded, StorageError: nothing may be changed now; nothing was.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did, by the rules' names."""

    made: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def import_rules(catalog: Catalog, file: RuleFile, *, position: Position, by: str) -> Imported:
    """Make the rules of a checked file, or change those of the same name; all of them or none.

    Raises:
        LimitExceeded: `rule_count`, `rule_version_count`.
    """
    made: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    with catalog.transaction():
        for each in file.rules:
            before = catalog.rule_named(each.name)
            if before is None:
                catalog.add_rule(
                    each.name, each.definition, is_enabled=each.is_enabled, position=position, by=by
                )
                made.append(each.name)
                continue
            after = catalog.edit_rule(
                before.rule_id,
                definition=each.definition,
                is_enabled=each.is_enabled,
                position=position,
                by=by,
            )
            (unchanged if after == before else changed).append(each.name)
    return Imported(made=tuple(made), changed=tuple(changed), unchanged=tuple(unchanged))


def filed(rules: Sequence[WrittenRule]) -> list[FiledRule]:
    """Rules as a file has them."""
    return [
        FiledRule(name=each.name, is_enabled=each.is_enabled, definition=each.definition) for each in rules
    ]
