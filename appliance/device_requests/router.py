"""Who answers what devices ask: a handler for each service, which knows nothing of the broker.

A device asks for itself: the broker lets nobody ask below another's id, and it is checked here again. What a handler refuses by raising is
answered in the words of its service.

Must not know: sockets, MQTT packets, what the services do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import (
    Conflict,
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    Unavailable,
    UsageError,
)
from appliance.core.limits_requests import (
    REQUEST_REFUSALS_DEVICE_COUNT_MAX,
    REQUEST_REFUSALS_LOGGED_MAX,
    REQUEST_REFUSALS_LOGGED_PER_DEVICE_MAX,
)
from appliance.core.token_bucket import Bucket, BucketTable, Quota
from appliance.management.request_refusals import Refusal, refusal_message
from appliance.management.request_topics import PROVISION, DeviceTopic, parse
from broker.control_messages import DeviceReply, DeviceRequest

RETRY_S: Final = 10
"""When what could not be answered now may be asked again."""
STATUS: Final[tuple[tuple[type[HomeportError], int], ...]] = (
    (NotFound, 404),
    (Conflict, 409),
    (LimitExceeded, 429),
    (NotAuthorized, 403),
    (UsageError, 400),
)
"""As in HTTP; every other error is 500, which may be over when it is asked again."""

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request.

    Attributes:
        device_id: Whose connection it came by; of one that enrols a name that no device can have.
        kind, proof: Of the principal (management/access.py), for enrolling.
    """

    topic: DeviceTopic
    payload: bytes = field(repr=False)
    device_id: str
    client_id: str
    address: str
    kind: str = "device"
    proof: bytes = field(default=b"", repr=False)


Handler = Callable[[Asked], Awaitable[DeviceReply]]


class Router:
    """See the module's docstring. `answer` is what the broker's link asks. All refusals are counted, some a minute are logged."""

    def __init__(self, *, clock: Clock) -> None:
        self._handlers: dict[str, Handler] = {}
        self._refused: dict[str, int] = {}
        self._clock = clock
        self._lines = Bucket(Quota("refusals", REQUEST_REFUSALS_LOGGED_MAX), clock.mono_ms())
        self._lines_of = BucketTable(
            Quota("device-refusals", REQUEST_REFUSALS_LOGGED_PER_DEVICE_MAX),
            count_max=REQUEST_REFUSALS_DEVICE_COUNT_MAX,
        )
        self._unlogged = 0

    def register(self, service: str, handler: Handler) -> None:
        """Have a service's requests answered; once for each."""
        assert service not in self._handlers
        self._handlers[service] = handler

    def statistics(self) -> dict[str, int]:
        """Requests since the start that a handler refused by raising, by the error's code."""
        return dict(self._refused)

    async def answer(self, request: DeviceRequest) -> DeviceReply:
        """What a device is answered; refusals are answers, too."""
        topic = parse(request.topic)
        assert topic is not None
        asked = Asked(
            topic=topic,
            payload=request.payload,
            device_id=request.name,
            client_id=request.client_id,
            address=request.address,
            kind=request.kind,
            proof=request.proof,
        )
        try:
            return await self._handler(asked)(asked)
        except HomeportError as error:
            self._refused[error.code] = self._refused.get(error.code, 0) + 1
            self._log_refusal(asked, error)
            return refused(asked, error)
        except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
            # What one device can say must not end what all others need.
            _log.error(
                "a device's request failed in a way nobody foresaw",
                device=asked.device_id,
                topic=str(topic),
                exc_info=error,
            )
            unforeseen = HomeportError(
                "The request could not be worked out.",
                hint="Tell whoever runs the appliance: its log says why.",
                code="request_failed",
            )
            self._refused[unforeseen.code] = self._refused.get(unforeseen.code, 0) + 1
            return refused(asked, unforeseen)

    def _log_refusal(self, asked: Asked, error: HomeportError) -> None:
        """Log it, unless the device or all of them have had their lines: who is refused on purpose must not fill the journal."""
        now_ms = self._clock.mono_ms()
        buckets = (self._lines_of.bucket(asked.device_id, now_ms), self._lines)
        if any(bucket.wait_ms(now_ms) for bucket in buckets):
            self._unlogged += 1
            return
        for bucket in buckets:
            bucket.take()
        unlogged, self._unlogged = self._unlogged, 0
        _log.info(
            "a device's request was refused",
            device=asked.device_id,
            topic=str(asked.topic),
            code=error.code,
            reason=error.message,
            unlogged_before=unlogged,
        )

    def _handler(self, asked: Asked) -> Handler:
        topic = asked.topic
        if topic.service != PROVISION and topic.device_id != asked.device_id:
            raise NotAuthorized(
                "A device asks for itself only.",
                hint="Ask below the device's own id.",
                code="not_authorized",
            )
        handler = self._handlers.get(topic.service)
        if handler is None:
            raise NotFound(
                f"Nobody here answers {topic.service}.",
                hint="Update the appliance.",
                code="service_unknown",
            )
        return handler


def refused(asked: Asked, error: HomeportError) -> DeviceReply:
    """The answer that an error is, in the words of the request's service."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    retry_s = RETRY_S if isinstance(error, Unavailable | LimitExceeded) else None
    text = f"{error.message} {error.hint}".strip()
    refusal = Refusal(code=error.code, message=text, status=status, retry_s=retry_s)
    return DeviceReply(is_accepted=False, messages=(refusal_message(asked.topic, refusal, asked.payload),))


def by_request(answer: Callable[[DeviceRequest], Awaitable[DeviceReply]]) -> Handler:
    """A handler out of something that knows the broker's request (identity/enrolment.py)."""

    async def handle(asked: Asked) -> DeviceReply:
        return await answer(
            DeviceRequest(
                topic=str(asked.topic),
                payload=asked.payload,
                client_id=asked.client_id,
                address=asked.address,
                name=asked.device_id,
                kind=asked.kind,
                proof=asked.proof,
            )
        )

    return handle
