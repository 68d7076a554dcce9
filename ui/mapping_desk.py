"""Mappings as pages and API handle them: from words to a mapping, and the messages it is tried on.

Must not know: requests, templates, structs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.core.errors import ConfigError, UsageError
from appliance.core.limits import DEAD_LETTER_PAYLOAD_BYTES_MAX
from appliance.management.mapping import FieldRule, TopicMapping
from appliance.pipeline.kept_messages import KeptMessage
from appliance.pipeline.try_out import TryOut
from storage.catalog import Catalog
from ui.letters import DeadLetter
from ui.services import Services

LETTERS_LOOKED_AT: Final = 2_000
"""Of the newest dead letters, for those that a pattern fits."""
PAYLOAD_SHOWN_BYTES: Final = DEAD_LETTER_PAYLOAD_BYTES_MAX


def mapping_of(
    *, pattern: str, format: str, metric: str, fields: Sequence[FieldRule], only_fields: bool
) -> TopicMapping:
    """A mapping of words from outside.

    Raises:
        UsageError: `mapping_invalid`, with what is wrong.
    """
    try:
        return TopicMapping(
            pattern=pattern,
            format=format,
            metric=metric or None,
            fields=tuple(fields),
            only_fields=only_fields,
        )
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint, code=error.code) from error


async def try_mapping(
    services: Services,
    mapping: TopicMapping,
    *,
    position: int | None,
    mapping_id: str,
    source: str,
    limit: int,
) -> TryOut:
    """Try a mapping at a place of the order.

    Args:
        position: Of the mapping; None for behind all others, or where the mapping is that it stands for.
        mapping_id: Of the mapping that it stands for, "" for a new one.
        source: `log` or `dead_letters`.
    Raises:
        StorageError, Unavailable: the log, the store or the catalog can't be read. LimitExceeded: too many ask the store.
    """
    before = await services.catalog.read(lambda catalog: _before(catalog, mapping_id, position))
    if source == "log":
        return await services.try_outs.on_log(mapping, before, limit)
    letters = await services.telemetry.dead_letters(LETTERS_LOOKED_AT, None)
    chosen = [_message(letter) for letter in letters if mapping.match(letter.topic) is not None]
    return await services.try_outs.on_messages(mapping, before, chosen[:limit])


def _before(catalog: Catalog, mapping_id: str, position: int | None) -> list[TopicMapping]:
    written = catalog.list_mappings()
    if position is None:
        position = next(
            (each.position for each in written if each.mapping_id == mapping_id), len(written) + 1
        )
    others = [each.mapping for each in written if each.mapping_id != mapping_id]
    return others[: position - 1]


def _message(letter: DeadLetter) -> KeptMessage:
    return KeptMessage(
        epoch=letter.epoch,
        seq=letter.seq,
        received_at_ms=letter.received_at_ms,
        topic=letter.topic.encode(),
        payload=letter.payload or b"",
        client_id=letter.client_id,
    )
