"""Messages that the node publishes on a topic, as anybody would: records of the log, fanned out and retained like every other.

They are of no client, and nobody's access is asked: what the node may publish where it decides itself. The answer comes when the record is
on disk; without one in time it may still be published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from appliance.core.errors import ProtocolError, Unavailable, UsageError
from appliance.core.limits import CLEAR_TIMEOUT_MS
from appliance.core.limits_notifications import NOTIFICATION_BODY_BYTES_MAX
from storage.log.columns import Kind

from .mqtt.properties import Properties, encode_properties
from .mqtt.property_table import PropertyId
from .mqtt.topics import validate_topic_name
from .open_block import PendingRecord
from .state.broker_state import FLAG_RETAIN

if TYPE_CHECKING:
    from .data_plane import DataPlane

QOS_1: Final = 0x02
KEY_PROPERTY: Final = "Idempotency-Key"
_NOBODY: Final = ("", "")


class ServerPublishing:
    """See the module's docstring."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    async def answer(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a message at QoS 1.

        Args:
            fields: topic, payload (bytes of JSON), key (becomes a user property), is_retained.
        Returns:
            `seq`: its record of the log.
        Raises:
            UsageError: `question_invalid`. Unavailable: `disk_slow`.
        """
        match fields:
            case {
                "topic": str(topic),
                "payload": bytes(payload),
                "key": str(key),
                "is_retained": bool(is_retained),
            } if len(payload) <= NOTIFICATION_BODY_BYTES_MAX:
                pass
            case _:
                raise _invalid(
                    f"a topic, a payload of at most {NOTIFICATION_BODY_BYTES_MAX} bytes, and a key"
                )
        try:
            validate_topic_name(topic.encode())
            properties = encode_properties(
                Properties(
                    {PropertyId.PAYLOAD_FORMAT_INDICATOR: 1, PropertyId.CONTENT_TYPE: "application/json"},
                    user=((KEY_PROPERTY, key),),
                )
            )
        except (ProtocolError, UnicodeEncodeError) as error:
            raise _invalid(f"a topic name: {error}") from error
        written, seqs = trio.Event(), list[int]()

        def then(seq: int) -> None:
            seqs.append(seq)
            written.set()

        flags = QOS_1 | (FLAG_RETAIN if is_retained else 0)
        self._plane.record(
            PendingRecord(
                Kind.SERVER_PUBLISH,
                _NOBODY,
                topic.encode(),
                payload,
                flags=flags,
                properties=properties,
                then=then,
            )
        )
        self._plane.wake()
        with trio.move_on_after(CLEAR_TIMEOUT_MS / 1000):
            await written.wait()
            return {"seq": seqs[0]}
        raise Unavailable(
            "The disk has not taken the message yet; it may still be published.",
            hint="Look whether the disk is full.",
            code="disk_slow",
        )


def _invalid(wanted: str) -> UsageError:
    return UsageError(
        f"What is to be published has to be {wanted}.",
        hint="Publish something else.",
        code="question_invalid",
    )
