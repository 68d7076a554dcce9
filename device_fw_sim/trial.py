"""After a boot: the self-test, confirming, and the way back. Pure, a part of the update agent.

A device confirms an image when its self-test is good and the box has acknowledged HEALTHY_READING_COUNT readings of this boot.
What isn't confirmed within `confirm_s` is given up: the device restarts, and the bootloader starts the old image.
"""

from __future__ import annotations

from typing import Final

from device_fw_sim.acts import Restart, StatusChanged
from device_fw_sim.image import Behaviour
from device_fw_sim.job import FAILED, SUCCEEDED, Job
from device_fw_sim.limits import DEFER_MS, HEALTHY_READING_COUNT
from device_fw_sim.phases import Phase
from device_fw_sim.verify import facts_of
from device_fw_sim.work import Work

CONFIRM_S: Final = 900
"""Where the job's policy says nothing."""


class Trial:
    """An image on trial.

    Args:
        work: Of this boot.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._acknowledged_count = 0
        self._is_well: bool | None = None

    def resume(self, job: Job) -> bool:
        """What the boot has made of a job that waited for one.

        Returns:
            False when the job wasn't that far; it begins with its download again.
        """
        work = self._work
        if job.op == "fw.rollback":
            self.roll_back(job)
            return True
        if job.document["artifact"]["sha256"] == work.slots.sha256:
            # The power may have gone between arming the slot and noting that.
            job.phase = Phase.REBOOTING if job.phase is Phase.INSTALLED else job.phase
            if work.slots.is_confirmed:
                work.end(SUCCEEDED, "confirmed")
            else:
                self.begin(job)
            return True
        if job.phase in (Phase.REBOOTING, Phase.TESTING, Phase.ILL):
            why = job.reason or "boot_failed"
            work.end(FAILED, "rolled_back", err=why, err_msg="the bootloader went back to the other slot")
            return True
        return False

    # --- Testing ---------------------------------------------------------------------------------------

    def begin(self, job: Job) -> None:
        """The target runs, unconfirmed."""
        work = self._work
        work.enter(Phase.TESTING)
        work.report("testing")
        confirm_s = (job.document.get("policy") or {}).get("confirm_s") or CONFIRM_S
        work.after(int(confirm_s * 1_000), "confirm", lambda: self._give_up("confirm_timeout"))
        if work.is_connected:
            self.connected()

    def connected(self) -> None:
        """Part of the self-test is that the box can be reached."""
        job = self._work.job
        if job is not None and job.phase is Phase.TESTING and self._is_well is None:
            self._work.after(self._work.options.self_test_ms, "test", self._test)

    def acknowledged(self, count: int) -> None:
        """So many more readings of this boot are on the box's disk."""
        self._acknowledged_count += count
        self._confirm_if_well()

    def _test(self) -> None:
        work, job = self._work, self._work.job
        assert job is not None
        self._is_well = work.slots.header.behaviour is not Behaviour.BAD_SELF_TEST
        if self._is_well:
            work.report("testing", self_test="passed")
            self._confirm_if_well()
            return
        work.report(
            "testing", status=FAILED, self_test="failed", err="self_test", err_msg="a sensor does not answer"
        )
        job.reason = "self_test"
        # The box says what to do now; the confirm window is the end of waiting for it.
        work.enter(Phase.ILL)

    def _confirm_if_well(self) -> None:
        work, job = self._work, self._work.job
        if job is None or job.phase is not Phase.TESTING or not self._is_well:
            return
        if self._acknowledged_count < HEALTHY_READING_COUNT:
            return
        work.slots.confirm()
        facts = facts_of(job.document)
        artifact, counter = job.document["artifact"], facts.get("release_counter")
        # The signed epoch, not the image's own word.
        epoch = facts.get("epoch")
        work.guard.confirmed(
            epoch if isinstance(epoch, int) else 0,
            str(artifact.get("name", "")),
            counter if isinstance(counter, int) else None,
            artifact["sha256"],
        )
        work.acts.append(StatusChanged())
        work.end(SUCCEEDED, "confirmed")

    def _give_up(self, reason: str) -> None:
        work, job = self._work, self._work.job
        assert job is not None
        job.reason = job.reason or reason
        work.enter(job.phase)
        work.slots.give_up()
        work.acts.append(Restart(reason=reason))

    # --- Going back ------------------------------------------------------------------------------------

    def roll_back(self, job: Job) -> None:
        """Do what fw.rollback says, or say that it is done, or why it can't be."""
        work, wanted = self._work, job.document.get("to_sha256")
        if wanted == work.slots.sha256 and work.slots.is_confirmed:
            work.end(SUCCEEDED, "rolled_back")
        elif wanted == work.slots.other_sha256:
            work.report("rolling_back", is_gate=True)
        else:
            message = "neither slot holds the image to go back to"
            work.end(FAILED, "rolling_back", err="no_such_image", err_msg=message)

    def allowed(self, job: Job) -> None:
        """The box knows that this attempt begins."""
        assert job.phase is Phase.ROLLING_BACK
        self._work.slots.go_back()
        self._work.acts.append(Restart(reason="rollback"))

    def refused(self, job: Job) -> None:
        """The box doesn't want it now; it is asked again, unless it says something else first."""
        self._work.after(DEFER_MS, "ask", lambda: self.roll_back(job))
