"""A change of one row of the catalog, as nodes tell it to each other.

A change is what one transaction did to one row: the whole row after it, and which fields it wrote. It carries the clock of
its transaction, the row's generation (so that nothing that was meant for a row which was deleted reaches one that was made anew under the
same key), and for fields that people decide, which values of other nodes its writer had seen.
Knows no storage and no wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Value = str | int | float | None
"""What a column holds; replicated tables have no blobs."""
Operation = Literal["insert", "update", "delete"]
Seen = Mapping[str, int]
"""Of a value: for each other node, up to which of its timestamps its writer had seen that field."""


class Clock(NamedTuple):
    """When something was written and by whom; compares as the order in which writes count.

    Attributes:
        hlc: Hybrid logical clock (appliance/management/hlc.py).
        origin: Node id, 32 hex digits: two nodes' writes of the same time have an order all the same.
    """

    hlc: int
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """See the module's docstring.

    Attributes:
        position: Of the writer's outbox, from 1: what comes later in a stream has a greater one.
        key: Value of the table's key column.
        row: The whole row after the change, before it for a delete; column to value.
        changed: Fields that an update wrote; empty for an insert, which wrote all, and for a delete.
        clock: Of the change.
        generation: Of the row, from 1; one more after each delete that whoever made it anew knew of. A delete ends it and those before.
        seen: By field, for those whose conflicts are shown; nothing where the writer had seen its own values only.
        by: Who decided between values, where that is what the change does; "" otherwise.
        ends_transaction: Whether it is the last row of its transaction.
    """

    position: int
    table: str
    key: str
    op: Operation
    row: Mapping[str, Value]
    changed: tuple[str, ...] = ()
    clock: Clock
    generation: int = 1
    seen: Mapping[str, Seen] = field(default_factory=dict)
    by: str = ""
    ends_transaction: bool = True
