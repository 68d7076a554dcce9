"""The service jobs, as AWS IoT Jobs has it: natively and by the alias."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import NotFound, UsageError
from appliance.device_requests.router import Asked
from appliance.management.execution import Execution
from appliance.management.executions import State
from appliance.management.request_topics import DeviceTopic, parse
from appliance.updates.jobs import Jobs
from tests.execution_kit import OLD_DIGEST, an_execution
from tests.updates_kit import Bench, a_rollout, a_running_bench, queued


class Device:
    """Asks, natively or by the alias."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.jobs = Jobs(bench.updates, clock=bench.clock)

    async def ask(
        self, rest: str, fields: Any = None, *, is_aws: bool = False, raw: bytes | None = None
    ) -> Any:
        """Answer's payload with `is_accepted`, after a look at where it goes."""
        prefix = "$aws/things/pump-1" if is_aws else "dm/pump-1"
        topic = parse(f"{prefix}/jobs/{rest}")
        assert topic is not None
        payload = json.dumps({} if fields is None else fields).encode() if raw is None else raw
        reply = await self.jobs.handle(
            Asked(topic=topic, payload=payload, device_id="pump-1", client_id="c", address="::1")
        )
        ((answered, said),) = reply.messages
        assert answered == f"{prefix}/jobs/{rest}/{'accepted' if reply.is_accepted else 'rejected'}"
        return {"is_accepted": reply.is_accepted, **json.loads(said)}


@asynccontextmanager
async def asking(tmp_path: Path, *executions: Execution) -> AsyncIterator[Device]:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await a_rollout(bench)
        await bench.runs(OLD_DIGEST, boot="A")
        for execution in executions or (queued(bench.clock.now_ms()),):
            await bench.engine.do(lambda work, execution=execution: work.insert(execution))  # type: ignore[misc]
        yield Device(bench)


async def test_what_there_is_to_do(tmp_path: Path) -> None:
    begun = an_execution(State.DOWNLOADING, execution_id="e2", rollout_id="r2", version=4)
    async with asking(tmp_path, queued(1_700_000_000_000), begun) as device:
        answer = await device.ask("get", {"clientToken": "t"}, is_aws=True)
        assert answer["clientToken"] == "t"
        assert answer["timestamp"] == device.bench.clock.now_ms() // 1_000
        assert [each["jobId"] for each in answer["queuedJobs"]] == ["e1"]
        (summary,) = answer["inProgressJobs"]
        assert summary == {
            "jobId": "e2",
            "queuedAt": begun.created_at_ms // 1_000,
            "startedAt": begun.started_at_ms // 1_000,  # type: ignore[operator]
            "lastUpdatedAt": summary["lastUpdatedAt"],  # it asks, so it is there, which is news
            "versionNumber": 4,
            "executionNumber": 1,
        }


async def test_what_comes_next(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        answer = await device.ask("$next/get", {"clientToken": "t"})
        told = answer["execution"]
        assert (told["jobId"], told["status"], told["thingName"]) == ("e1", "QUEUED", "pump-1")
        assert told["jobDocument"]["op"] == "fw.install"
        assert answer["ts"] == device.bench.clock.now_ms()
        assert (await device.bench.get()).state is State.NOTIFIED, "it has it now"
        without = await device.ask("e1/get", {"includeJobDocument": False})
        assert "jobDocument" not in without["execution"]


async def test_nothing_to_do(tmp_path: Path) -> None:
    async with asking(tmp_path, an_execution(State.CANCELED, ended_at_ms=1)) as device:
        assert "execution" not in await device.ask("$next/get")
        assert "execution" not in await device.ask("start-next")
        empty = await device.ask("get", raw=b"")
        assert (empty["inProgressJobs"], empty["queuedJobs"]) == ([], [])


async def test_beginning(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        answer = await device.ask("start-next", {"stepTimeoutInMinutes": 60}, is_aws=True)
        assert answer["execution"]["status"] == "IN_PROGRESS"
        assert answer["execution"]["statusDetails"] == {"attempt": "1"}
        execution = await device.bench.get()
        assert execution.state is State.DOWNLOADING
        assert execution.deadline_at_ms == device.bench.clock.now_ms() + 60 * 60_000


async def test_a_report_is_accepted_with_its_new_version(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        fields = {
            "status": "IN_PROGRESS",
            "statusDetails": {"phase": "downloading", "seq": 1, "bytes": 7},
            "clientToken": "t",
        }
        native = await device.ask("e1/update", fields)
        assert native["is_accepted"]
        version = (await device.bench.get()).version
        assert native["executionState"] == {
            "status": "IN_PROGRESS",
            "statusDetails": {"attempt": 1, "phase": "downloading", "bytes": 7},
            "versionNumber": version,
        }
        again = await device.ask("e1/update", fields)
        assert again["executionState"] == native["executionState"]


async def test_by_the_alias_the_state_comes_when_it_is_asked_for(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        fields: dict[str, Any] = {"status": "IN_PROGRESS", "clientToken": "t"}
        short = await device.ask("e1/update", fields, is_aws=True)
        assert set(short) == {"is_accepted", "timestamp", "clientToken"}
        whole = await device.ask(
            "e1/update", fields | {"includeJobExecutionState": True, "includeJobDocument": True}, is_aws=True
        )
        assert whole["executionState"]["status"] == "IN_PROGRESS"
        assert whole["jobDocument"]["op"] == "fw.install"


async def test_a_stale_version_is_rejected_with_the_current_state(tmp_path: Path) -> None:
    async with asking(tmp_path, an_execution(State.DOWNLOADING, version=7)) as device:
        answer = await device.ask(
            "e1/update", {"status": "IN_PROGRESS", "expectedVersion": 6, "clientToken": "t"}, is_aws=True
        )
        assert not answer["is_accepted"]
        assert (answer["code"], answer["clientToken"]) == ("VersionMismatch", "t")
        assert answer["executionState"]["versionNumber"] == 7


async def test_what_has_ended(tmp_path: Path) -> None:
    async with asking(tmp_path, an_execution(State.CANCELED, ended_at_ms=1)) as device:
        for rest, fields in (("e1/get", {}), ("e1/update", {"status": "SUCCEEDED"})):
            answer = await device.ask(rest, fields)
            assert not answer["is_accepted"]
            assert answer["code"] == "TerminalStateReached"
            assert answer["executionState"]["status"] == "CANCELED"
        assert device.bench.engine.statistics().reports == {"late_report": 1}


async def test_another_execution_number(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        answer = await device.ask("e1/update", {"status": "IN_PROGRESS", "executionNumber": 9})
        assert answer["code"] == "ResourceNotFound"


async def test_no_such_job(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        for rest, fields in (("e9/get", {}), ("e9/update", {"status": "FAILED"})):
            with pytest.raises(NotFound):
                await device.ask(rest, fields)


@pytest.mark.parametrize("payload", [b"[]", b"{", b"1", b"\xff", b"[" * 100_000])
async def test_what_is_no_json_object(tmp_path: Path, payload: bytes) -> None:
    async with asking(tmp_path) as device:
        with pytest.raises(UsageError) as error:
            await device.ask("get", raw=payload)
        assert error.value.code == "job_request_invalid"


async def test_a_report_without_a_status(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        with pytest.raises(UsageError) as error:
            await device.ask("e1/update", {"status": "DONE"})
        assert error.value.code == "report_invalid"


async def test_half_of_a_pair_of_surrogates_is_kept_as_something_and_stops_nobody(tmp_path: Path) -> None:
    """A log that was cut within a character: JSON can say that, SQLite and UTF-8 can't."""
    begun = an_execution(State.INSTALLING)
    async with asking(tmp_path, begun) as device:
        texts = {
            "err_msg": "no space \ud83d",
            "log_tail": "\udc00 tail",
            "phase": "\ud800",
            "boot_id": "\udfff",
        }
        answer = await device.ask("e1/update", {"status": "FAILED", "statusDetails": {**texts, "err": "x"}})
        assert answer["is_accepted"]
        kept = await device.bench.updates.get("pump-1", "e1")
        assert (kept.error_text, kept.phase) == ("no space ?", "")
        assert (await device.ask("get"))["is_accepted"]


async def test_what_is_no_request_of_jobs(tmp_path: Path) -> None:
    async with asking(tmp_path) as device:
        topic = DeviceTopic("pump-1", "jobs", ("a", "b", "c"))
        with pytest.raises(UsageError):
            await device.jobs.handle(
                Asked(topic=topic, payload=b"", device_id="pump-1", client_id="c", address="")
            )
