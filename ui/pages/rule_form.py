"""A rule as somebody fills it in: fields as text, what they mean as a definition, and a definition as fields. Pure.

`definition` of `of_definition` gives the same definition again. What is wrong is said by name of the field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from starlette.datastructures import FormData, QueryParams

from appliance.core.errors import UsageError
from appliance.management.rule import SEVERITIES, RuleDefinition, RuleScope, check, of_json, to_json
from ui.pages.duration_words import read_s, write_s
from ui.pages.rule_kinds import KINDS, Field, Kind

CONDITION: Final = "c."
"""Before the names of a kind's own fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleForm:
    """The fields as text.

    Attributes:
        all: "1" for every device. devices, but: Ids, one in a line. groups, tags: Those ticked.
        fields: The kind's own ones by name, as text; many: its ticked options.
    """

    kind: str
    name: str = ""
    severity: str = "P2"
    metric: str = ""
    all: str = ""
    devices: str = ""
    but: str = ""
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    on_delay: str = "0 s"
    off_delay: str = "0 s"
    text: str = ""
    runbook: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    many: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def about(self) -> Kind:
        """Raises UsageError: `rule_invalid`: there is no such kind."""
        found = KINDS.get(self.kind)
        if found is None:
            raise UsageError(
                "There is no such kind of rule.", hint="Choose one of the list.", code="rule_invalid"
            )
        return found

    def scope(self) -> RuleScope:
        """The devices as they are named."""
        if self.kind == "node":
            return RuleScope()
        return RuleScope(
            all=self.all == "1",
            devices=lines_of(self.devices),
            groups=self.groups,
            tags=self.tags,
            except_=lines_of(self.but),
        )

    def clean_name(self) -> str:
        return self.name.strip()

    def definition(self, *, name: str | None = None) -> RuleDefinition:
        """What the fields mean, checked.

        Args:
            name: To be checked in place of the form's own, where there need not be one yet.
        Raises:
            UsageError: `rule_invalid`, `duration_invalid`.
        """
        about = self.about
        condition: dict[str, Any] = {"kind": self.kind}
        for each in about.fields:
            value = self._value(each)
            if value is not None:
                condition[each.name] = value
        if self.severity not in SEVERITIES:
            raise UsageError("The severity is P1, P2 or P3.", hint="Choose one.", code="rule_invalid")
        written = {
            "severity": self.severity,
            "scope": msgspec.to_builtins(self.scope()),
            "metric": "" if about.metric == "none" else self.metric.strip(),
            "condition": condition,
            "on_delay_s": read_s(self.on_delay, name="Wait before it is raised"),
            "off_delay_s": read_s(self.off_delay, name="Wait until it is over"),
            "text": self.text.strip(),
            "runbook": self.runbook.strip(),
        }
        found = of_json(msgspec.json.encode(written))
        check(self.clean_name() if name is None else name, found)
        return found

    def _value(self, about: Field) -> Any:
        if about.kind == "many":
            return list(self.many.get(about.name, ()))
        text = self.fields.get(about.name, "").strip()
        if about.kind == "flag":
            return text == "1"
        if not text:
            if about.kind == "text" and about.is_optional:
                return ""
            if about.is_optional:
                return None
            raise _wrong(about, "is empty")
        match about.kind:
            case "duration":
                return read_s(text, name=about.label)
            case "percent":
                return round(_number(about, text) / 100, 12)
            case "whole":
                if not text.isascii() or not text.isdigit() or len(text) > 9:
                    raise _wrong(about, f"is no whole number: “{text[:40]}”")
                return int(text)
            case "number":
                return _number(about, text)
            case _:
                return text


def empty(kind: str) -> RuleForm:
    """A new form with what is usual. Raises UsageError: `rule_invalid`: there is no such kind."""
    about = RuleForm(kind=kind).about
    return RuleForm(
        kind=kind,
        severity=about.usual_severity,
        on_delay=about.usual_on_delay,
        off_delay=about.usual_off_delay,
        fields={each.name: each.usual for each in about.fields if each.kind != "many"},
    )


def of_request(form: FormData | QueryParams) -> RuleForm:
    """What came with a request, cut to what a form can hold."""

    def one(name: str, length_max: int = 1_000) -> str:
        value = form.get(name, "")
        return value[:length_max] if isinstance(value, str) else ""

    def many(name: str) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(each[:300] for each in form.getlist(name) if isinstance(each, str) and each)
        )

    kind = one("kind", 40)
    about = KINDS.get(kind)
    fields: Sequence[Field] = about.fields if about is not None else ()
    return RuleForm(
        kind=kind,
        name=one("name", 200),
        severity=one("severity", 10),
        metric=one("metric", 300),
        all=one("all", 1),
        devices=one("devices", 150_000),
        but=one("but", 150_000),
        groups=many("groups"),
        tags=many("tags"),
        on_delay=one("on_delay", 40),
        off_delay=one("off_delay", 40),
        text=one("text", 2_000),
        runbook=one("runbook", 2_000),
        fields={each.name: one(CONDITION + each.name, 300) for each in fields if each.kind != "many"},
        many={each.name: many(CONDITION + each.name) for each in fields if each.kind == "many"},
    )


def of_definition(name: str, definition: RuleDefinition) -> RuleForm:
    """The form that says the same."""
    written = msgspec.json.decode(to_json(definition))
    condition = written["condition"]
    about = KINDS[condition["kind"]]
    scope = definition.scope
    return RuleForm(
        kind=about.key,
        name=name,
        severity=definition.severity,
        metric=definition.metric,
        all="1" if scope.all else "",
        devices="\n".join(scope.devices),
        but="\n".join(scope.except_),
        groups=scope.groups,
        tags=scope.tags,
        on_delay=write_s(definition.on_delay_s),
        off_delay=write_s(definition.off_delay_s),
        text=definition.text,
        runbook=definition.runbook,
        fields={
            each.name: _text(each, condition.get(each.name)) for each in about.fields if each.kind != "many"
        },
        many={each.name: tuple(condition.get(each.name, ())) for each in about.fields if each.kind == "many"},
    )


def _text(about: Field, value: Any) -> str:
    if value is None:
        return ""
    match about.kind:
        case "duration":
            return write_s(float(value))
        case "percent":
            return f"{float(value) * 100:.12g}"
        case "flag":
            return "1" if value else ""
        case "number":
            return repr(float(value)).removesuffix(".0")
        case _:
            return str(value)


def _number(about: Field, text: str) -> float:
    try:
        found = float(text.replace("−", "-").replace(",", "."))
    except ValueError as error:
        raise _wrong(about, f"is no number: “{text[:40]}”") from error
    if not math.isfinite(found):
        raise _wrong(about, f"is no number: “{text[:40]}”")
    return found


def _wrong(about: Field, what: str) -> UsageError:
    return UsageError(f"“{about.label}” {what}.", hint=about.remark or "Fill it in.", code="rule_invalid")


def lines_of(text: str) -> tuple[str, ...]:
    """Ids that stand one in a line, each once."""
    lines: Iterable[str] = (line.strip() for line in text.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))
