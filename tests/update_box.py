"""A scripted box for tests of devices: jobs and files as docs/DEVICE_CONTRACT.md says, for one device, without a broker or a clock.

It keeps to what the device has to rely on (versions, rejections, answers straight to who asks) and notes every report. The real one is
the engine, which tests/properties and tests/integration put in its place.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from device_fw_sim import cbor
from device_fw_sim.image import Image

OPEN = ("QUEUED", "IN_PROGRESS")


@dataclass(slots=True)
class ScriptedJob:
    document: dict[str, Any]
    status: str = "QUEUED"
    version: int = 1
    number: int = 1


@dataclass(slots=True)
class UpdateBox:
    """The box as one device sees it.

    Attributes:
        images: By stream.
        refuses: Phases whose reports are rejected, with the code.
        lose_blocks: So many of the next blocks get lost.
        holds_back: Requests for blocks get no answer.
        answer_count_max: So many blocks an answer has at most; then it says of each how many come behind it.
        gets: Blocks that each request asked for, first and how many.
        reports: Every report that was accepted, in order, without repetitions of a seq.
    """

    images: dict[str, Image] = field(default_factory=dict)
    jobs: dict[str, ScriptedJob] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    lose_blocks: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list)
    block_count: int = 0
    holds_back: bool = False
    answer_count_max: int | None = None
    gets: list[tuple[int, int]] = field(default_factory=list)

    def offer(self, job_id: str, image: Image, **more: Any) -> ScriptedJob:
        """Offer an image; `more` goes into the document."""
        self.images[f"fw-{image.sha256[:32]}"] = image
        job = self.jobs[job_id] = ScriptedJob(document=install(image, **more))
        return job

    def execution(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        return {
            "jobId": job_id,
            "status": job.status,
            "versionNumber": job.version,
            "executionNumber": job.number,
            "jobDocument": job.document,
        }

    def next_execution(self) -> dict[str, Any]:
        for job_id, job in self.jobs.items():
            if job.status in OPEN:
                return {"execution": self.execution(job_id)}
        return {}

    def answer(self, suffix: str, payload: bytes) -> list[tuple[str, bytes]]:
        """What goes back for a request below `dm/{device}/`."""
        match suffix.split("/"):
            case ["jobs", "$next", "get"]:
                return [("jobs/$next/get/accepted", _json(self.next_execution()))]
            case ["jobs", "start-next"]:
                for job in self.jobs.values():
                    if job.status in OPEN:
                        job.version += job.status == "QUEUED"
                        job.status = "IN_PROGRESS"
                        break
                return [("jobs/start-next/accepted", _json(self.next_execution()))]
            case ["jobs", job_id, "update"]:
                return [self._update(job_id, json.loads(payload))]
            case ["streams", stream, "describe", form]:
                size = len(self.images[stream].data)
                return [
                    (
                        f"streams/{stream}/description/{form}",
                        _encode(form, {"s": 1, "r": [{"f": 0, "z": size}]}),
                    )
                ]
            case ["streams", stream, "get", form]:
                return list(self._blocks(stream, form, payload))
            case _:
                return []

    def _update(self, job_id: str, message: dict[str, Any]) -> tuple[str, bytes]:
        job, details = self.jobs[job_id], message["statusDetails"]
        token = {"clientToken": message["clientToken"]}
        code = self.refuses.get(details["phase"])
        if code is None and message["expectedVersion"] != job.version:
            code = "VersionMismatch"
        if code is None and job.status not in OPEN:
            code = "TerminalStateReached"
        state = {"status": job.status, "versionNumber": job.version}
        if code is not None:
            return f"jobs/{job_id}/update/rejected", _json({"code": code, "executionState": state, **token})
        if details["seq"] not in [each["seq"] for each in self.reports if each["job"] == job_id]:
            self.reports.append({"job": job_id, "status": message["status"], **details})
            job.version += 1
            job.status = message["status"]
        state = {"status": job.status, "versionNumber": job.version}
        return f"jobs/{job_id}/update/accepted", _json({"executionState": state, **token})

    def _blocks(self, stream: str, form: str, payload: bytes) -> list[tuple[str, bytes]]:
        asked = cbor.decode(payload) if form == "cbor" else json.loads(payload)
        bitmap = asked["b"] if form == "cbor" else base64.b64decode(asked["b"])
        data, length, answers = self.images[stream].data, asked["l"], list[tuple[str, bytes]]()
        missing = sum(byte.bit_count() for byte in bitmap)
        self.gets.append((asked["o"], missing))
        to_come = missing if self.answer_count_max is None else min(missing, self.answer_count_max)
        if self.holds_back:
            to_come = 0
        for bit in range(asked["n"]):
            if not to_come or not bitmap[bit // 8] >> bit % 8 & 1:
                continue
            to_come -= 1
            index = asked["o"] + bit
            piece: Any = data[index * length : (index + 1) * length]
            if self.lose_blocks:
                self.lose_blocks -= 1
                continue
            self.block_count += 1
            piece = piece if form == "cbor" else base64.b64encode(piece).decode()
            block = {"c": asked["c"], "f": 0, "l": length, "i": index, "p": piece}
            if self.answer_count_max is not None:
                block["r"] = to_come
            answers.append((f"streams/{stream}/data/{form}", _encode(form, block)))
        return answers


def install(image: Image, **more: Any) -> dict[str, Any]:
    """A document that installs an image."""
    artifact = {
        "name": "sim",
        "version": image.header.version,
        "size": len(image.data),
        "sha256": image.sha256,
        "format": "raw",
        "stream": f"fw-{image.sha256[:32]}",
        "url": f"https://127.0.0.1:8444/dl/{image.sha256}",
    }
    return {
        "op": "fw.install",
        "rollout": "r1",
        "artifact": artifact,
        "compat": {"hw": image.header.hw},
        "epoch": image.header.epoch,
        "manifest": None,
        "sig": [],
        "policy": {"confirm_s": 60, "reboot_s": 600, "max_attempts": 3, "max_rollback_attempts": 3},
        "fence": 1,
        **more,
    }


def roll_back(image: Image, attempt: int = 1, fence: int = 1) -> dict[str, Any]:
    """A document that goes back to an image."""
    return {
        "op": "fw.rollback",
        "to_version": image.header.version,
        "to_sha256": image.sha256,
        "attempt": attempt,
        "max_rollback_attempts": 3,
        "fence": fence,
    }


def _json(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


def _encode(form: str, message: dict[str, Any]) -> bytes:
    return cbor.encode(message) if form == "cbor" else _json(message)
