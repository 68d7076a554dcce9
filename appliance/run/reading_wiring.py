"""A cloud node reads at a site, through four processes: its node asks its replicator, that one the box's over the link, and that one the box's node.

Each hop is a control socket (replication/control.py) or the link, and each has less time than the one before it. Where nothing is asked, nothing lies anywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import msgspec
import structlog
import trio
from starlette.types import ASGIApp

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import (
    HomeportError,
    LimitExceeded,
    NotAuthorized,
    NotFound,
    Unavailable,
    UsageError,
)
from appliance.core.limits_site_reading import READING_NODE_S
from appliance.management.fleet import Roster
from appliance.management.replication_state import ReadingState
from appliance.management.site_reading import NOT_ALLOWED, SiteSummary
from appliance.run import layout
from appliance.run.gateway_wiring import CloudNode
from appliance.run.replication_asking import replication_source
from replication.control import REPLICATOR_AWAY, ControlServer, ask
from replication.tier.gateway_parts import Carrier
from replication.tier.reading import ReadingCounts, ReadingDoor
from replication.tier.reading_messages import ReadingAnswer, ReadingQuestion
from storage.catalog import AsyncCatalog
from ui.problem import response_of
from ui.services import Services
from ui.site_answers import SiteAnswers
from ui.site_reading import AskSite, SiteReadingDesk

log = structlog.get_logger(__name__)


# --- In a box's node ------------------------------------------------------------------------------------------


def reading_room(config: Config, services: Services, app: ASGIApp) -> Callable[[], Awaitable[None]]:
    """What serves the replicator what cloud nodes read; `run` it until cancelled."""
    answers = SiteAnswers(services, app)

    async def answer(question: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        match question, fields:
            case "summary", _:
                summary: dict[str, Any] = msgspec.to_builtins(await answers.summary())
                return summary
            case "read", {
                "node_id": str(node_id),
                "node_name": str(node_name),
                "part": str(part),
                "device_id": str(device_id),
                "query": str(query),
                "person": str(person),
            }:
                status, body = await answers.read(node_id, node_name, part, device_id, query, person)
                return {"status": status, "body": body}
        raise NotFound(f"The node knows no question “{question[:40]}”.", code="question_unknown")

    async def serve() -> None:
        await ControlServer(layout.reading_socket(config), answer).serve()

    return serve


# --- In a box's replicator ------------------------------------------------------------------------------------


class SiteAsking:
    """What a box's replicator answers cloud nodes: its node is asked, for nobody else knows.

    Args:
        roster: Who there is now.
    """

    def __init__(self, config: Config, roster: Callable[[], Roster]) -> None:
        self._config, self._roster = config, roster

    def door(self, links: Carrier) -> ReadingDoor:
        """What questions come to."""
        return ReadingDoor(links, self.answer, _busy, now_ms=lambda: int(trio.current_time() * 1_000))

    async def answer(self, peer: str, question: ReadingQuestion) -> ReadingAnswer:
        """Ask the node, for a peer that is a cloud node of the fleet; whatever is wrong is an answer."""
        entry = self._roster().get(peer)
        try:
            if entry is None or entry.decommission is not None or entry.role != "cloud":
                raise NotAuthorized(
                    "Only a cloud node of the fleet reads a site.", hint="Ask a cloud node.", code=NOT_ALLOWED
                )
            with trio.fail_after(READING_NODE_S):
                said = await self._ask(
                    "read",
                    node_id=peer,
                    node_name=entry.name,
                    part=question.part,
                    device_id=question.device_id,
                    query=question.query,
                    person=question.person,
                )
            return msgspec.convert((said.get("status"), said.get("body")), ReadingAnswer)
        except HomeportError as error:
            return _problem(error)
        except (trio.TooSlowError, msgspec.ValidationError):
            return _problem(_node_away())

    async def summary(self) -> SiteSummary | None:
        """How the site does, and who may read it; None while the node doesn't say."""
        try:
            with trio.fail_after(READING_NODE_S):
                return msgspec.convert(await self._ask("summary"), SiteSummary)
        except (HomeportError, trio.TooSlowError, msgspec.ValidationError) as error:
            log.debug("how the site does is not known", reason=str(error))
            return None

    async def _ask(self, question: str, **fields: Any) -> dict[str, Any]:
        try:
            return await ask(layout.reading_socket(self._config), question, **fields)
        except Unavailable as error:
            if error.code == REPLICATOR_AWAY:  # as `ask` calls whoever isn't there
                raise _node_away() from error
            raise


def _busy(why: str) -> ReadingAnswer:
    return _problem(LimitExceeded(why, hint="Try again in a moment.", code="reading_busy"))


def _node_away() -> Unavailable:
    return Unavailable(
        "The box is there, but its node does not answer it.",
        hint="Look at the box: homeport status, and homeport doctor.",
        code="site_node_away",
    )


def _problem(error: HomeportError) -> ReadingAnswer:
    response = response_of(error)
    return ReadingAnswer(response.status_code, bytes(response.body))


# --- In a cloud node ------------------------------------------------------------------------------------------


def reading_desk(config: Config, catalog: AsyncCatalog, clock: Clock) -> SiteReadingDesk:
    """What pages and API of the node read sites with; on a box that is no cloud node it knows of no site."""
    return SiteReadingDesk(site_reader(config), replication_source(config), catalog, clock=clock)


def site_reader(config: Config) -> AskSite:
    """Has the cloud node's replicator ask a box."""

    async def read(node_id: str, part: str, device_id: str, query: str, person: str) -> tuple[int, bytes]:
        said = await ask(
            layout.replicator_socket(config),
            "read_site",
            node_id=node_id,
            part=part,
            device_id=device_id,
            query=query,
            person=person,
        )
        try:
            answer = msgspec.convert((said.get("status"), said.get("body")), ReadingAnswer)
        except msgspec.ValidationError as error:
            raise Unavailable(
                f"What the replicator says can't be read: {error}.",
                hint="Restart Homeport, so that all its processes are of one version.",
                code="replicator_away",
            ) from error
        return answer.status, answer.body

    return read


async def read_site(cloud: CloudNode | None, node_id: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """In the replicator: ask a box.

    Raises:
        NotFound: this is no cloud node. UsageError: that is no question. As `CloudNode.read`.
    """
    if cloud is None:
        raise NotFound(
            "This is no cloud node, and reads at no site.",
            hint="Ask on the cloud node.",
            code="cloud_missing",
        )
    try:
        question = msgspec.convert(
            tuple(asked.get(each) for each in ReadingQuestion.__struct_fields__), ReadingQuestion
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"That is no question to a site: {error}.", code="reading_too_long") from error
    answer = await cloud.read(node_id, question)
    return {"status": answer.status, "body": answer.body}


def reading_state(counts: ReadingCounts) -> ReadingState:
    """As the replicator's state holds them."""
    return ReadingState(**asdict(counts))
