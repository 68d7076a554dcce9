"""What a notification says: for programs as JSON, for people as a subject and a text. Pure.

The body is made once and does not change from attempt to attempt, so its signature and its key stand for the same words. Texts in it come
from devices and people: nothing that ends a line gets into a subject.

Must not know: tables, by which way it is sent.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final, Literal

import msgspec

Event = Literal["raised", "escalated", "repeated", "cleared", "digest", "test"]
_SUBJECT_LENGTH_MAX: Final = 150
_LEADS: Final[dict[str, str]] = {
    "raised": "",
    "escalated": "Still not acknowledged: ",
    "repeated": "Still not acknowledged: ",
    "cleared": "Over: ",
}


class AlarmWords(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm as it was when people were told.

    Attributes:
        series: The metric, or what is watched.
        text: What was found, one sentence.
        what_to_do: As the rule says.
        count: How often it was raised in this episode.
        link: Its page, "" where nobody said how this box is reached.
    """

    alarm_id: str
    episode: int
    severity: str
    rule_id: str
    rule: str
    device_id: str
    device_name: str
    group_id: str
    series: str
    state: str
    value: float | None
    unit: str
    text: str
    what_to_do: str
    runbook: str
    raised_at_ms: int
    cleared_at_ms: int | None
    count: int
    link: str


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A notification.

    Attributes:
        key: The idempotency key: who gets it twice drops one.
        event: What happened; `step` says which time.
        on_call: The list by which it is told. fallback: Nobody of it was on call, so all of it are told.
        alarm: Of a digest and a try None. alarms: Of a digest; `more_count` are left out of it.
        link: The page to open.
    """

    version: int = 1
    key: str
    event: Event
    step: str
    at_ms: int
    site: str
    on_call: str = ""
    fallback: bool = False
    alarm: AlarmWords | None = None
    alarms: tuple[AlarmWords, ...] = ()
    more_count: int = 0
    link: str = ""
    trace_id: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Body).decode


def to_json(body: Body) -> str:
    return _encode(body).decode()


def of_json(text: str | bytes) -> Body:
    """A body that this program wrote. Raises msgspec.DecodeError: it did not."""
    return _decode(text)


def event_of(step: str) -> Event:
    """The event of a step's name."""
    word = step.partition("/")[0].partition(".")[0]
    for event in ("raised", "escalated", "repeated", "cleared", "digest"):
        if word == event:
            return event
    return "test"


def subject(body: Body) -> str:
    """One line, at most 150 characters."""
    if body.alarm is not None:
        words = f"[{body.alarm.severity}] {_LEADS.get(body.event, '')}{_about(body.alarm)}: {body.alarm.rule}"
    elif body.event == "digest":
        count = len(body.alarms) + body.more_count
        words = f"{count} alarm{'s' * (count != 1)} that can wait"
    else:
        words = "A try: notifications reach you"
    site = f"{body.site}: " if body.site else ""
    return _line(site + words, _SUBJECT_LENGTH_MAX)


def text(body: Body, zone: tzinfo) -> str:
    """The message for people, plain, with one link.

    Args:
        zone: The site's: times are in it.
    """
    if body.alarm is not None:
        lines = _alarm_lines(body.event, body.alarm, zone)
        if body.fallback:
            lines += ["", f"Nobody of “{_line(body.on_call)}” is on call now, so all of them are told."]
    elif body.event == "digest":
        lines = [subject(body), ""]
        for alarm in body.alarms:
            lines.append(
                f"{_time(alarm.raised_at_ms, zone)}  [{alarm.severity}] {_about(alarm)}: {_line(alarm.text or alarm.rule)}"
            )
        if body.more_count:
            lines.append(f"… and {body.more_count} more.")
    else:
        lines = ["This is a try. Alarms will reach you like this."]
    if body.link:
        lines += ["", body.link]
    return "\n".join(lines) + "\n"


def _alarm_lines(event: str, alarm: AlarmWords, zone: tzinfo) -> list[str]:
    lines = [f"[{alarm.severity}] {_LEADS.get(event, '')}{_about(alarm)}: {_line(alarm.rule)}"]
    if alarm.text:
        lines.append(_line(alarm.text))
    since = f"Since {_time(alarm.raised_at_ms, zone)}"
    if event == "cleared":
        ended = alarm.cleared_at_ms is not None and alarm.cleared_at_ms >= alarm.raised_at_ms
        until = (
            f" until {_time(alarm.cleared_at_ms, zone)}" if ended and alarm.cleared_at_ms is not None else ""
        )
        since = (
            f"It was there from {_time(alarm.raised_at_ms, zone)}{until}"
            if until
            else f"{since} it was there; it is watched no longer"
        )
    lines.append(since + "." + (f" It was raised {alarm.count} times." if alarm.count > 1 else ""))
    if alarm.what_to_do and event != "cleared":
        lines += ["", *map(_line, alarm.what_to_do.splitlines())]
    return lines


def _about(alarm: AlarmWords) -> str:
    """What it is about, in a few words."""
    whose = alarm.device_name or alarm.device_id or alarm.group_id
    return _line(" ".join(filter(None, (whose, alarm.series))) or "this box")


def _time(at_ms: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M %Z")


def _line(words: str, length_max: int = 1_000) -> str:
    """Words without what ends a line or a terminal would obey, shortened."""
    plain = "".join(sign if sign.isprintable() else " " for sign in words)
    return plain if len(plain) <= length_max else plain[: length_max - 1] + "…"
