"""Acts on a rollout that are asked about first: a page says how many devices they concern and which, and wants a reason or a typed word.

The count that was read goes along and is compared in the transaction of the act: what happens is what was on the page, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import Conflict, HomeportError, NotFound, UsageError
from appliance.management.rollouts import RolloutEvent, target
from appliance.updates import rollout_acts
from appliance.updates.rollout_acts import Author
from storage.catalog import Catalog
from storage.catalog.rollouts import Rollout
from ui import auth
from ui.pages.addresses import rollout_url
from ui.pages.format import plural, visible
from ui.pages.rollout_form import URL as NEW_URL
from ui.pages.shell import Handler, Shell, form_of, problem_text
from ui.pages.typed import check_typed
from ui.problem import status_of

COUNT: Final = re.compile(r"[0-9]{1,6}")
_TYPED: Final = {"abort": "abort", "rollback": "roll back"}
"""What is typed before the count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a page asks before an act.

    Attributes:
        confirmation: What has to be typed; "" for nothing. count: How many devices it concerns.
        choices: Other ways to do it: label, value of `wave`, whether it is the one that is shown.
    """

    title: str
    button: str
    says: tuple[str, ...]
    count: int = 0
    confirmation: str = ""
    choices: tuple[tuple[str, str, bool], ...] = ()


def asking(name: str) -> Handler:
    """`GET /firmware/rollouts/{id}/NAME`: what would happen. Raises NotFound: `rollout_unknown`. Conflict: `rollout_state`."""

    async def ask(shell: Shell, request: Request) -> Response:
        return await _page(shell, request, name, request.query_params.get("wave", ""))

    return ask


def acting(name: str) -> Handler:
    """`POST /firmware/rollouts/{id}/NAME` with reason, and confirm, count and wave where they were asked for."""

    async def act(shell: Shell, request: Request) -> Response:
        rollout_id = request.path_params["rollout_id"]
        form = await form_of(request)
        wave, reason = form.get("wave", ""), form.get("reason", "").strip()
        count = int(form["count"]) if COUNT.fullmatch(form.get("count", "")) else 0
        now_ms = shell.services.clock.now_ms()
        author = Author((await auth.require(request)).user_id)
        try:
            if name == "refuse" and not reason:
                raise UsageError(
                    "There is no reason.", hint="Say what has to be changed.", code="body_invalid"
                )
            if name != "refuse":
                check_typed(form.get("confirm", ""), f"{_TYPED[name]} {count}")
            rollout = await shell.write(
                request, f"rollout.{name}", _writer(name, rollout_id, author, wave, reason, count, now_ms)
            )
        except NotFound:
            raise
        except HomeportError as error:
            return await _page(shell, request, name, wave, error=error, reason=reason)
        shell.updates.changed()
        return RedirectResponse(f"{rollout_url(rollout_id)}?done={rollout.state}", 303)

    return act


async def edit(shell: Shell, request: Request) -> Response:
    """`GET /firmware/rollouts/{id}/edit`: a draft's form."""
    return RedirectResponse(f"{NEW_URL}?{urlencode({'draft': request.path_params['rollout_id']})}", 303)


def _writer(
    name: str, rollout_id: str, author: Author, wave: str, reason: str, count: int, now_ms: int
) -> Callable[[Catalog], Rollout]:
    match name:
        case "refuse":
            return lambda catalog: rollout_acts.refuse(catalog, rollout_id, author, reason)
        case "abort":
            return lambda catalog: rollout_acts.abort(
                catalog, rollout_id, author, reason, confirm_count=count, now_ms=now_ms
            )
        case _:
            return lambda catalog: rollout_acts.roll_back(
                catalog, rollout_id, author, wave=_wave(wave), reason=reason, confirm_count=count
            )


async def _page(
    shell: Shell,
    request: Request,
    name: str,
    wave: str,
    *,
    error: HomeportError | None = None,
    reason: str = "",
) -> Response:
    rollout_id = request.path_params["rollout_id"]

    def read(catalog: Catalog) -> tuple[Rollout, Question]:
        rollout = catalog.get_rollout(rollout_id)
        return rollout, _question(catalog, rollout, name, wave)

    rollout, question = await shell.services.catalog.read(read)
    hidden = [("count", str(question.count)), ("wave", wave)] if question.confirmation else []
    return await shell.render(
        request,
        "rollout_confirm.html",
        status=status_of(error) if error is not None else 200,
        title=question.title,
        section="rollouts",
        problem=problem_text(error) if error is not None else "",
        name=rollout.name,
        url=rollout_url(rollout_id),
        act=name,
        q=question,
        hidden=hidden,
        reason=reason[:500],
    )


def _question(catalog: Catalog, rollout: Rollout, name: str, wave: str) -> Question:
    event = {"refuse": RolloutEvent.REFUSE, "abort": RolloutEvent.ABORT}.get(name, RolloutEvent.ROLL_BACK)
    if target(rollout.state, event) is None:
        raise Conflict(
            f"The rollout is {rollout.state.replace('_', ' ')} now: that can't be done any more.",
            hint="Go back to its page, which has the acts that are left.",
            code="rollout_state",
        )
    standings = catalog.standings(rollout.rollout_id)
    title = visible(rollout.name)
    if name == "refuse":
        return Question(
            title=f"Send {title} back",
            button="Send it back",
            says=("It becomes a draft again, with your reason for whoever made it. Nobody is updated.",),
        )
    if name == "abort":
        count = rollout_acts.open_count(standings)
        return Question(
            title=f"Abort {title}",
            button=f"Abort: {plural(count, 'device')}",
            says=(
                f"{plural(count, 'device is', 'devices are')} not done. Those that have not begun to install are let off and"
                " stay as they are; those that have finish. This rollout can't be resumed.",
            ),
            count=count,
            confirmation=f"{_TYPED[name]} {count}",
        )
    from_wave = rollout.wave if _wave(wave) is None else int(wave)
    count = rollout_acts.back_count(standings, from_wave)
    whom = "of all waves" if from_wave == 0 else f"of wave {from_wave + 1} and later ones"
    last = max((each.wave for each in standings), default=0)
    return Question(
        title=f"Roll {title} back",
        button=f"Roll back: {plural(count, 'device')}",
        says=(
            f"{plural(count, 'device')} {whom} that {'has' if count == 1 else 'have'} the new version, try it or install it:"
            " they go back to the version that they had before, as soon as they can be reached. Nobody else is updated.",
        ),
        count=count,
        confirmation=f"{_TYPED[name]} {count}",
        choices=tuple(
            (
                f"{'All waves' if each == 0 else f'Wave {each + 1} and later'}: {plural(rollout_acts.back_count(standings, each), 'device')}",
                str(each),
                each == from_wave,
            )
            for each in range(min(rollout.wave, last) + 1)
        ),
    )


def _wave(text: str) -> int | None:
    """A wave's number, from 0; None for the current one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None
