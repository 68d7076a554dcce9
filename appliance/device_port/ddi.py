"""hawkBit's protocol for devices that speak it unmodified: SWUpdate, rauc-hawkbit-updater (docs/HAWKBIT.md).

    GET   /{tenant}/controller/v1/{device}                          what is due, and when to ask again
    PUT   /{tenant}/controller/v1/{device}/configData               what the device is: its version above all
    GET   /{tenant}/controller/v1/{device}/deploymentBase/{action}  what to install, and from where
    POST  …/deploymentBase/{action}/feedback                        how that goes
    GET   /{tenant}/controller/v1/{device}/cancelAction/{action}    that it is called off
    POST  …/cancelAction/{action}/feedback
    GET   /{tenant}/controller/v1/{device}/installedBase/{action}   what was installed last
    GET   /{tenant}/controller/v1/{device}/confirmationBase         that nothing has to be confirmed at the device

The tenant, which other servers tell sites apart by, is taken and ignored: there is one site. Which state offers what, and what feedback
means, is in management/ddi.py; the engine decides what becomes of it, as of any other device's reports.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from math import ceil
from typing import Any, Final, Protocol
from urllib.parse import unquote

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import Conflict, NotAuthorized, NotFound, UsageError
from appliance.core.limits import DEVICE_PORT_ADDRESS_COUNT_MAX
from appliance.core.limits_delivery import (
    DDI_ADMISSION_MS,
    DDI_BODY_BYTES_MAX,
    DDI_CANCEL_MS,
    DDI_DESCRIBE_MS,
    DDI_POLL_BUSY_S,
    DDI_POLL_QUEUED_S,
    DDI_POLL_S,
    DDI_REMEMBERED_COUNT_MAX,
    DDI_REQUESTS_PER_DEVICE_MAX,
    DDI_UPDATE_COUNT_MAX,
)
from appliance.core.token_bucket import BucketTable, Quota
from appliance.device_port.ddi_actions import (
    URGENCY,
    WAITS_FOR_ITS_VERSION,
    Action,
    action_of,
    last_installed,
    report_of,
)
from appliance.device_port.doorkeeper import Doorkeeper
from appliance.device_port.messages import Request, Response, Route, TooOften
from appliance.management.ddi import (
    Offer,
    Outcome,
    feedback_of,
    firmware_of,
    offer,
    sleep_text,
)
from appliance.management.execution_report import Report, ReportStatus
from appliance.management.executions import State
from appliance.management.firmware_report import FirmwareReport, parse_twin
from appliance.updates.signed_urls import SignedUrls
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.deliveries import ArtifactFile, DeviceUpdate, updates_of

BASE: Final = "/{tenant}/controller/v1/{device}"
ADMISSION_LOOK_S: Final = 0.1
JSON: Final = "application/json;charset=UTF-8"
_log = logs.get(__name__)


class Reports(Protocol):
    """Who takes what devices say (appliance.updates.desk.Updates)."""

    async def report(self, device_id: str, execution_id: str, report: Report) -> object: ...
    async def firmware_reported(self, report: FirmwareReport) -> None: ...
    async def next_execution(self, device_id: str) -> object: ...


class Ddi:
    """See the module's docstring. Used from one event loop.

    Args:
        window_is_open: Whether a rollout's maintenance window is open now; asked in the thread that reads.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        reports: Reports,
        doorkeeper: Doorkeeper,
        urls: SignedUrls,
        *,
        clock: Clock,
        window_is_open: Callable[[Catalog, str], bool],
    ) -> None:
        self._catalog = catalog
        self._reports = reports
        self._doorkeeper = doorkeeper
        self._urls = urls
        self._clock = clock
        self._window_is_open = window_is_open
        self._rate = BucketTable(
            Quota("ddi", DDI_REQUESTS_PER_DEVICE_MAX), count_max=DEVICE_PORT_ADDRESS_COUNT_MAX
        )
        self._done: OrderedDict[int, None] = OrderedDict()
        """Actions that need not be said again: a canceled one that was acknowledged, a way back that was installed. After a
        restart of the node they are said once more, which costs a client one more answer."""
        self._described: OrderedDict[str, int] = OrderedDict()
        """When each device last said what it is, monotonic ms."""
        self.feedbacks: Counter[str] = Counter()
        """Since the start, by outcome."""

    def routes(self) -> list[Route]:
        made = []
        for name, method, path, handler in (
            ("base", "GET", "", self._base),
            ("config_data", "PUT", "/configData", self._config_data),
            ("config_data", "POST", "/configData", self._config_data),
            ("deployment", "GET", "/deploymentBase/{action}", self._deployment),
            ("feedback", "POST", "/deploymentBase/{action}/feedback", self._feedback),
            ("cancel", "GET", "/cancelAction/{action}", self._cancel),
            ("cancel_feedback", "POST", "/cancelAction/{action}/feedback", self._cancel_feedback),
            ("installed", "GET", "/installedBase/{action}", self._installed),
            ("confirmation", "GET", "/confirmationBase", self._confirmation),
        ):
            body_bytes_max = 0 if method == "GET" else DDI_BODY_BYTES_MAX
            made.append(
                Route(
                    name=f"ddi_{name}",
                    method=method,
                    path=BASE + path,
                    handler=handler,
                    body_bytes_max=body_bytes_max,
                )
            )
        return made

    # --- What is due ---------------------------------------------------------------------------------------

    async def _base(self, request: Request) -> Response:
        device_id = await self._device(request)
        # What is known to be bad for the device has ended by that, and is not offered.
        await self._reports.next_execution(device_id)
        updates = await self._updates(device_id)
        action = self._due(updates)
        end_ms = self._clock.mono_ms() + DDI_ADMISSION_MS
        while action is None and _is_queued(updates) and self._clock.mono_ms() < end_ms:
            # That it has come may be what its rollout has waited for.
            await trio.sleep(ADMISSION_LOOK_S)
            updates = await self._updates(device_id)
            action = self._due(updates)
        here = f"{_origin(request)}{request.path}"
        links: dict[str, Any] = {}
        if self._wants_config_data(device_id, updates):
            links["configData"] = {"href": f"{here}/configData"}
        if action is not None:
            kind = "cancelAction" if action.offer is Offer.CANCEL else "deploymentBase"
            links[kind] = {"href": f"{here}/{kind}/{action.number}"}
        elif (last := last_installed(updates)) is not None:
            links["installedBase"] = {"href": f"{here}/installedBase/{last.number}"}
        is_busy = action is not None or any(each.began and each.ended_at_ms is None for each in updates)
        is_queued = _is_queued(updates)
        # Who is asked what it is looks at what is due only when it comes again.
        if is_busy or (is_queued and "configData" in links):
            seconds = DDI_POLL_BUSY_S
        else:
            seconds = DDI_POLL_QUEUED_S if is_queued else DDI_POLL_S
        return _json({"config": {"polling": {"sleep": sleep_text(seconds)}}, "_links": links})

    async def _deployment(self, request: Request) -> Response:
        device_id = await self._device(request)
        action = _find(self._offered(await self._updates(device_id)), request)
        if action.file is None:
            raise _unknown()
        if action.offer is Offer.INSTALL and action.update.state in (State.QUEUED, State.NOTIFIED):
            await self._report(
                device_id, action, Report(status=ReportStatus.IN_PROGRESS, phase="downloading")
            )
        return _json(self._document(request, device_id, action, action.file))

    async def _installed(self, request: Request) -> Response:
        device_id = await self._device(request)
        last = last_installed(await self._updates(device_id))
        found = _find([] if last is None else [last], request)
        assert found.file is not None
        return _json(self._document(request, device_id, found, found.file))

    def _document(
        self, request: Request, device_id: str, action: Action, file: ArtifactFile
    ) -> dict[str, Any]:
        how = "skip" if action.offer is Offer.SKIP else "forced"
        url = self._urls.url(device_id, file.sha256, base=_origin(request))
        artifact = {
            "filename": file.filename,
            "hashes": {"sha1": file.sha1, "sha256": file.sha256},
            "size": file.size_bytes,
            "_links": {"download": {"href": url}},
        }
        chunk = {"part": "os", "name": file.name, "version": file.version, "artifacts": [artifact]}
        return {
            "id": str(action.number),
            "deployment": {"download": how, "update": how, "chunks": [chunk]},
        }

    async def _cancel(self, request: Request) -> Response:
        action = _find(self._offered(await self._updates(await self._device(request))), request)
        if action.offer is not Offer.CANCEL:
            raise _unknown()
        return _json({"id": str(action.number), "cancelAction": {"stopId": str(action.number)}})

    async def _confirmation(self, request: Request) -> Response:
        await self._device(request)
        return _json({"autoConfirm": {"active": True}})

    # --- What a device says --------------------------------------------------------------------------------

    async def _config_data(self, request: Request) -> Response:
        device_id = await self._device(request)
        data = _body(request).get("data")
        if not isinstance(data, dict):
            raise UsageError(
                "configData has an object “data”.", hint="Send its attributes.", code="config_data_invalid"
            )
        self._described[device_id] = self._clock.mono_ms()
        self._described.move_to_end(device_id)
        if len(self._described) > DDI_REMEMBERED_COUNT_MAX:
            self._described.popitem(last=False)
        report = parse_twin(device_id, {"fw": firmware_of(data)}, self._clock.now_ms())
        if report is not None:
            await self._reports.firmware_reported(replace(report, source="hawkbit"))
        return _json({})

    async def _feedback(self, request: Request) -> Response:
        device_id = await self._device(request)
        feedback = feedback_of(_body(request))
        action = _find([action_of(each) for each in await self._updates(device_id)], request)
        self.feedbacks[feedback.outcome] += 1
        report = report_of(action, feedback)
        if report is not None:
            await self._report(device_id, action, report)
        if action.offer is Offer.ROLL_BACK and feedback.outcome not in (Outcome.WORKING, Outcome.DOWNLOADED):
            self._remember(action.number)
        return _json({})

    async def _cancel_feedback(self, request: Request) -> Response:
        device_id = await self._device(request)
        feedback = feedback_of(_body(request))
        action = _find([action_of(each) for each in await self._updates(device_id)], request)
        self.feedbacks[f"cancel_{feedback.outcome}"] += 1
        self._remember(action.number)
        return _json({})

    async def _report(self, device_id: str, action: Action, report: Report) -> None:
        try:
            await self._reports.report(device_id, action.update.execution_id, report)
        except Conflict as error:
            # The engine has noted it in the execution's history. The client can't do anything about it, and would only say it again.
            self.feedbacks["refused"] += 1
            _log.info(
                "a device's feedback moves nothing", device=device_id, code=error.code, reason=str(error)
            )

    # --- Whose, and which ----------------------------------------------------------------------------------

    async def _device(self, request: Request) -> str:
        """The device of the address, if it is the one that asks. Raises NotAuthorized, TooOften."""
        named = unquote(request.names["device"])
        proven = await self._doorkeeper.device(request, name=named)
        if proven.device_id != named:
            raise NotAuthorized(
                f"The credentials are of “{proven.device_id}”, and the address is of another device.",
                hint="Use the device's own id as the controller's id.",
                code="not_this_device",
            )
        now_ms = self._clock.mono_ms()
        bucket = self._rate.bucket(named, now_ms)
        if (wait_ms := bucket.wait_ms(now_ms)) > 0:
            raise TooOften(ceil(wait_ms / 1000))
        bucket.take()
        return named

    async def _updates(self, device_id: str) -> list[DeviceUpdate]:
        def read(catalog: Catalog) -> list[DeviceUpdate]:
            return [
                replace(each, may_install=self._window_is_open(catalog, each.rollout_id))
                for each in updates_of(catalog, device_id, DDI_UPDATE_COUNT_MAX)
            ]

        return await self._catalog.read(read, pool="pipeline")

    def _offered(self, updates: list[DeviceUpdate]) -> list[Action]:
        """What is offered now; what has begun goes before what has not, what is called off before all."""
        made = [
            replace(each, offer=self._offer(each.update))
            for each in map(action_of, updates)
            if each.number not in self._done
        ]
        made = [each for each in made if each.offer is not Offer.NOTHING]
        return sorted(made, key=lambda each: URGENCY[each.offer])

    def _due(self, updates: list[DeviceUpdate]) -> Action | None:
        offered = [
            each for each in self._offered(updates) if each.file is not None or each.offer is Offer.CANCEL
        ]
        return offered[0] if offered else None

    def _wants_config_data(self, device_id: str, updates: list[DeviceUpdate]) -> bool:
        """Whether the device is asked what it is: now and then, and whenever an update waits for what it runs.

        Not always: a client that is asked says it, and looks at what else is due only when it is not asked.
        """
        said_at_ms = self._described.get(device_id)
        if said_at_ms is None or self._clock.mono_ms() - said_at_ms >= DDI_DESCRIBE_MS:
            return True
        return any(
            each.ended_at_ms is None
            and (each.state in WAITS_FOR_ITS_VERSION or action_of(each).number in self._done)
            for each in updates
        )

    def _offer(self, update: DeviceUpdate) -> Offer:
        found = offer(
            State(update.state),
            is_admitted=update.is_admitted,
            began=update.began,
            is_open=update.ended_at_ms is None,
            may_install=update.may_install,
        )
        ended_ms = update.ended_at_ms or 0
        if found is Offer.CANCEL and self._clock.now_ms() - ended_ms > DDI_CANCEL_MS:
            return Offer.NOTHING
        return found

    def _remember(self, number: int) -> None:
        self._done[number] = None
        if len(self._done) > DDI_REMEMBERED_COUNT_MAX:
            self._done.popitem(last=False)


def _is_queued(updates: list[DeviceUpdate]) -> bool:
    """Whether the device is chosen for something that has not begun."""
    return any(each.state == State.QUEUED and each.ended_at_ms is None for each in updates)


def _find(actions: list[Action], request: Request) -> Action:
    """The action that the address names. Raises NotFound."""
    number = request.names["action"]
    found = next((each for each in actions if str(each.number) == number), None)
    if found is None:
        raise _unknown()
    return found


def _unknown() -> NotFound:
    return NotFound(
        "There is no such action for this device now.",
        hint="Ask for the controller's base; it names what is due.",
        code="action_unknown",
    )


def _origin(request: Request) -> str:
    """This port as the client has reached it."""
    return f"https://{request.headers.get('host', '')}"


def _body(request: Request) -> dict[str, Any]:
    try:
        read = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"The body is no JSON: {str(error)[:80]}.", hint="Send an object.", code="body_invalid"
        ) from error
    if not isinstance(read, dict):
        raise UsageError("The body is no JSON object.", hint="Send an object.", code="body_invalid")
    return read


def _json(document: dict[str, Any]) -> Response:
    return Response(
        status=HTTPStatus.OK,
        body=json.dumps(document, separators=(",", ":")).encode(),
        content_type=JSON,
        headers=(("cache-control", "no-store"),),
    )
