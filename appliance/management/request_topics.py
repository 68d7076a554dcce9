"""Topics of requests: what is published there is for Homeport alone, which answers whoever asked. Pure.

A request is handled and not fanned out, and never reaches the log: it may hold secrets. Its answers go straight to the session that
asked, whether or not it subscribed to them. So nobody else can publish to these topics, and a subscription to the answers of another
opens nothing.

    dm/provision/{template}/request                           a device wants its identity (docs/ENROLMENT.md)
    dm/{device}/shadow/[name/{n}/]{get|update|delete}         its twin
    dm/{device}/jobs/{get|start-next}, jobs/{id|$next}/{get|update}   its jobs
    dm/{device}/streams/{sid}/{describe|get}/{json|cbor}      blocks of a file
    dm/{device}/cmd/{rid}/resp                                the outcome of a command

`$aws/things/{device}/` stands for `dm/{device}/` in all of them but cmd. A device asks below its own id only (management/access.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

PROVISION: Final = "provision"
"""The level below `dm` that is for enrolling, and the user name of who has no id yet: no device is called so."""
SITE: Final = "site"
"""The level below `dm` of what a site says to all of its devices: no device is called so."""
Service = Literal["shadow", "jobs", "streams", "cmd"]
SERVICES: Final[tuple[Service, ...]] = ("shadow", "jobs", "streams", "cmd")
"""The levels below a device's id that are requests, their answers and what is pushed to the device."""
NATIVE: Final = "dm"
AWS: Final = "$aws"
THINGS: Final = "things"
AWS_SERVICES: Final = ("shadow", "jobs", "streams")
REQUEST: Final = "request"
ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
TEMPLATE_LENGTH_MAX: Final = 64
NAME_LENGTH_MAX: Final = 64
"""Of a twin's name, a job's id and a command's request id; a stream's id may be twice as long."""
JSON: Final = "json"
CBOR: Final = "cbor"

_NAME: Final = re.compile(r"[$A-Za-z0-9:_-]{1,64}")
_ID: Final = re.compile(r"[A-Za-z0-9:_-]{1,64}")
_STREAM_ID: Final = re.compile(r"[A-Za-z0-9:_-]{1,128}")
_SHADOW_ACTS: Final = frozenset({"get", "update", "delete"})
_JOBS_ACTS: Final = frozenset({"get", "start-next"})
_JOB_ACTS: Final = frozenset({"get", "update"})
_STREAM_ACTS: Final = frozenset({"describe", "get"})
_ENCODINGS: Final = frozenset({JSON, CBOR})
NEXT: Final = "$next"


@dataclass(frozen=True, slots=True)
class DeviceTopic:
    """A topic that a request came by.

    Attributes:
        device_id: Whose it is; of `provision`, "".
        service: One of SERVICES, or PROVISION.
        rest: The levels behind it: ("name", "config", "get"), ("$next", "get"), ("s1", "get", "json"), ("r7", "resp"), ("default", "request").
        is_aws: It came by `$aws/things/…`, and its answers go there.
    """

    device_id: str
    service: str
    rest: tuple[str, ...]
    is_aws: bool = False

    def __str__(self) -> str:
        """The topic itself."""
        return self.answer(*self.rest)

    def answer(self, *levels: str) -> str:
        """A topic of the same device and service under the same prefix, native or alias: `answer(*rest, "accepted")`."""
        return "/".join((*self._prefix(), self.service, *levels))

    def rejected(self) -> str:
        """Where it is said that a request was refused."""
        if self.service == PROVISION:
            return self.answer(*self.rest[:-1], REJECTED)
        if self.service == "streams":
            return self.answer(self.rest[0], REJECTED, self.rest[-1])
        return self.answer(*self.rest, REJECTED)

    def _prefix(self) -> tuple[str, ...]:
        if self.service == PROVISION:
            return (NATIVE,)
        return (AWS, THINGS, self.device_id) if self.is_aws else (NATIVE, self.device_id)


def parse(topic: str) -> DeviceTopic | None:
    """What a topic name asks, and of whom; None for one that is no request."""
    levels = topic.split("/")
    is_aws = levels[0] == AWS
    if is_aws:
        if len(levels) < 5 or levels[1] != THINGS:
            return None
        device_id, service, rest = levels[2], levels[3], tuple(levels[4:])
    elif levels[0] == NATIVE and len(levels) >= 4:
        device_id, service, rest = levels[1], levels[2], tuple(levels[3:])
        if device_id == PROVISION:
            is_named = 0 < len(service) <= TEMPLATE_LENGTH_MAX
            return DeviceTopic("", PROVISION, (service, REQUEST)) if is_named and rest == (REQUEST,) else None
    else:
        return None
    known = AWS_SERVICES if is_aws else SERVICES
    if not device_id or service not in known or not _is_asked(service, rest):
        return None
    return DeviceTopic(device_id, service, rest, is_aws)


def _is_asked(service: str, rest: tuple[str, ...]) -> bool:
    """Whether the levels behind a service are a request's."""
    match service, rest:
        case "shadow", (act,):
            return act in _SHADOW_ACTS
        case "shadow", ("name", name, act):
            return act in _SHADOW_ACTS and _NAME.fullmatch(name) is not None
        case "jobs", (act,):
            return act in _JOBS_ACTS
        case "jobs", (job_id, act):
            return act in _JOB_ACTS and (job_id == NEXT or _ID.fullmatch(job_id) is not None)
        case "streams", (stream_id, act, encoding):
            return (
                act in _STREAM_ACTS and encoding in _ENCODINGS and _STREAM_ID.fullmatch(stream_id) is not None
            )
        case "cmd", (request_id, "resp"):
            return _ID.fullmatch(request_id) is not None
        case _:
            return False


def is_reserved(levels: Sequence[str]) -> bool:
    """Whether a topic is kept for requests, their answers, pushes and what the site says: nobody but Homeport says anything there."""
    first = levels[0]
    if first == NATIVE:
        return len(levels) > 1 and (
            levels[1] in (PROVISION, SITE) or (len(levels) > 2 and levels[2] in SERVICES)
        )
    return first == AWS


def is_provisioning(levels: Sequence[str]) -> bool:
    """Whether a topic, or a topic filter, is one of those of enrolling."""
    return list(levels[:2]) == [NATIVE, PROVISION]


def listens(topic_filter: str, device_id: str) -> tuple[bool, bool]:
    """Whether who subscribes with a filter may get something that is pushed to a device: natively, and by the alias.

    Answers don't count: they come without a subscription.
    """
    levels = topic_filter.split("/")
    if levels[-1] in (ACCEPTED, REJECTED):
        return False, False
    return (
        _covers(levels, (NATIVE, device_id), SERVICES),
        _covers(levels, (AWS, THINGS, device_id), AWS_SERVICES),
    )


def _covers(levels: Sequence[str], prefix: tuple[str, ...], services: Sequence[str]) -> bool:
    for position, wanted in enumerate((*prefix, None)):
        if position >= len(levels):
            return False
        level = levels[position]
        # A filter that begins with a wildcard does not match what begins with $ (MQTT 5.0 §4.7.2).
        is_wild = level in ("#", "+") and not (position == 0 and prefix[0] == AWS)
        if is_wild and level == "#":
            return True
        if not is_wild and (level != wanted if wanted is not None else level not in services):
            return False
    return len(levels) > len(prefix) + 1


def template_of(topic: str) -> str:
    """The template that a request for an identity names."""
    return topic.split("/")[2]
