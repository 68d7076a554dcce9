"""What this box answers a cloud node that reads its site: its own API, asked within this process, as somebody who may see and change nothing.

Theory of operation: whether the cloud node may is looked up in the site's catalog for each question. A question names a part and a device
(appliance/management/site_reading.py), so there is no address that could lead elsewhere; the request is made here, a GET without any header.
The answer is collected up to READING_ANSWER_BYTES_MAX and given up beyond.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio
from starlette.types import ASGIApp, Message, Scope

from appliance.core.errors import HomeportError, LimitExceeded, NotAuthorized, NotFound
from appliance.core.limits_site_reading import READING_ANSWER_BYTES_MAX
from appliance.management.alarms import AlarmState
from appliance.management.presence import Presence
from appliance.management.site_reading import (
    HINT,
    KEY_PREFIX,
    NOT_ALLOWED,
    SiteSummary,
    is_allowed,
    key_of,
    path_of,
    person_words,
)
from storage.catalog import Catalog
from ui.auth import as_cloud
from ui.identities import Identity
from ui.problem import response_of
from ui.services import Services

log = structlog.get_logger(__name__)
_PRIORITIES: Final = ("P1", "P2", "P3")
_ACTIVE: Final = (AlarmState.ACTIVE_UNACKNOWLEDGED, AlarmState.ACTIVE_ACKNOWLEDGED)


class SiteAnswers:
    """See the module.

    Args:
        app: Of the API.
    """

    def __init__(self, services: Services, app: ASGIApp) -> None:
        self._services, self._app = services, app

    async def read(
        self, node_id: str, node_name: str, part: str, device_id: str, query: str, person: str
    ) -> tuple[int, bytes]:
        """Status and JSON; problem details for whatever can't be answered.

        Args:
            node_id, node_name: Of the cloud node, as the replicator knows it by its link. The others as in ReadingQuestion.
        """
        who = person_words(node_name, person)
        try:
            key = key_of(node_id)
            if not is_allowed(await self._services.catalog.read(lambda catalog: catalog.get_setting(key))):
                raise NotAuthorized(
                    "This site does not let the cloud node read it.", hint=HINT, code=NOT_ALLOWED
                )
            path = path_of(part, device_id)
            identity = Identity(user_id=who, role="viewer", via="cloud", token_id=node_id)
            status, body = await self._ask(path, query, identity)
        except HomeportError as error:
            log.info("a cloud node was refused", who=who, part=part, device=device_id, code=error.code)
            response = response_of(error)
            return response.status_code, bytes(response.body)
        log.info("a cloud node asked this site", who=who, part=part, device=device_id, status=status)
        return status, body

    async def summary(self) -> SiteSummary:
        """Who may read, and how the site does in numbers. Raises as the catalog."""
        online = [
            each for each, live in self._services.live.devices().items() if live.presence == Presence.ONLINE
        ]

        def read(catalog: Catalog) -> SiteSummary:
            by_severity = catalog.alarm_counts().by_severity
            p1, p2, p3 = (
                sum(by_severity.get(each, {}).get(state.value, 0) for state in _ACTIVE)
                for each in _PRIORITIES
            )
            return SiteSummary(
                allowed=tuple(
                    key.removeprefix(KEY_PREFIX)
                    for key, value in catalog.settings_below(KEY_PREFIX).items()
                    if is_allowed(value)
                ),
                devices=catalog.count_devices(states=("active",)),
                online=catalog.count_devices(states=("active",), ids=online) if online else 0,
                alarms=(p1, p2, p3),
            )

        return await self._services.catalog.read(read)

    async def _ask(self, path: str, query: str, identity: Identity) -> tuple[int, bytes]:
        try:
            raw_query = query.encode("ascii")
        except UnicodeEncodeError as error:
            raise NotFound("A query is ASCII.", hint="Encode it.", code="no_such_address") from error
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"/api/v1{path}",
            "raw_path": None,
            "root_path": "",
            "query_string": raw_query,
            "headers": [],
            "client": None,
            "server": None,
            "extensions": {},
            "state": {},
        }
        collected = _Collected()
        await self._app(as_cloud(scope, identity), _NothingMore(), collected.take)
        if collected.is_too_large:
            raise LimitExceeded(
                f"The answer has more than {READING_ANSWER_BYTES_MAX >> 20} MiB, which is as much as a cloud node reads at once.",
                hint="Ask for less: a smaller limit, fewer metrics, or a shorter period.",
                code="reading_answer_too_large",
            )
        return collected.status, bytes(collected.body)


class _Collected:
    """An answer as it comes; what is beyond the limit is passed over."""

    def __init__(self) -> None:
        self.status = 500
        self.body = bytearray()
        self.is_too_large = False

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            data = message.get("body", b"")
            if self.is_too_large or len(self.body) + len(data) > READING_ANSWER_BYTES_MAX:
                self.is_too_large = True
                self.body.clear()
            else:
                self.body += data


class _NothingMore:
    """An empty body, and then nobody who hangs up."""

    def __init__(self) -> None:
        self._is_said = False

    async def __call__(self) -> Message:
        if self._is_said:
            await trio.sleep_forever()
        self._is_said = True
        return {"type": "http.request", "body": b"", "more_body": False}
