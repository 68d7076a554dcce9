"""What API and pages ask of the broker: questions over its control socket, answers as the API's structs.

What changes something is in the audit before the broker is asked to do it.

An answer that is not what this version expects is an error that says so; nothing is guessed.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from appliance.core.errors import Unavailable
from appliance.management.audit import Act, Actor
from ui.api import broker_structs as structs
from ui.services import Services

T = TypeVar("T", bound=msgspec.Struct)


async def _ask(services: Services, kind: type[T], question: str, **fields: Any) -> T:
    body = await services.broker.ask(question, **fields)
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise Unavailable(
            f"The broker's answer can't be understood: {error}.",
            hint="Restart the appliance, so that both processes are of one version.",
            code="broker_version",
        ) from error


async def clients(
    services: Services, *, q: str, cursor: str, limit: int, state: str = ""
) -> structs.ClientPage:
    """A page of clients in the order of their ids.

    Raises:
        Unavailable: the broker is away, does not answer, or is of another version; as all functions here.
    """
    return await _ask(services, structs.ClientPage, "clients", q=q, cursor=cursor, limit=limit, state=state)


async def clients_named(services: Services, client_ids: list[str]) -> structs.ClientPage:
    """Those of the clients that are connected or have a session, in the order given."""
    return await _ask(services, structs.ClientPage, "clients", client_ids=client_ids)


async def client(services: Services, client_id: str) -> structs.ClientDetail:
    """One client. Raises NotFound: `client_unknown`."""
    return await _ask(services, structs.ClientDetail, "client", client_id=client_id)


async def kick(services: Services, actor: Actor, client_id: str) -> structs.Kicked:
    """Close a client's connection. Raises NotFound: `client_unknown`. Conflict: `client_away`."""
    async with services.audit.noted(
        Act(action="client.kick", actor=actor), object_kind="client", object_id=client_id
    ):
        return await _ask(services, structs.Kicked, "kick", client_id=client_id)


async def end_session(services: Services, actor: Actor, client_id: str) -> structs.SessionEnded:
    """End a client's session, and its connection if there is one. Raises NotFound: `client_unknown`."""
    async with services.audit.noted(
        Act(action="client.end_session", actor=actor), object_kind="client", object_id=client_id
    ):
        return await _ask(services, structs.SessionEnded, "end_session", client_id=client_id)


async def retained(services: Services, *, q: str, cursor: int | None, limit: int) -> structs.RetainedPage:
    """A page of retained messages, the newest first."""
    return await _ask(services, structs.RetainedPage, "retained", q=q, cursor=cursor, limit=limit)


async def clear_retained(services: Services, actor: Actor, topic: str, seq: int | None) -> structs.Cleared:
    """Forget a topic's retained message. Raises NotFound: `retained_unknown`."""
    async with services.audit.noted(
        Act(action="retained.clear", actor=actor),
        object_kind="retained_message",
        object_id=topic,
        detail="" if seq is None else f"only if it is the one at position {seq}",
    ):
        return await _ask(services, structs.Cleared, "clear_retained", topic=topic, seq=seq)
