"""Who takes the place of a device that stays away in its wave: one of its groups, of a later wave, that is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from storage.catalog.rollout_executions import Waiting


def swaps(
    queued: Sequence[tuple[Waiting, tuple[str, ...]]], *, wave: int, is_there: Callable[[str], bool]
) -> list[tuple[Waiting, Waiting]]:
    """Pairs of an execution of this wave whose device is away, and one of a later wave that takes its place.

    Args:
        queued: Executions that have not begun, with the groups of their devices; a device in no group stands for any other in none.
        wave: The current one.
    """
    free = [(each, groups) for each, groups in queued if each.wave > wave and is_there(each.device_id)]
    found = []
    for away, groups in queued:
        if away.wave != wave or is_there(away.device_id):
            continue
        for place, (instead, theirs) in enumerate(free):
            if set(groups) & set(theirs) or not (groups or theirs):
                found.append((away, instead))
                del free[place]
                break
    return found
