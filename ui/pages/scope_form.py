"""Which devices a rule or a maintenance is for: fields of a form, and how many devices that is now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import Response

from appliance.management.permissions import Scope
from appliance.management.rollout_plan import Targets
from appliance.management.rule import RuleScope
from storage.catalog import Catalog
from ui.pages.format import plural
from ui.pages.rule_form import lines_of
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell

_TEXT_LENGTH_MAX = 150_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeForm:
    """The fields as text: `all` is "1" for every device; devices and but are ids, one in a line."""

    all: str = ""
    devices: str = ""
    but: str = ""
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, form: FormData | QueryParams) -> ScopeForm:
        def one(name: str) -> str:
            value = form.get(name, "")
            return value[:_TEXT_LENGTH_MAX] if isinstance(value, str) else ""

        def many(name: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(each for each in form.getlist(name) if isinstance(each, str) and each))

        return cls(
            all=one("all")[:1],
            devices=one("devices"),
            but=one("but"),
            groups=many("groups"),
            tags=many("tags"),
        )

    def scope(self) -> RuleScope:
        return RuleScope(
            all=self.all == "1",
            devices=lines_of(self.devices),
            groups=self.groups,
            tags=self.tags,
            except_=lines_of(self.but),
        )


async def count(shell: Shell, request: Request) -> Response:
    """`GET /alarms/scope?all=&groups=&tags=&devices=&but=`: how many devices that is now, as a piece of the page."""
    scope = await scope_of(request)
    wanted = ScopeForm.of(request.query_params).scope()
    context = await shell.services.catalog.read(lambda catalog: counted(catalog, wanted, scope))
    html = shell.templates.render("scope_count.html", **context)
    return Response(html, media_type="text/html", headers={"cache-control": "no-store", "vary": "cookie"})


def counted(catalog: Catalog, wanted: RuleScope, scope: Scope) -> dict[str, Any]:
    """What stands below the fields: how many devices there are now, or what is missing."""
    names = bool(wanted.devices or wanted.groups or wanted.tags)
    if wanted.all and names:
        return {
            "scope_count": None,
            "scope_problem": "Either all devices, or some that are named: clear one of the two.",
        }
    if not wanted.all and not names:
        return {"scope_count": None, "scope_problem": "No device is named yet."}
    ids = _devices_of(catalog, wanted)
    missing = len(set(wanted.devices) - set(ids) - set(wanted.except_))
    found = len(ids) if scope is None else catalog.count_devices(ids=ids, scope=scope)
    problem = (
        f"{plural(found, 'device')} now; {missing} of those named are not in service." if missing else ""
    )
    return {"scope_count": found, "scope_problem": problem}


def choices(catalog: Catalog, scope: Scope) -> dict[str, Any]:
    """Groups and tags to tick."""
    return {
        "groups": catalog.list_groups(scope=scope, counted=False),
        "tags": [each.tag for each in catalog.list_tags(scope=scope)[0]],
    }


def _devices_of(catalog: Catalog, wanted: RuleScope) -> list[str]:
    """Ids of the devices in service that are meant."""
    targets = Targets(
        devices=wanted.devices,
        groups=wanted.groups,
        tags=wanted.tags,
        all=wanted.all,
        except_=wanted.except_,
    )
    return [
        each.device_id
        for each in catalog.rollout_candidates(targets)
        if each.state == "active" and each.device_id not in wanted.except_
    ]
