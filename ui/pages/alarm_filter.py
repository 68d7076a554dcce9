"""Which alarms a page shows, as it stands in the page's address. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from appliance.management.alarms import ACTIVE, UNACKNOWLEDGED, AlarmState
from appliance.management.permissions import Scope
from appliance.management.rule import SEVERITIES, Severity
from storage.catalog.alarm_lists import AlarmFilter

URL: Final = "/alarms"
HISTORY: Final = "history"
STATES: Final[dict[str, str]] = {
    "": "Open",
    "unacknowledged": "Not acknowledged",
    "active": "Active",
    "cleared": "Over, not acknowledged",
    "shelved": "Shelved",
    "suppressed": "Suppressed",
    HISTORY: "History",
}
"""What can be shown, in the order of the links."""
RANGE_DEFAULT: Final = "-24h"
_WORDS: Final = {"severity": "severity", "device": "device", "group": "group", "tag": "tag", "rule": "rule"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the address says; "" for any. `from_` and `to` are of the history."""

    state: str = ""
    severity: str = ""
    device: str = ""
    group: str = ""
    tag: str = ""
    rule: str = ""
    from_: str = ""
    to: str = ""

    @classmethod
    def of(cls, query: QueryParams) -> Filter:
        """What is not known is left out."""

        def one(name: str, length_max: int = 128) -> str:
            return query.get(name, "").strip()[:length_max]

        state, severity = one("state"), one("severity")
        return cls(
            state=state if state in STATES else "",
            severity=severity if severity in SEVERITIES else "",
            device=one("device"),
            group=one("group"),
            tag=one("tag"),
            rule=one("rule"),
            from_=one("from", 40) if state == HISTORY else "",
            to=one("to", 40) if state == HISTORY else "",
        )

    def _narrowing(self) -> list[tuple[str, str]]:
        return [(name, value) for name in _WORDS if (value := getattr(self, name))]

    @property
    def narrows(self) -> bool:
        return bool(self._narrowing())

    @property
    def words(self) -> str:
        """By what it narrows, such as "severity P1, group hall-2"."""
        return ", ".join(f"{_WORDS[name]} {value}" for name, value in self._narrowing())

    @property
    def all_url(self) -> str:
        """The same without narrowing."""
        return Filter(state=self.state, from_=self.from_, to=self.to).url()

    def query(self, **more: str) -> str:
        """As it stands in an address, without the question mark."""
        pairs = [("state", self.state), *self._narrowing(), ("from", self.from_), ("to", self.to)]
        return urlencode([(name, value) for name, value in (*pairs, *more.items()) if value])

    def url(self, **more: str) -> str:
        query = self.query(**more)
        return URL + (f"?{query}" if query else "")

    def in_state(self, state: str) -> Filter:
        """The same of other alarms."""
        return replace(self, state=state, from_="", to="")

    def narrowed(self, scope: Scope) -> AlarmFilter:
        """What the catalog is asked, but for the state."""
        chosen: AlarmFilter = {
            "device_id": self.device,
            "group_id": self.group,
            "tag": self.tag,
            "rule_id": self.rule,
            "scope": scope,
        }
        if self.severity:
            severity: Severity = next(each for each in SEVERITIES if each == self.severity)
            chosen["severities"] = (severity,)
        return chosen

    def chosen(self, scope: Scope) -> AlarmFilter:
        """What the catalog is asked for one state."""
        found = self.narrowed(scope)
        match self.state:
            case "unacknowledged":
                found |= {"states": sorted(UNACKNOWLEDGED), "is_set_aside": False}
            case "active":
                found |= {"states": sorted(ACTIVE)}
            case "cleared":
                found |= {"states": (AlarmState.CLEARED_UNACKNOWLEDGED,), "is_set_aside": False}
            case "shelved" | "suppressed" as aside:
                found |= {"aside": aside}
            case _:
                found |= {"states": [state for state in AlarmState if state is not AlarmState.NORMAL]}
        return found
