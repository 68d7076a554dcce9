"""What devices ask about their twins and what they are told, as JSON; the shapes are AWS IoT's Device Shadow's. Pure.

Any bytes give a `TwinChange` (or what get and delete ask) or a refusal. Beyond AWS, a refusal because of the version has the current
document beside it, so that the device need not ask for it.

Source: AWS IoT Core developer guide, "Device Shadow service documents" and "Device Shadow error messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import Conflict, HomeportError, LimitExceeded, NotFound, UsageError
from appliance.core.limits_twins import TWIN_REQUEST_BYTES_MAX, TWIN_TOKEN_BYTES_MAX
from appliance.management.twin import SectionChange, Twin, TwinChange
from appliance.management.twin_json import INTEGER_MAX, check_text, decode, encode
from appliance.management.twin_merge import metadata, without_nulls

_SECTIONS: Final = ("desired", "reported")
STATUS_OF_CODE: Final = {"twin_too_large": 413, "request_too_large": 413, "twin_count": 422}
"""Of errors whose class does not say it."""
UNAVAILABLE: Final = 500
"""As AWS IoT says it, and the broker where no node answers (request_refusals.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinAsked:
    """What get and delete say beside the topic."""

    version: int | None = None
    client_token: str | None = None


def decode_update(payload: bytes) -> TwinChange:
    """An update's payload: `{state: {desired?, reported?}, version?, clientToken?}`.

    Raises:
        UsageError: `json_invalid`, `twin_request_invalid`. LimitExceeded: `request_too_large`.
    """
    document = _object(payload)
    if "state" not in document:
        raise _invalid("the member “state” is missing")
    state = document["state"]
    if not isinstance(state, dict):
        raise _invalid("“state” is no object")
    for name in state:
        if name not in _SECTIONS:
            raise _invalid(f"“state” has an unknown member “{name[:40]}”; there are desired and reported")
    return TwinChange(
        desired=section_change(state, "desired"),
        reported=section_change(state, "reported"),
        version=_version(document),
        client_token=_token(document),
    )


def decode_asked(payload: bytes) -> TwinAsked:
    """The payload of get and delete: nothing, or `{version?, clientToken?}`.

    Raises:
        UsageError: `json_invalid`, `twin_request_invalid`. LimitExceeded: `request_too_large`.
    """
    if not payload:
        return TwinAsked()
    document = _object(payload)
    return TwinAsked(version=_version(document), client_token=_token(document))


def section_change(state: dict[str, Any], name: str) -> SectionChange | None:
    """What becomes of a section: null clears it, an object is put on top, nothing leaves it.

    Raises:
        UsageError: `twin_request_invalid`.
    """
    if name not in state:
        return None
    values = state[name]
    if values is None:
        return SectionChange(is_cleared=True)
    if not isinstance(values, dict):
        raise _invalid(
            f"“{name}” is neither an object nor null",
            hint='Send values by their names, {"rate_s": 5}; null leaves nothing of it.',
        )
    return SectionChange(values=values)


def token_of(payload: bytes) -> str | None:
    """The client token of a payload that was refused, None where none can be found: for the answer."""
    try:
        return _token(_object(payload)) if payload else None
    except HomeportError:
        return None


def document(twin: Twin) -> dict[str, Any]:
    """The state, its times and the version: what get tells, and what stands beside a version that is refused."""
    state: dict[str, Any] = {}
    times: dict[str, Any] = {}
    for name, section, at in _sections(twin):
        state[name] = section
        times[name] = metadata(section, at)
    if delta := twin.delta:
        state["delta"] = delta
    return {"state": state, "metadata": times, "version": twin.version}


def accepted_get(twin: Twin, *, now_s: int, client_token: str | None) -> bytes:
    """The answer to get."""
    return _said(document(twin), now_s, client_token)


def accepted_update(twin: Twin, change: TwinChange, *, now_s: int) -> bytes:
    """The answer to an update: what was asked, with its times, and the new version."""
    state: dict[str, Any] = {}
    times: dict[str, Any] = {}
    for name, section, at in (
        ("desired", change.desired, twin.desired_at),
        ("reported", change.reported, twin.reported_at),
    ):
        if section is not None:
            state[name] = None if section.is_cleared and not section.values else section.values
            times[name] = metadata(without_nulls(section.values), at)
    said = {"state": state, "metadata": times, "version": twin.version}
    return _said(said, now_s, change.client_token)


def accepted_delete(twin: Twin, *, now_s: int, client_token: str | None) -> bytes:
    """The answer to delete, with the version that the deletion has."""
    return _said({"version": twin.version}, now_s, client_token)


def delta_message(twin: Twin, *, now_s: int, client_token: str | None = None) -> bytes | None:
    """What the device is told is wanted of it, None when nothing is."""
    delta = twin.delta
    if not delta:
        return None
    said = {"state": delta, "metadata": metadata(delta, twin.desired_at), "version": twin.version}
    return _said(said, now_s, client_token)


def documents_message(before: Twin, after: Twin, *, now_s: int, client_token: str | None = None) -> bytes:
    """The whole twin before and after a change; null before the first."""
    previous = _plain(before) if before.is_there else None
    return _said({"previous": previous, "current": _plain(after)}, now_s, client_token)


def rejected(
    error: HomeportError, *, now_s: int, client_token: str | None, current: Twin | None = None
) -> bytes:
    """A refusal: `{code, message, timestamp, clientToken?}`, our own code as `reason`, and the current document where the version was wrong."""
    said: dict[str, Any] = {"code": status_of(error), "message": str(error), "reason": error.code}
    if current is not None:
        said |= document(current)
    return _said(said, now_s, client_token)


def status_of(error: HomeportError) -> int:
    """The number by which AWS IoT's shadows refuse such a thing."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    for kind, status in ((UsageError, 400), (NotFound, 404), (Conflict, 409), (LimitExceeded, 429)):
        if isinstance(error, kind):
            return status
    return UNAVAILABLE


def _sections(twin: Twin) -> tuple[tuple[str, dict[str, Any], dict[str, Any]], ...]:
    both = (("desired", twin.desired, twin.desired_at), ("reported", twin.reported, twin.reported_at))
    return tuple(each for each in both if each[1])


def _plain(twin: Twin) -> dict[str, Any]:
    said = document(twin)
    said["state"].pop("delta", None)
    return said


def _said(said: dict[str, Any], now_s: int, client_token: str | None) -> bytes:
    said["timestamp"] = now_s
    if client_token is not None:
        said["clientToken"] = client_token
    return encode(said)


def _object(payload: bytes) -> dict[str, Any]:
    if len(payload) > TWIN_REQUEST_BYTES_MAX:
        raise LimitExceeded(
            f"The payload has {len(payload):,} bytes; {TWIN_REQUEST_BYTES_MAX:,} are taken.",
            hint="Say only what changes.",
            code="request_too_large",
        )
    document = decode(payload)
    if not isinstance(document, dict):
        raise _invalid("it is no JSON object")
    check_text(document)
    return document


def _version(document: dict[str, Any]) -> int | None:
    version = document.get("version")
    if version is None:
        return None
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= INTEGER_MAX:
        raise _invalid("“version” is no whole number from 0 on")
    return version


def _token(document: dict[str, Any]) -> str | None:
    token = document.get("clientToken")
    if token is None:
        return None
    if not isinstance(token, str) or len(token.encode("utf-8", "replace")) > TWIN_TOKEN_BYTES_MAX:
        raise _invalid(f"“clientToken” is no text of at most {TWIN_TOKEN_BYTES_MAX} bytes")
    return token


_HINT: Final = 'Send {"state": {"reported": {…}}, "version"?: n, "clientToken"?: "…"}.'


def _invalid(why: str, *, hint: str = _HINT) -> UsageError:
    return UsageError(
        f"The request can't be used: {why}.",
        hint=hint,
        code="twin_request_invalid",
    )
