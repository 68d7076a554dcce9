"""Making a rollout, or changing a draft, in five steps that stand in the address (rollout_form.py); the last one writes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from appliance.identity.artifact_trust import Trust, check_usable, trust_of
from appliance.management.rollout_plan import Plan
from appliance.management.targets import LEFT_OUT_WORDS
from appliance.updates import rollout_acts
from appliance.updates.rollout_acts import Author, Draft
from appliance.updates.rollout_choosing import Preview, look_ahead
from storage.catalog import Catalog
from storage.catalog.artifacts import Artifact
from storage.catalog.rollouts import ID_BYTES, Rollout, make_rollout_id
from ui import auth
from ui.pages.addresses import rollout_url
from ui.pages.format import bytes_text, plural
from ui.pages.rollout_form import CHECKS, STEPS, Wish
from ui.pages.rollout_plan_words import (
    DAY_WORDS,
    ON_STOP_WORDS,
    gate_text,
    limits_text,
    stop_text,
    targets_text,
    waves_text,
    window_text,
)
from ui.pages.rollout_views import ChosenView
from ui.pages.shell import Shell, problem_text
from ui.problem import status_of

LEFT_OUT_NAME_COUNT: Final = 50
"""Ids that are shown of those left out for one reason."""
_TITLES: Final = {
    "artifact": "What is rolled out?",
    "targets": "To which devices?",
    "waves": "In which waves?",
    "limits": "When, and how fast?",
    "review": "Is all of it right?",
}
_ACTS: Final = {"draft": "rollout.create", "submit": "rollout.submit", "start": "rollout.start"}


@dataclass(frozen=True, slots=True)
class StepView:
    key: str
    label: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactView:
    """An artifact to choose. `problem`: why no device would take it; "" when that can't be said here."""

    artifact_id: str
    title: str
    about: str
    problem: str = ""


async def show(shell: Shell, request: Request) -> Response:
    """`GET /firmware/rollouts/new?step=&…`: a step, or the first one before it in which something has to be put right.

    `?draft=ID` alone opens a draft's form.

    Raises:
        NotFound: `rollout_unknown`.
    """
    query = request.query_params
    try:
        wish = Wish.of(query)
    except UsageError as error:
        return await _page(shell, request, "targets", Wish(artifact=query.get("artifact", "")), error)
    if set(query) == {"draft"}:
        return RedirectResponse((await _of_draft(shell, wish.draft)).url("artifact"), 303)
    wanted = query.get("step", "artifact")
    step, wrong = await _reachable(shell, wish, wanted if wanted in STEPS else "artifact")
    return await _page(shell, request, step, wish, wrong)


async def devices(shell: Shell, request: Request) -> Response:
    """`GET /firmware/rollouts/new/devices?…`: how many devices the form means now, as a piece of the page."""
    try:
        chosen = await _chosen(shell, Wish.of(request.query_params))
    except UsageError as error:
        chosen = ChosenView(problem=problem_text(error))
    html = shell.templates.render("rollout_chosen.html", chosen=chosen)
    return Response(html, media_type="text/html", headers={"cache-control": "no-store", "vary": "cookie"})


async def make(shell: Shell, request: Request) -> Response:
    """`POST /firmware/rollouts/new` with the whole form and act=draft, submit or start."""
    form = await request.form(max_files=0, max_fields=PAGE_FORM_FIELD_COUNT_MAX)
    act = str(form.get("act", ""))
    wish = Wish.of(form)
    now_ms = shell.services.clock.now_ms()
    rollout_id = wish.draft or make_rollout_id(now_ms, secrets.token_bytes(ID_BYTES))
    author = Author((await auth.require(request)).user_id)

    def write(catalog: Catalog) -> Rollout:
        draft = Draft(
            name=wish.clean_name(),
            artifact_id=wish.artifact,
            targets=wish.targets(),
            plan=wish.plan(),
            policy=wish.policy(),
        )
        with catalog.transaction():
            save = rollout_acts.edit if wish.draft else rollout_acts.create
            rollout = save(catalog, rollout_id, draft, author)
            if act != "draft":
                rollout = rollout_acts.submit(catalog, rollout_id, author, now_ms)
            if act == "start":
                rollout = rollout_acts.start(catalog, rollout_id, author, now_ms)
            return rollout

    try:
        if act not in _ACTS:
            raise UsageError(
                "A rollout is saved, submitted or started.", hint="Use the buttons.", code="body_invalid"
            )
        rollout = await shell.write(request, _ACTS[act], write)
    except HomeportError as error:
        return await _page(shell, request, "review", wish, error)
    shell.updates.changed()
    return RedirectResponse(f"{rollout_url(rollout_id)}?done={rollout.state}", 303)


async def _reachable(shell: Shell, wish: Wish, wanted: str) -> tuple[str, HomeportError | None]:
    """The step that is wanted, or the first before it whose fields don't stand; and why."""
    now_ms = shell.services.clock.now_ms()
    for step in STEPS:
        if step == wanted:
            break
        try:
            if step == "artifact" and wish.artifact:
                await shell.services.catalog.read(
                    lambda catalog: check_usable(catalog, wish.artifact, now_ms=now_ms)
                )
            elif step == "artifact":
                raise UsageError("No artifact was chosen.", hint="Choose one.", code="artifact_unknown")
            elif step == "targets":
                await _look_ahead(shell, wish, Plan())
            else:
                CHECKS[step](wish)
        except HomeportError as error:
            return step, error
    return wanted, None


async def _look_ahead(shell: Shell, wish: Wish, plan: Plan) -> Preview:
    targets = wish.targets()
    return await shell.services.catalog.read(
        lambda catalog: look_ahead(catalog, wish.artifact, targets, plan)
    )


async def _chosen(shell: Shell, wish: Wish) -> ChosenView:
    """Whom it would get now; what speaks against that stands in the answer."""
    try:
        plan = wish.plan()
    except UsageError:
        plan = Plan()  # What is wrong with it is said in its own step.
    try:
        return chosen_view(await _look_ahead(shell, wish, plan))
    except HomeportError as error:
        return ChosenView(problem=problem_text(error))


def chosen_view(preview: Preview) -> ChosenView:
    """A preview as the page shows it."""
    choice = preview.choice
    return ChosenView(
        chosen=choice.to_update_count,
        already=len(choice.already),
        wave_sizes=preview.wave_sizes,
        left_out=tuple(
            (
                LEFT_OUT_WORDS[reason].rstrip("."),
                count,
                tuple(each for each, why in choice.left_out.items() if why is reason)[:LEFT_OUT_NAME_COUNT],
            )
            for reason, count in sorted(preview.left_out_counts().items())
        ),
        needs_approval=preview.needs_approval,
    )


async def _of_draft(shell: Shell, rollout_id: str) -> Wish:
    rollout = await shell.services.catalog.read(lambda catalog: catalog.get_rollout(rollout_id))
    return Wish.of_rollout(
        rollout_id=rollout.rollout_id,
        name=rollout.name,
        artifact_id=rollout.artifact_id,
        targets=rollout.targets,
        plan=rollout.plan,
        policy=rollout.policy,
    )


async def _page(
    shell: Shell, request: Request, step: str, wish: Wish, error: HomeportError | None
) -> Response:
    keys = list(STEPS)
    context: dict[str, Any] = {
        "artifact": _artifact_context,
        "targets": _targets_context,
        "waves": _plain_context,
        "limits": _plain_context,
        "review": _review_context,
    }
    return await shell.render(
        request,
        "rollout_new.html",
        status=status_of(error) if error is not None else 200,
        title=_TITLES[step],
        section="rollouts",
        problem=problem_text(error) if error is not None else "",
        step=step,
        at=keys.index(step),
        steps=[StepView(key, label, wish.url(key)) for key, (label, _) in STEPS.items()],
        wish=wish,
        hidden=wish.pairs(without=STEPS[step][1]),
        day_words=DAY_WORDS,
        on_stop_words=ON_STOP_WORDS,
        **await context[step](shell, wish),
    )


async def _plain_context(shell: Shell, wish: Wish) -> dict[str, Any]:
    return {"may_go_on": True}


async def _artifact_context(shell: Shell, wish: Wish) -> dict[str, Any]:
    now_ms = shell.services.clock.now_ms()

    def read(catalog: Catalog) -> list[ArtifactView]:
        keys, policy = catalog.artifact_key_set(), catalog.unsigned_policy()
        return [
            artifact_view(each, trust_of(each, keys, policy, now_ms=now_ms)) for each in catalog.artifacts()
        ]

    views = await shell.services.catalog.read(read)
    return {"artifacts": views, "may_go_on": any(not each.problem for each in views)}


def artifact_view(artifact: Artifact, trust: Trust) -> ArtifactView:
    """An artifact to choose."""
    fits = f"for {', '.join(artifact.hw)}" if artifact.hw else "for any hardware"
    if 0 < trust.good_count < trust.needed_count:
        signed = f"signed by {trust.good_count} of the {trust.needed_count} trusted keys that are needed"
    elif trust.good_count:
        signed = f"signed by {plural(trust.good_count, 'trusted key')}"
    else:
        signed = "signed by its maker" if artifact.is_vendor_signed else "not signed"
    refusal = trust.refusal
    return ArtifactView(
        artifact_id=artifact.artifact_id,
        title=f"{artifact.name} {artifact.version}",
        about=f"{bytes_text(artifact.size_bytes)}, {fits}, {signed}",
        problem=problem_text(refusal) if refusal is not None else "",
    )


async def _targets_context(shell: Shell, wish: Wish) -> dict[str, Any]:
    def read(catalog: Catalog) -> dict[str, Any]:
        return {
            "groups": catalog.list_groups(counted=False),
            "tags": [each.tag for each in catalog.list_tags()[0]],
        }

    return {
        **await shell.services.catalog.read(read),
        "chosen": await _chosen(shell, wish),
        "may_go_on": True,
    }


async def _review_context(shell: Shell, wish: Wish) -> dict[str, Any]:
    chosen = await _chosen(shell, wish)
    plan, policy = wish.plan(), wish.policy()
    artifact = await shell.services.catalog.read(lambda catalog: catalog.rollout_artifact(wish.artifact))
    return {
        "chosen": chosen,
        "artifact": f"{artifact.name} {artifact.version}",
        "targets": targets_text(wish.targets()),
        "waves_words": waves_text(plan.waves),
        "gate_words": gate_text(plan),
        "stop_words": stop_text(plan),
        "window_words": window_text(plan.window),
        "limit_words": limits_text(plan, policy),
        "approval_words": "A second person has to approve it before it can start."
        if chosen.needs_approval
        else "Nobody else has to approve it.",
        "may_start": not chosen.needs_approval and not chosen.problem and chosen.chosen > 0,
    }
