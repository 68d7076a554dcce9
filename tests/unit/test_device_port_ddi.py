"""hawkBit's addresses without sockets: what a client is offered, and what becomes of what it says."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from appliance.core.errors import Conflict, HomeportError
from appliance.core.limits_delivery import DDI_CANCEL_MS, DDI_DESCRIBE_MS, DDI_REQUESTS_PER_DEVICE_MAX
from appliance.device_port.ddi import Ddi
from appliance.device_port.doorkeeper import Doorkeeper
from appliance.device_port.messages import Request, Response, Routes, error_response
from appliance.identity.keys import new_token
from appliance.management.ddi import action_id
from appliance.management.execution_report import Report, ReportStatus
from appliance.management.firmware_report import FirmwareReport
from appliance.updates.signed_urls import SignedUrls
from storage.catalog import Catalog
from tests.acts import ACT
from tests.ca_kit import INSTALLER, Site, make_csr, site
from tests.delivery_kit import IMAGE, OLD_SHA256, SHA256, add_execution, scene, set_execution

PUMP = "/default/controller/v1/pump"
NUMBER = action_id("e-pump")


@dataclass
class NotedReports:
    reports: list[tuple[str, str, Report]] = field(default_factory=list)
    firmware: list[FirmwareReport] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refuses: bool = False

    async def report(self, device_id: str, execution_id: str, report: Report) -> None:
        self.reports.append((device_id, execution_id, report))
        if self.refuses:
            raise Conflict("Not now.", code="execution_not_now")

    async def firmware_reported(self, report: FirmwareReport) -> None:
        self.firmware.append(report)

    async def next_execution(self, device_id: str) -> None:
        self.asked.append(device_id)

    @property
    def last(self) -> Report:
        return self.reports[-1][2]


class Server:
    def __init__(self, here: Site, token: str) -> None:
        self.here = here
        self.token = token
        self.reports = NotedReports()
        self.is_open = True
        self.windows: list[str] = []
        self.urls = SignedUrls(here.keys, clock=here.clock, base="https://box")
        keeper = Doorkeeper(here.catalog, here.keys, clock=here.clock, waits=False)
        self.ddi = Ddi(
            here.catalog, self.reports, keeper, self.urls, clock=here.clock, window_is_open=self._window
        )
        self.routes = Routes(self.ddi.routes())

    def _window(self, catalog: Catalog, rollout_id: str) -> bool:
        self.windows.append(rollout_id)
        return self.is_open

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        authorization: str | None = None,
        certificate: Any = None,
    ) -> Response:
        try:
            route, names = self.routes.find(method, path)
            headers = {
                "host": "box.example:8444",
                "authorization": authorization or f"TargetToken {self.token}",
            }
            if certificate is not None:
                del headers["authorization"]
            raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
            request = Request(
                method=method, path=path, names=names, headers=headers, body=raw, certificate=certificate
            )
            return await route.handler(request)
        except HomeportError as error:
            return error_response(error)

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    async def links(self) -> dict[str, str]:
        base = await self.get(PUMP)
        return {name: urlsplit(link["href"]).path for name, link in base["_links"].items()}

    async def feedback(
        self, execution: str, finished: str = "none", *details: str, **progress: int
    ) -> Response:
        result = {"finished": finished, **({"progress": progress} if progress else {})}
        status = {"execution": execution, "result": result, "details": list(details)}
        path = next(link for name, link in (await self.links()).items() if name.endswith(("Base", "Action")))
        return await self.ask("POST", f"{path}/feedback", {"id": "1", "status": status})


@asynccontextmanager
async def server(tmp_path: Path, state: str = "notified", **fields: Any) -> AsyncIterator[Server]:
    async with site(tmp_path) as here:
        await scene(here.catalog, here.clock)
        await here.add_device("pump")
        token = new_token()
        token_hash = here.keys.token_hash(token.encode())
        await here.catalog.write(lambda catalog: catalog.set_token("pump", token_hash), by=ACT)
        await add_execution(here.catalog, "pump", state=state, ended_at_ms=fields.pop("ended_at_ms", None))
        await set_execution(here.catalog, "e-pump", **{"bytes_done": len(IMAGE), **fields})
        yield Server(here, token)


async def test_what_is_due_and_where_it_is(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        base = await box.get(PUMP)
        here = f"https://box.example:8444{PUMP}"
        assert base == {
            "config": {"polling": {"sleep": "00:00:10"}},
            "_links": {
                "configData": {"href": f"{here}/configData"},
                "deploymentBase": {"href": f"{here}/deploymentBase/{NUMBER}"},
            },
        }
        assert box.reports.asked == ["pump"]
        document = await box.get(f"{PUMP}/deploymentBase/{NUMBER}")
        assert document["id"] == str(NUMBER)
        deployment = document["deployment"]
        assert (deployment["download"], deployment["update"]) == ("forced", "forced")
        (chunk,) = deployment["chunks"]
        assert (chunk["part"], chunk["name"], chunk["version"]) == ("os", "pump", "2.0.0")
        (artifact,) = chunk["artifacts"]
        assert (artifact["filename"], artifact["size"]) == ("pump 2.0.0.bin", len(IMAGE))
        assert artifact["hashes"]["sha256"] == SHA256
        assert len(artifact["hashes"]["sha1"]) == 40
        url = urlsplit(artifact["_links"]["download"]["href"])
        assert (url.netloc, url.path) == ("box.example:8444", f"/dl/{SHA256}")
        assert box.urls.device_of(url.query, SHA256) == "pump"
        assert [(each, report.phase) for _, each, report in box.reports.reports] == [
            ("e-pump", "downloading")
        ]


async def test_nothing_is_due(tmp_path: Path) -> None:
    async with server(tmp_path, "noop", ended_at_ms=5) as box:
        base = await box.get(PUMP)
        assert base["config"]["polling"]["sleep"] == "00:05:00"
        assert set(base["_links"]) == {"configData"}
        gone = await box.ask("GET", f"{PUMP}/deploymentBase/{NUMBER}")
        assert (gone.status, dict(gone.headers)["homeport-code"]) == (404, "action_unknown")


async def test_a_device_that_has_just_come_is_let_in_at_once(tmp_path: Path) -> None:
    async with server(tmp_path, "queued", is_admitted=0) as box:
        waited = 0

        async def look(seconds: float) -> None:
            nonlocal waited
            waited += 1
            if waited == 2:
                await set_execution(box.here.catalog, "e-pump", is_admitted=1)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("appliance.device_port.ddi.trio.sleep", look)
            assert "deploymentBase" in await box.links()
        assert waited == 2


async def test_one_whose_wave_has_not_come_asks_again_in_a_minute(tmp_path: Path) -> None:
    async with server(tmp_path, "queued", is_admitted=0) as box:

        async def pass_by(seconds: float) -> None:
            box.here.clock.advance(200)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("appliance.device_port.ddi.trio.sleep", pass_by)
            base = await box.get(PUMP)
            # Who is asked what it is looks at nothing else, and comes again soon.
            assert (set(base["_links"]), base["config"]["polling"]["sleep"]) == ({"configData"}, "00:00:10")
            await box.ask("PUT", f"{PUMP}/configData", {"data": {"version": "1.0.0"}})
            base = await box.get(PUMP)
        assert (set(base["_links"]), base["config"]["polling"]["sleep"]) == (set(), "00:01:00")


async def test_outside_of_its_window_nothing_is_due(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        box.is_open = False
        assert set(await box.links()) == {"configData"}
        assert box.windows == ["r1"]


async def test_how_swupdate_installs(tmp_path: Path) -> None:
    async with server(tmp_path, "downloading") as box:
        await box.feedback("proceeding", "none", "Installing Update Chunk Artifacts.", cnt=0, of=1)
        assert (box.reports.last.status, box.reports.last.phase) == (ReportStatus.IN_PROGRESS, "")
        await box.feedback("proceeding", "none", "Installed Chunk.", cnt=1, of=1)
        assert (box.reports.last.status, box.reports.last.phase) == (ReportStatus.IN_PROGRESS, "rebooting")


async def test_it_does_not_install_again_on_every_poll(tmp_path: Path) -> None:
    async with server(tmp_path, "rebooting") as box:
        links = await box.links()
        deployment = (await box.get(links["deploymentBase"]))["deployment"]
        assert (deployment["download"], deployment["update"]) == ("skip", "skip")
        assert box.reports.reports == []
        await box.feedback("closed", "success", "Skipped Update.")
        assert box.reports.reports == []
        await box.feedback("proceeding", "none", "All Chunks Installed.", cnt=1, of=1)
        assert box.reports.last.phase == "rebooting"
        # After its restart it says how it went: by its own word the new version runs.
        await box.feedback("closed", "success", "Update Installed.")
        assert (box.reports.last.status, box.reports.last.phase) == (ReportStatus.IN_PROGRESS, "testing")


async def test_a_client_that_closes_before_it_restarts_has_installed(tmp_path: Path) -> None:
    async with server(tmp_path, "installing") as box:
        await box.feedback("closed", "success")
        assert box.reports.last.phase == "rebooting"


async def test_who_never_got_it_has_not_installed_it(tmp_path: Path) -> None:
    async with server(tmp_path, "downloading", bytes_done=0) as box:
        await box.feedback("closed", "success", "Update Installed.")
        assert (box.reports.last.status, box.reports.last.phase) == (ReportStatus.IN_PROGRESS, "")


async def test_what_failed_says_why(tmp_path: Path) -> None:
    async with server(tmp_path, "downloading") as box:
        await box.feedback("closed", "failure", "ERROR : no signature")
        last = box.reports.last
        assert (last.status, last.err, last.err_msg) == (
            ReportStatus.FAILED, "install_failed", "ERROR : no signature",
        )  # fmt: skip
        await box.feedback("rejected")
        assert box.reports.last.status is ReportStatus.REJECTED
        await box.feedback("canceled")
        assert (box.reports.last.status, box.reports.last.err) == (ReportStatus.FAILED, "canceled")
        await box.feedback("downloaded")
        assert box.reports.last.phase == "downloaded"


async def test_what_moves_nothing_is_taken_and_counted(tmp_path: Path) -> None:
    async with server(tmp_path, "downloading") as box:
        box.reports.refuses = True
        assert (await box.feedback("closed", "failure")).status == 200
        assert box.ddi.feedbacks == {"failed": 1, "refused": 1}


async def test_the_way_back_is_an_action_of_its_own(tmp_path: Path) -> None:
    async with server(tmp_path, "rollback_pending", rollback_attempt_count=1) as box:
        links = await box.links()
        assert links["deploymentBase"].endswith(f"/{action_id('e-pump', 2)}")
        document = await box.get(links["deploymentBase"])
        assert document["deployment"]["update"] == "forced"
        assert document["deployment"]["chunks"][0]["artifacts"][0]["hashes"]["sha256"] == OLD_SHA256
        await box.feedback("proceeding", "none", cnt=0, of=1)
        assert (box.reports.last.status, box.reports.last.phase) == (ReportStatus.IN_PROGRESS, "rolling_back")
        await set_execution(box.here.catalog, "e-pump", state="rolling_back", rollback_attempt_count=2)
        await box.feedback("closed", "success")
        assert (box.reports.last.status, box.reports.last.phase) == (ReportStatus.SUCCEEDED, "rolled_back")
        # Installed once, it is not offered again while the device restarts.
        assert set(await box.links()) == {"configData"}


async def test_a_way_back_that_failed(tmp_path: Path) -> None:
    async with server(tmp_path, "rolling_back", rollback_attempt_count=1) as box:
        await box.feedback("downloaded")
        assert box.reports.last.phase == "rolling_back"
        # It has yet to install it.
        assert "deploymentBase" in await box.links()
    (tmp_path / "b").mkdir()
    async with server(tmp_path / "b", "rolling_back", rollback_attempt_count=1) as box:
        await box.feedback("closed", "failure", "no space")
        last = box.reports.last
        assert (last.status, last.phase, last.err_msg) == (ReportStatus.FAILED, "rolling_back", "no space")


async def test_there_is_no_way_back_to_bytes_that_nobody_has(tmp_path: Path) -> None:
    async with server(tmp_path, "rollback_pending", from_digest="") as box:
        assert set(await box.links()) == {"configData"}
        number = action_id("e-pump", 1)
        assert (await box.ask("GET", f"{PUMP}/deploymentBase/{number}")).status == 404


async def test_what_was_called_off_is_said_once(tmp_path: Path) -> None:
    ended_at_ms = 1_795_000_000_000 - 1000
    async with server(tmp_path, "canceled", ended_at_ms=ended_at_ms, started_at_ms=1) as box:
        links = await box.links()
        assert links["cancelAction"] == f"{PUMP}/cancelAction/{NUMBER}"
        assert await box.get(links["cancelAction"]) == {
            "id": str(NUMBER), "cancelAction": {"stopId": str(NUMBER)},
        }  # fmt: skip
        assert (await box.feedback("closed", "success")).status == 200
        assert box.reports.reports == []
        assert set(await box.links()) == {"configData"}


async def test_what_was_called_off_long_ago_is_not_said(tmp_path: Path) -> None:
    ended_at_ms = 1_795_000_000_000 - DDI_CANCEL_MS - 1
    async with server(tmp_path, "canceled", ended_at_ms=ended_at_ms, started_at_ms=1) as box:
        assert set(await box.links()) == {"configData"}


async def test_what_goes_on_is_not_called_off(tmp_path: Path) -> None:
    async with server(tmp_path, "downloading") as box:
        assert (await box.ask("GET", f"{PUMP}/cancelAction/{NUMBER}")).status == 404


async def test_what_was_installed_last(tmp_path: Path) -> None:
    async with server(tmp_path, "succeeded", ended_at_ms=5) as box:
        links = await box.links()
        assert links["installedBase"] == f"{PUMP}/installedBase/{NUMBER}"
        document = await box.get(links["installedBase"])
        assert document["deployment"]["chunks"][0]["version"] == "2.0.0"
        assert (await box.ask("GET", f"{PUMP}/installedBase/5")).status == 404


async def test_what_a_device_says_of_itself(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        answer = await box.ask(
            "PUT", f"{PUMP}/configData", {"mode": "merge", "data": {"version": "2.0.0", "hw": "B"}}
        )
        assert answer.status == 200
        (report,) = box.reports.firmware
        assert (report.device_id, report.version, report.hw, report.is_confirmed, report.source) == (
            "pump", "2.0.0", "B", True, "hawkbit",
        )  # fmt: skip
        assert report.at_ms == box.here.clock.now_ms()
        await box.ask("PUT", f"{PUMP}/configData", {"data": {"colour": "red"}})
        assert len(box.reports.firmware) == 1
        bodies: list[object] = [{}, {"data": 5}, [], b"{", b"[" * 20_000]
        for body in bodies:
            assert (await box.ask("PUT", f"{PUMP}/configData", body)).status == 400, body


async def test_it_is_asked_what_it_is_now_and_then_and_when_an_update_waits_for_it(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        described = {"data": {"version": "1.0.0"}}
        assert set(await box.links()) == {"configData", "deploymentBase"}
        await box.ask("PUT", f"{PUMP}/configData", described)
        # A client that is asked looks at nothing else.
        assert set(await box.links()) == {"deploymentBase"}
        box.here.clock.advance(DDI_DESCRIBE_MS)
        assert set(await box.links()) == {"configData", "deploymentBase"}
        await box.ask("PUT", f"{PUMP}/configData", described)
        await set_execution(box.here.catalog, "e-pump", state="testing", started_at_ms=1)
        base = await box.get(PUMP)
        assert set(base["_links"]) == {"configData"}
        assert base["config"]["polling"]["sleep"] == "00:00:10"


async def test_nothing_has_to_be_confirmed_at_the_device(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        assert await box.get(f"{PUMP}/confirmationBase") == {"autoConfirm": {"active": True}}


async def test_who_may(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        await box.here.add_device("fan")
        assert (await box.ask("GET", PUMP, authorization="TargetToken hpd_wrong")).status == 401
        assert (await box.ask("GET", "/x/controller/v1/fan")).status == 401
        basic = "Basic " + b64encode(f"pump:{box.token}".encode()).decode()
        assert (await box.ask("GET", PUMP, authorization=basic)).status == 200
        other = await box.ask("GET", "/x/controller/v1/fan", authorization=basic)
        assert (other.status, dict(other.headers)["homeport-code"]) == (403, "not_this_device")
        issued = await box.here.issuing.issue(make_csr(), "fan", "est", INSTALLER)
        assert (await box.ask("GET", "/x/controller/v1/fan", certificate=issued.certificate)).status == 200


async def test_feedback_of_something_else(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        status = {"execution": "closed", "result": {"finished": "success"}}
        path = f"{PUMP}/deploymentBase/12345/feedback"
        assert (await box.ask("POST", path, {"status": status})).status == 404
        path = f"{PUMP}/deploymentBase/{NUMBER}/feedback"
        assert (await box.ask("POST", path, {"status": {}})).status == 400
        assert box.reports.reports == []


async def test_asking_too_often(tmp_path: Path) -> None:
    async with server(tmp_path) as box:
        for _ in range(DDI_REQUESTS_PER_DEVICE_MAX):
            assert (await box.ask("GET", f"{PUMP}/confirmationBase")).status == 200
        assert (await box.ask("GET", f"{PUMP}/confirmationBase")).status == 429


async def test_few_acknowledged_actions_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.device_port.ddi.DDI_REMEMBERED_COUNT_MAX", 2)
    async with server(tmp_path) as box:
        for number in range(5):
            box.ddi._remember(number)
        assert list(box.ddi._done) == [3, 4]
