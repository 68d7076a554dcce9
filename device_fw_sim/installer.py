"""From a job to an image on trial: download, verify, write the other slot, restart. Pure, a part of the update agent.

Before the other slot is touched, and again before the restart, the box is asked by a report and has to accept it.
"""

from __future__ import annotations

from collections.abc import Iterator

from device_fw_sim.acts import Fetch, Request, Restart
from device_fw_sim.download import Download
from device_fw_sim.job import FAILED, REJECTED, Job
from device_fw_sim.limits import (
    DEFER_MS,
    INSTALL_STEP_BYTES,
    INSTALL_STEP_MS,
    PROGRESS_MS,
    STREAM_GAP_MS,
    STREAM_TIMEOUT_MS,
    WINDOW_BYTES_FIRST,
    WINDOW_BYTES_MAX,
    WINDOW_QUICK_MS,
    WINDOW_SLOW_MS,
)
from device_fw_sim.phases import Phase
from device_fw_sim.verify import Checked, Refusal, verify
from device_fw_sim.work import Work


class Installer:
    """Brings one image into the other slot.

    Args:
        work: Of this boot.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._download: Download | None = None
        self._copy: Iterator[bytes] | None = None
        self._copied_bytes = 0
        self._is_awaiting = False
        """Whether something was asked for whose answer is not over."""
        self._window_bytes = WINDOW_BYTES_FIRST
        self._window_since_ms: int | None = None
        """When the first block of what was asked last came."""

    # --- Downloading -----------------------------------------------------------------------------------

    def start(self, job: Job) -> None:
        """Begin, or go on with what is on flash."""
        work, artifact = self._work, job.document["artifact"]
        try:
            download = Download(
                work.flash,
                sha256=artifact["sha256"],
                size_bytes=artifact["size"],
                block_bytes=work.options.block_bytes,
                is_cbor=work.options.is_cbor,
            )
        except ValueError as error:
            work.end(REJECTED, "refused", err="too_large", err_msg=str(error))
            return
        self._download, self._is_awaiting = download, False
        self._progress()
        if download.is_complete:
            self._complete(job, download)
        else:
            self.go_on()

    def go_on(self) -> None:
        """Ask for what is missing, unless it was asked for and is on its way: asked twice, it comes twice."""
        if not self._is_awaiting:
            self.fetch()

    def disconnected(self) -> None:
        """What was asked for over MQTT does not come any more."""
        job = self._work.job
        if job is None or not self._is_over_https(job):
            self._is_awaiting = False
            self._work.cancel("fetch")

    def fetch(self) -> None:
        """Ask for what is missing; asked again when nothing comes for long."""
        work, download, job = self._work, self._now_downloading(), self._work.job
        self._is_awaiting = False
        if download is None or job is None or not work.is_connected:
            return
        artifact = job.document["artifact"]
        if self._is_over_https(job):
            work.acts.append(Fetch(url=str(artifact["url"]), offset=download.begin()))
        elif download.is_described:
            self._window_since_ms = None
            self._ask(f"get/{download.form}", download.get(work.boot_id, self._window_bytes))
        else:
            self._ask(f"describe/{download.form}", download.describe(work.boot_id))
        self._is_awaiting = True
        work.after(STREAM_TIMEOUT_MS, "fetch", self.fetch)

    def stream_answered(self, stream: str, kind: str, payload: bytes) -> None:
        """A description, a block or a refusal of a stream. Raises FlashError."""
        work, download, job = self._work, self._now_downloading(), self._work.job
        if download is None or job is None or job.document["artifact"].get("stream") != stream:
            return
        if kind == "description" and download.described(payload):
            self.fetch()
        elif kind == "data" and download.data(payload):
            self._block_arrived(job, download)
        elif kind == "rejected":
            self._is_awaiting = False
            work.after(download.refused_for_ms(payload) or DEFER_MS, "fetch", self.fetch)

    def _block_arrived(self, job: Job, download: Download) -> None:
        """The next step after a block."""
        work = self._work
        if self._window_since_ms is None:
            self._window_since_ms = work.now.mono_ms
        if download.is_complete:
            self._complete(job, download)
        elif download.is_window_in or download.blocks_to_come == 0:
            took_ms = work.now.mono_ms - self._window_since_ms
            if took_ms > WINDOW_SLOW_MS:
                self._window_bytes = max(self._window_bytes // 2, download.block_bytes)
            elif took_ms < WINDOW_QUICK_MS:
                self._window_bytes = min(self._window_bytes * 2, WINDOW_BYTES_MAX)
            self.fetch()
        else:
            # A box that does not say how many follow sends them together: after a gap nothing more comes.
            gap_ms = STREAM_GAP_MS if download.blocks_to_come is None else STREAM_TIMEOUT_MS
            work.after(gap_ms, "fetch", self.fetch)

    def fetched(self, data: bytes) -> None:
        """The next bytes over HTTPS; b"" when no more come of this answer. Raises FlashError."""
        work, download, job = self._work, self._now_downloading(), self._work.job
        if download is None or job is None:
            return
        download.bytes_arrived(data)
        if download.is_complete:
            self._complete(job, download)
        else:
            self._is_awaiting = bool(data)
            work.after(STREAM_TIMEOUT_MS if data else STREAM_GAP_MS, "fetch", self.fetch)

    def _is_over_https(self, job: Job) -> bool:
        return self._work.options.over_https and bool(job.document.get("artifact", {}).get("url"))

    def _now_downloading(self) -> Download | None:
        job = self._work.job
        return self._download if job is not None and job.phase is Phase.DOWNLOADING else None

    def _ask(self, kind: str, payload: bytes) -> None:
        job = self._work.job
        assert job is not None
        topic = f"streams/{job.document['artifact']['stream']}/{kind}"
        # A block that gets lost is asked for again: no acknowledgement is needed.
        self._work.acts.append(Request(topic=topic, payload=payload, qos=0))

    def _progress(self) -> None:
        download = self._now_downloading()
        if download is not None:
            done = download.bytes_done
            self._work.report("downloading", pct=done * 100 // download.size_bytes, bytes=done)
            self._work.after(PROGRESS_MS, "progress", self._progress)

    # --- Verifying -------------------------------------------------------------------------------------

    def _complete(self, job: Job, download: Download) -> None:
        work = self._work
        work.cancel("fetch", "progress")
        if not download.is_right():
            download.discard()
            message = "the bytes that came are not those that were promised"
            work.end(FAILED, "downloading", err=Refusal.WRONG_DIGEST.value, err_msg=message)
            return
        work.enter(Phase.DOWNLOADED)
        work.report("downloaded", pct=100, bytes=download.size_bytes)
        guard = work.guard
        refused = verify(
            job.document,
            work.options.trust,
            Checked(
                hardware=work.options.hardware,
                version=work.slots.firmware().version,
                epoch_floor=guard.epoch_floor,
                counters=guard.counters,
                wall_ms=work.now.wall_ms,
            ),
        )
        if refused is not None:
            work.end(REJECTED, "refused", err=refused.why.value, err_msg=refused.message)
            return
        work.enter(Phase.VERIFIED)
        work.report("verified")
        self.ask_to_install()

    # --- Installing ------------------------------------------------------------------------------------

    def ask_to_install(self) -> None:
        """May the other slot be written?"""
        self._work.report("installing", is_gate=True)

    def allowed(self, job: Job) -> None:
        """The box has accepted what was asked for last. Raises FlashError."""
        work = self._work
        if job.phase in (Phase.VERIFIED, Phase.WAITING):
            work.enter(Phase.INSTALLING)
            work.slots.erase()
            self._copied_bytes, self._copy = 0, work.flash.pieces("staging")
            work.after(INSTALL_STEP_MS, "copy", self._write_slot)
        elif job.phase is Phase.INSTALLED:
            work.slots.arm()
            work.enter(Phase.REBOOTING)
            work.acts.append(Restart(reason="update"))

    def refused(self, job: Job) -> None:
        """The box doesn't want the step now: a maintenance window, a pause."""
        if job.phase in (Phase.VERIFIED, Phase.WAITING):
            self._work.enter(Phase.WAITING)
            self._work.after(DEFER_MS, "ask", self.ask_to_install)
        else:
            self._work.after(DEFER_MS, "ask", self._ask_to_restart)

    def _write_slot(self) -> None:
        work, job = self._work, self._work.job
        assert job is not None
        assert self._copy is not None
        step_bytes = 0
        for piece in self._copy:
            work.slots.copy(self._copied_bytes, piece)
            self._copied_bytes += len(piece)
            step_bytes += len(piece)
            if step_bytes >= INSTALL_STEP_BYTES:
                work.after(INSTALL_STEP_MS, "copy", self._write_slot)
                return
        self._copy = None
        if work.slots.finish(job.document["artifact"]["sha256"]) is None:
            work.end(
                FAILED,
                "installing",
                err="no_image",
                err_msg="the slot does not hold an image that starts here",
            )
            return
        work.enter(Phase.INSTALLED)
        self._ask_to_restart()

    def _ask_to_restart(self) -> None:
        self._work.report("rebooting", is_gate=True)
