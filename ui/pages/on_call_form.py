"""An on-call list as somebody fills it in: fields as text, what they mean as a definition, and a definition as fields. Pure.

A severity's plan has the two steps that sites use: who is on call, then everybody. One that says more (made over the API) is kept as it is
until somebody says that it is to be set anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec
from starlette.datastructures import FormData

from appliance.core.errors import UsageError
from appliance.management.on_call import Digest, Member, OnCallDefinition, Plan, Step
from appliance.management.rule import SEVERITIES
from ui.pages.duration_words import read_s, write_s
from ui.pages.scope_form import ScopeForm
from ui.pages.weekly_words import read_times, write_times

EMPTY_MEMBER_COUNT: Final = 2
"""Rows for members that are not there yet."""
_MEMBER_COUNT_MAX: Final = 60
_read_plan = msgspec.json.Decoder(Plan).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanForm:
    """One severity's. `kept` is the JSON of a plan that the fields can't say, "" otherwise."""

    first: str = ""
    everybody: str = ""
    repeat: str = ""
    digest: str = ""
    kept: str = ""

    def plan(self, severity: str) -> Plan | None:
        """None for nothing. Raises UsageError: `duration_invalid`, `on_call_invalid`."""
        if self.kept:
            try:
                return _read_plan(self.kept)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise UsageError(
                    f"The plan of {severity} can't be read: {error}.",
                    hint="Open the list again.",
                    code="on_call_invalid",
                ) from error
        steps = []
        if self.first.strip():
            steps.append(Step(after_s=round(read_s(self.first, name=f"{severity}: who is on call"))))
        if self.everybody.strip():
            after_s = round(read_s(self.everybody, name=f"{severity}: everybody"))
            steps.append(Step(after_s=after_s, whom="all"))
        repeat_s = round(read_s(self.repeat, name=f"{severity}: again")) if self.repeat.strip() else None
        if not steps and not self.digest and repeat_s is None:
            return None
        return Plan(steps=tuple(steps), repeat_s=repeat_s, in_digest=self.digest == "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberForm:
    """Somebody; times one in a line."""

    name: str = ""
    targets: tuple[str, ...] = ()
    times: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCallForm:
    """The fields as text."""

    name: str = ""
    is_enabled: str = "1"
    scope: ScopeForm = field(default_factory=lambda: ScopeForm(all="1"))
    members: tuple[MemberForm, ...] = ()
    plans: dict[str, PlanForm]
    quiet: str = ""
    digest_at: str = "08:00"
    digest_days: tuple[str, ...] = ()

    def clean_name(self) -> str:
        return self.name.strip()

    @property
    def rows(self) -> tuple[MemberForm, ...]:
        """Members, and a few empty rows."""
        return (*self.members, *(MemberForm(),) * EMPTY_MEMBER_COUNT)

    def definition(self) -> OnCallDefinition:
        """What the fields mean, not yet checked as a whole. Raises UsageError."""
        plans = {severity: form.plan(severity) for severity, form in self.plans.items()}
        return OnCallDefinition(
            scope=self.scope.scope(),
            P1=plans["P1"],
            P2=plans["P2"],
            P3=plans["P3"],
            members=tuple(
                Member(
                    name=each.name.strip(),
                    targets=each.targets,
                    times=read_times(each.times, name=f"Times of {each.name.strip()}"),
                )
                for each in self.members
            ),
            quiet_hours=read_times(self.quiet, name="Quiet hours"),
            digest=Digest(at=self.digest_at.strip(), days=self.digest_days),
        )


def of_request(sent: FormData) -> OnCallForm:
    """What came; a member without a name and targets is an empty row."""

    def one(name: str, length_max: int = 2_000) -> str:
        value = sent.get(name, "")
        return value[:length_max] if isinstance(value, str) else ""

    def many(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for each in sent.getlist(name) if isinstance(each, str) and each))

    members = []
    for at in range(_MEMBER_COUNT_MAX):
        if f"m{at}.name" not in sent:
            break
        member = MemberForm(
            name=one(f"m{at}.name", 200), targets=many(f"m{at}.targets"), times=one(f"m{at}.times")
        )
        if member.name.strip() or member.targets:
            members.append(member)
    return OnCallForm(
        name=one("name", 200),
        is_enabled=one("enabled", 1),
        scope=ScopeForm.of(sent),
        members=tuple(members),
        plans={
            each: PlanForm(
                first=one(f"{each}.first", 20),
                everybody=one(f"{each}.everybody", 20),
                repeat=one(f"{each}.repeat", 20),
                digest=one(f"{each}.digest", 1),
                kept="" if one(f"{each}.anew", 1) else one(f"{each}.kept"),
            )
            for each in SEVERITIES
        },
        quiet=one("quiet"),
        digest_at=one("digest_at", 10),
        digest_days=many("digest_days"),
    )


def of_definition(name: str, definition: OnCallDefinition, *, is_enabled: bool = True) -> OnCallForm:
    """The form that says the same."""
    scope = definition.scope
    return OnCallForm(
        name=name,
        is_enabled="1" if is_enabled else "",
        scope=ScopeForm(
            all="1" if scope.all else "",
            devices="\n".join(scope.devices),
            but="\n".join(scope.except_),
            groups=scope.groups,
            tags=scope.tags,
        ),
        members=tuple(
            MemberForm(name=each.name, targets=each.targets, times=write_times(each.times))
            for each in definition.members
        ),
        plans={each: _plan_form(getattr(definition, each)) for each in SEVERITIES},
        quiet=write_times(definition.quiet_hours),
        digest_at=definition.digest.at,
        digest_days=definition.digest.days,
    )


def _plan_form(plan: Plan | None) -> PlanForm:
    if plan is None:
        return PlanForm()
    whom = [step.whom for step in plan.steps]
    repeat = write_s(plan.repeat_s) if plan.repeat_s is not None else ""
    digest = "1" if plan.in_digest else ""
    if whom not in ([], ["on_call"], ["all"], ["on_call", "all"]):
        return PlanForm(kept=msgspec.json.encode(plan).decode())
    after = {step.whom: write_s(step.after_s) for step in plan.steps}
    return PlanForm(
        first=after.get("on_call", ""), everybody=after.get("all", ""), repeat=repeat, digest=digest
    )
