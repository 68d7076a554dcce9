"""The update agent: takes jobs, and has them done by `installer` and `trial`. Pure, above `Flash`.

    events in    connected, disconnected, received, acknowledged, fetched    -> acts
    time in      next_deadline_ms(), on_deadline(now)                        -> acts

An agent lives from one boot to the next; the one after it begins with what is on flash, so a power cut at any point is
merely an early end. The dialogue is that of docs/DEVICE_CONTRACT.md: at every connect the agent asks for what is wanted, whatever it
was told before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from device_fw_sim import job as jobs
from device_fw_sim.acts import Act, Restart
from device_fw_sim.events import Moment
from device_fw_sim.flash import Flash, FlashError
from device_fw_sim.guard import Guard
from device_fw_sim.image import Behaviour
from device_fw_sim.installer import Installer
from device_fw_sim.job import FAILED, REJECTED, SUCCEEDED, Job, Report
from device_fw_sim.limits import ASK_AGAIN_DOUBLINGS_MAX, ASK_AGAIN_MS, REQUEST_TIMEOUT_MS
from device_fw_sim.phases import SLOT_UNTOUCHED, Phase
from device_fw_sim.slots import Slots
from device_fw_sim.trial import Trial
from device_fw_sim.work import AgentOptions, Work

_QUEUED: Final = "QUEUED"
_IN_PROGRESS: Final = "IN_PROGRESS"
_OVER: Final = frozenset({"ResourceNotFound", "TerminalStateReached"})
"""Rejections that say: the box has no interest in this job any more."""


class Agent:
    """The agent of one boot.

    Args:
        flash: Of the device.
        slots: Booted.
        options: How.
        boot_id: Of this boot.
        now: The end of the boot.
    """

    def __init__(
        self, flash: Flash, slots: Slots, options: AgentOptions, *, boot_id: str, now: Moment
    ) -> None:
        self._work = Work(flash, slots, options, boot_id=boot_id, now=now)
        self._installer, self._trial = Installer(self._work), Trial(self._work)
        self._ask_at: int | None = None
        self._regress_at: int | None = None
        self._ended: tuple[str, int] = ("", 0)
        """The job that ended last, and how often it was offered again since."""
        self._watch_for_regress()
        found = jobs.load(flash)
        if found is not None:
            self._work.begin(found)
            self._guarded(lambda: self._resume(found))

    @property
    def job(self) -> Job | None:
        """The job under way."""
        return self._work.job

    @property
    def guard(self) -> Guard:
        """What the device remembers for ever."""
        return self._work.guard

    # --- Verbs -----------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """Monotonic ms when `on_deadline` wants to be called, None when only events matter."""
        deadlines = (self._work.next_deadline_ms(), self._ask_at, self._regress_at)
        return min((each for each in deadlines if each is not None), default=None)

    def on_deadline(self, now: Moment) -> list[Act]:
        """Do what is due."""
        work = self._work
        work.now = now
        for step in work.due():
            self._guarded(step)
        if self._ask_at is not None and self._ask_at <= now.mono_ms:
            self._ask()
        if self._regress_at is not None and self._regress_at <= now.mono_ms:
            self._regress_at = None
            work.slots.go_back()
            work.acts.append(Restart(reason="crash"))
        return work.drain()

    def connected(self, now: Moment) -> list[Act]:
        """The status is on its way; ask for what is wanted of this device."""
        self._work.now, self._work.is_connected = now, True
        self._ask()
        self._trial.connected()
        return self._work.drain()

    def disconnected(self, now: Moment) -> list[Act]:
        """There is no connection any more."""
        work = self._work
        work.now, work.is_connected, self._ask_at = now, False, None
        work.cancel("test")
        self._installer.disconnected()
        if work.reporter is not None:
            work.reporter.again()
        return work.drain()

    def acknowledged(self, count: int, now: Moment) -> list[Act]:
        """So many more readings of this boot are on the box's disk."""
        self._work.now = now
        self._guarded(lambda: self._trial.acknowledged(count))
        self._watch_for_regress()
        return self._work.drain()

    def received(self, topic: str, payload: bytes, now: Moment) -> list[Act]:
        """A message below `dm/{device}/`; one that isn't for the agent changes nothing."""
        self._work.now = now
        match topic.split("/"):
            case ["streams", stream, kind, _]:
                self._guarded(lambda: self._installer.stream_answered(stream, kind, payload))
            case ["jobs", *rest]:
                message = _json(payload)
                if message is not None:
                    self._guarded(lambda: self._jobs(rest, message))
            case _:
                pass
        return self._work.drain()

    def fetched(self, data: bytes, now: Moment) -> list[Act]:
        """The next bytes over HTTPS; b"" says that no more come of this answer."""
        self._work.now = now
        self._guarded(lambda: self._installer.fetched(data))
        return self._work.drain()

    # --- The dialogue ----------------------------------------------------------------------------------

    def _ask(self) -> None:
        """What is wanted of this device? Asked until it is answered."""
        work = self._work
        self._ask_at = None
        if work.is_connected:
            work.send("jobs/$next/get", {"clientToken": work.boot_id})
            self._ask_at = work.now.mono_ms + REQUEST_TIMEOUT_MS

    def _jobs(self, rest: list[str], message: Mapping[str, Any]) -> None:
        job, reporter = self._work.job, self._work.reporter
        match rest:
            case ["notify-next"]:
                execution = message.get("execution")
                if not self._has_just_ended(execution):
                    self._consider(execution)
            case ["$next", "get", "accepted"] | ["start-next", "accepted"]:
                self._ask_at = None
                self._consider(message.get("execution"))
            case [job_id, "update", outcome] if job is not None and reporter is not None and job_id == job.id:
                settled = reporter.answered(message, is_accepted=outcome == "accepted")
                if settled is not None:
                    self._settled(job, settled, is_accepted=outcome == "accepted", code=message.get("code"))
            case _:
                pass

    def _consider(self, execution: Any) -> None:
        """The box says what is wanted; nothing wanted takes a job back whose slot is untouched."""
        work, job = self._work, self._work.job
        if not isinstance(execution, dict) or not isinstance(execution.get("jobId"), str):
            if job is not None and job.phase in SLOT_UNTOUCHED:
                work.drop()
            return
        document, version, status = (
            execution.get("jobDocument"),
            execution.get("versionNumber"),
            execution.get("status"),
        )
        if not isinstance(document, dict) or not isinstance(version, int):
            return
        if job is not None and job.id == execution["jobId"] and _is_same(job.document, document):
            self._go_on(job, version)
        elif job is not None and job.phase not in SLOT_UNTOUCHED and document.get("op") != "fw.rollback":
            pass  # It is brought to an end first; then the agent asks again.
        elif status == _QUEUED:
            work.send("jobs/start-next", {"clientToken": work.boot_id, "statusDetails": work.running()})
            self._ask_at = work.now.mono_ms + REQUEST_TIMEOUT_MS
        elif status == _IN_PROGRESS:
            self._take(execution, document, version)

    def _go_on(self, job: Job, version: int) -> None:
        work = self._work
        if job.version != version:
            job.version = version
            jobs.save(work.flash, job)
        if job.phase is Phase.WAITING:
            work.after(0, "ask", self._installer.ask_to_install)
        elif job.phase is Phase.DOWNLOADING:
            self._installer.go_on()

    def _take(self, execution: Mapping[str, Any], document: dict[str, Any], version: int) -> None:
        work = self._work
        number = execution.get("executionNumber")
        attempt = document.get("attempt", number)
        job = Job(
            id=execution["jobId"],
            number=number if isinstance(number, int) else 1,
            version=version,
            document=document,
            phase=Phase.ROLLING_BACK if document.get("op") == "fw.rollback" else Phase.DOWNLOADING,
            attempt=attempt if isinstance(attempt, int) else 1,
            seq=jobs.last_seq(work.flash),
        )
        work.begin(job)
        if not work.guard.obeys(document.get("fence")):
            work.end(REJECTED, "refused", err="fence", err_msg="a newer node has given orders already")
        elif job.op == "fw.rollback":
            self._trial.roll_back(job)
        elif job.op == "fw.install" and _is_artifact(document.get("artifact")):
            self._install(job)
        else:
            work.end(
                REJECTED, "refused", err="bad_document", err_msg="no op or artifact that this device knows"
            )

    def _install(self, job: Job) -> None:
        slots = self._work.slots
        if job.document["artifact"]["sha256"] == slots.sha256:
            if slots.is_confirmed:
                self._work.end(SUCCEEDED, "noop")
            else:
                job.phase = Phase.REBOOTING
                self._trial.begin(job)
        elif slots.is_confirmed:
            self._installer.start(job)
        else:
            self._work.end(FAILED, "downloading", err="unconfirmed", err_msg="what runs is on trial itself")

    def _settled(self, job: Job, report: Report, *, is_accepted: bool, code: Any) -> None:
        """The box has answered a report."""
        if job.final is not None:
            # Accepted, or of no interest to the box: either way there is nothing left to say.
            if report.seq == job.seq:
                self._drop()
        elif not is_accepted and code in _OVER:
            if job.phase in SLOT_UNTOUCHED:
                self._drop()
        elif report.is_gate:
            part = self._trial if job.phase is Phase.ROLLING_BACK else self._installer
            if is_accepted:
                part.allowed(job)
            else:
                part.refused(job)

    def _has_just_ended(self, execution: Any) -> bool:
        """Whether it is the job that was offered again before already, and will be asked for in its time."""
        job_id, count = self._ended
        is_it = isinstance(execution, dict) and execution.get("jobId") == job_id
        return is_it and count > 1 and self._ask_at is not None and self._work.job is None

    def _drop(self) -> None:
        """The job is over; is there another one? One that comes again and again is asked for ever less often."""
        job = self._work.job
        assert job is not None
        count = self._ended[1] + 1 if self._ended[0] == job.id else 0
        self._ended = (job.id, count)
        self._work.drop()
        self._ask_at = self._work.now.mono_ms + (ASK_AGAIN_MS << min(count, ASK_AGAIN_DOUBLINGS_MAX))

    # --- Boots -----------------------------------------------------------------------------------------

    def _resume(self, job: Job) -> None:
        work = self._work
        if job.final is not None:
            final = dict(job.final)
            work.report(final.pop("phase"), status=final.pop("status"), **final)
        elif not self._trial.resume(job):
            job.phase = Phase.DOWNLOADING
            self._installer.start(job)

    def _watch_for_regress(self) -> None:
        slots = self._work.slots
        if (
            slots.header.behaviour is Behaviour.REGRESS
            and slots.is_confirmed
            and slots.other_sha256 is not None
            and self._regress_at is None
        ):
            self._regress_at = self._work.now.mono_ms + slots.header.after_s * 1_000

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take a step; a flash that doesn't take a write fails the job, not the device."""
        try:
            step()
        except FlashError as error:
            job = self._work.job
            if job is not None and job.final is None:
                self._work.end(FAILED, job.phase.value, err=error.code, err_msg=error.message)


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two documents of a job want the same thing; a new attempt at going back is another thing."""
    return (one.get("op"), one.get("attempt"), one.get("to_sha256")) == (
        other.get("op"),
        other.get("attempt"),
        other.get("to_sha256"),
    )


def _is_artifact(artifact: Any) -> bool:
    return (
        isinstance(artifact, dict)
        and isinstance(artifact.get("sha256"), str)
        and isinstance(artifact.get("size"), int)
        and (isinstance(artifact.get("stream"), str) or isinstance(artifact.get("url"), str))
    )


def _json(payload: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(payload)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
