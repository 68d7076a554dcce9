"""Questions in SQL for API and pages alike: noted in the audit, asked, and written as CSV where that is wanted."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from starlette.requests import Request

from appliance.core.errors import HomeportError, Unavailable
from appliance.management.audit import Act
from storage.telemetry.sql_box import SqlAnswer, Value
from ui.audit_export import harmless
from ui.auth import actor_of, services_of

ACTION = "query.run"
CSV = "text/csv"
FILE_NAME = "answer.csv"


async def ask(request: Request, text: str) -> SqlAnswer:
    """Ask, after it is in the audit who did: by the question's hash and length, since its text may hold anything.

    Raises:
        SqlRefused, LimitExceeded, Unavailable, StorageError: as SqlBox.ask. Unavailable: `asker_gone`, which nobody reads.
    """
    services, actor = services_of(request), await actor_of(request)
    data = text.encode(errors="replace")
    async with services.audit.noted(
        Act(action=ACTION, actor=actor),
        object_kind="query",
        object_id=hashlib.sha256(data).hexdigest()[:16],
        detail=f"{len(data)} bytes of SQL",
    ):
        return await _while_somebody_waits(request, partial(services.sql.ask, text))


async def _while_somebody_waits(request: Request, ask_it: Callable[[], Awaitable[SqlAnswer]]) -> SqlAnswer:
    """Carry a question out for as long as who asked is there: the server says that they left, and lets the work go on."""
    answers: list[SqlAnswer] = []
    errors: list[HomeportError] = []

    async def work(whole: trio.CancelScope) -> None:
        try:
            answers.append(await ask_it())
        except HomeportError as error:
            errors.append(error)
        whole.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, nursery.cancel_scope)
        # Not `is_disconnected`, which cancels its look before trio has looked.
        while (await request.receive())["type"] != "http.disconnect":
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if not answers:
        raise Unavailable(
            "Who asked has gone, and the question was interrupted.", hint="Ask again.", code="asker_gone"
        )
    return answers[0]


def csv_of(answer: SqlAnswer) -> bytes:
    """The answer as CSV (RFC 4180) in UTF-8, with its columns' names; lists are JSON, and nothing is nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([harmless(name) for name, _ in answer.columns])
    writer.writerows([_cell(value) for value in row] for row in answer.rows)
    return text.getvalue().encode()


def _cell(value: Value) -> str:
    """As people read it; a text is no formula, and a number with a minus before it stays one."""
    return harmless(value) if isinstance(value, str) else text_of(value)


def text_of(value: Value) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
