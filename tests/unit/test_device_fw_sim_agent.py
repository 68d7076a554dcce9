"""An update as the device goes through it, whole: the dialogue, each kind of image, each reason to refuse, the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from device_fw_sim.events import State
from device_fw_sim.image import Behaviour
from device_fw_sim.limits import ACK_TIMEOUT_MS, STREAM_TIMEOUT_MS
from device_fw_sim.verify import Trust
from device_fw_sim.work import AgentOptions
from tests.update_box import install, roll_back
from tests.update_world import FACTORY, HARDWARE, UpdateWorld, image


def offered(behaviour: Behaviour = Behaviour.GOOD, **more: Any) -> UpdateWorld:
    world = UpdateWorld()
    world.run(3_000)
    world.box.offer("j1", image(behaviour=behaviour), **more)
    world.notify("j1")
    return world


def last(world: UpdateWorld) -> dict[str, Any]:
    return world.box.reports[-1]


WAY_THERE = ["downloading", "downloaded", "verified", "installing", "rebooting"]


def test_a_good_image_is_confirmed_and_reported() -> None:
    world = offered()
    world.run_until_settled()
    assert world.phases == [*WAY_THERE, "testing", "confirmed"]
    assert last(world)["status"] == "SUCCEEDED"
    assert world.running == {
        "version": "2.0.0", "digest": f"sha256:{image().sha256}", "slot": "B", "confirmed": True, "epoch": 1,
    }  # fmt: skip
    first = next(each for each in world.statuses if each["fw"]["slot"] == "B")
    assert first["fw"]["confirmed"] is False
    assert first["reset_reason"] == "update"
    seqs = [each["seq"] for each in world.box.reports]
    assert seqs == sorted(set(seqs))
    assert len({each["boot_id"] for each in world.box.reports}) == 2


def test_asked_for_at_connect_where_no_notification_came() -> None:
    world = UpdateWorld()
    world.box.offer("j1", image())
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"


def test_jobs_follow_each_other() -> None:
    world = offered()
    world.box.offer("j2", image("3.0.0"))
    world.run_until_settled()
    assert [each["job"] for each in world.box.reports if each["status"] == "SUCCEEDED"] == ["j1", "j2"]
    assert (world.running["version"], world.running["slot"]) == ("3.0.0", "A")


def test_the_same_digest_is_nothing_to_do() -> None:
    world = UpdateWorld()
    world.box.offer("j1", FACTORY)
    world.run_until_settled()
    assert (last(world)["status"], last(world)["phase"]) == ("SUCCEEDED", "noop")
    assert world.device.statistics().boots == 1


@pytest.mark.parametrize(
    ("behaviour", "err"), [(Behaviour.BOOT_LOOP, "boot_failed"), (Behaviour.NO_READINGS, "confirm_timeout")]
)
def test_an_image_that_is_no_good_is_left(behaviour: Behaviour, err: str) -> None:
    world = offered(behaviour)
    world.run_until_settled()
    assert (last(world)["status"], last(world)["phase"], last(world)["err"]) == ("FAILED", "rolled_back", err)
    assert (world.running["version"], world.running["confirmed"]) == ("1.0.0", True)


def test_an_image_that_hangs_is_silence_until_the_power_is_taken_away() -> None:
    world = offered(Behaviour.HANG)
    world.run(3_600_000)
    assert world.device.state is State.HUNG
    assert world.phases == WAY_THERE
    assert world.running["version"] == "1.0.0"


def test_an_ill_device_says_so_and_the_box_sends_it_back() -> None:
    world = offered(Behaviour.BAD_SELF_TEST)
    job = world.box.jobs["j1"]
    while job.status != "FAILED":
        world.run(1_000)
    assert (last(world)["phase"], last(world)["err"]) == ("testing", "self_test")
    job.status, job.document, job.version = "IN_PROGRESS", roll_back(FACTORY), job.version + 1
    world.notify("j1")
    world.run_until_settled()
    assert world.phases[-2:] == ["rolling_back", "rolled_back"]
    assert last(world)["status"] == "SUCCEEDED"
    assert world.running["version"] == "1.0.0"


def test_an_ill_device_goes_back_by_itself_when_nobody_says_anything() -> None:
    world = offered(Behaviour.BAD_SELF_TEST)
    world.run(120_000)
    assert world.running["version"] == "1.0.0"
    assert world.statuses[-1]["reset_reason"] == "confirm_timeout"


def test_a_regression_after_success() -> None:
    world = offered(Behaviour.REGRESS, policy={"confirm_s": 60})
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    world.run(120_000)
    assert world.running["version"] == "1.0.0"
    assert world.statuses[-1]["reset_reason"] == "crash"


def test_going_back_from_a_confirmed_image_and_twice_is_once() -> None:
    world = offered()
    world.run_until_settled()
    job = world.box.jobs["j1"]
    for attempt in (1, 2):
        job.status, job.document = "IN_PROGRESS", roll_back(FACTORY, attempt)
        world.notify("j1")
        world.run_until_settled()
        assert world.running["version"] == "1.0.0"
    ended = [each for each in world.box.reports if each["phase"] == "rolled_back"]
    assert [each["attempt"] for each in ended] == [1, 2]
    assert world.device.statistics().boots == 3


def test_going_back_to_what_is_not_there() -> None:
    world = UpdateWorld()
    world.box.offer("j1", image())
    world.box.jobs["j1"].document = roll_back(image("0.9.0"))
    world.run_until_settled()
    assert (last(world)["status"], last(world)["err"]) == ("FAILED", "no_such_image")


def test_a_lower_fence_is_refused_whatever_it_orders() -> None:
    world = offered(fence=7)
    world.run_until_settled()
    world.box.offer("j2", image("3.0.0"), fence=6)
    world.notify("j2")
    world.run_until_settled()
    assert (last(world)["status"], last(world)["err"]) == ("REJECTED", "fence")
    assert world.running["version"] == "2.0.0"


@pytest.mark.parametrize(
    ("more", "err"),
    [
        ({"compat": {"hw": ["other"]}}, "incompatible"),
        ({"epoch": 0}, "epoch"),
        ({"manifest": {"artifact": {"sha256": "0" * 64}}}, "wrong_manifest"),
        ({"manifest": "{"}, "bad_document"),
        ({"op": "fw.dance"}, "bad_document"),
        ({"artifact": {"sha256": 5}}, "bad_document"),
    ],
)
def test_what_is_refused_is_refused_with_its_reason(more: dict[str, Any], err: str) -> None:
    world = offered(**more)
    world.run_until_settled()
    assert (last(world)["status"], last(world)["phase"], last(world)["err"]) == ("REJECTED", "refused", err)
    assert world.running["version"] == "1.0.0"


def test_an_unsigned_image_is_refused_by_a_device_with_keys() -> None:
    trust = Trust(keys={"a": b"\0" * 32}, threshold=1)
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, trust=trust, block_bytes=1_024))
    world.box.offer("j1", image())
    world.run_until_settled()
    assert last(world)["err"] == "bad_signature"


def test_an_image_that_does_not_fit_is_refused() -> None:
    world = UpdateWorld()
    document = install(image())
    document["artifact"]["size"] = 2**40
    world.box.offer("j1", image()).document = document
    world.run_until_settled()
    assert last(world)["err"] == "too_large"


def test_nothing_is_written_before_the_box_allows_it() -> None:
    world = offered()
    world.box.refuses = {"installing": "InvalidStateTransition"}
    world.run(120_000)
    assert world.phases == WAY_THERE[:3]
    before = world.managed.slots.other_sha256
    world.box.refuses = {"rebooting": "InvalidStateTransition"}
    world.run(120_000)
    assert (before, world.managed.slots.other_sha256) == (None, image().sha256)
    assert world.device.statistics().boots == 1
    world.box.refuses = {}
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"


@pytest.mark.parametrize("code", ["TerminalStateReached", "ResourceNotFound"])
def test_a_job_that_is_taken_back_before_anything_was_written_is_dropped(code: str) -> None:
    world = offered()
    world.box.refuses = {"installing": code}
    world.box.jobs["j1"].status = "QUEUED"
    world.run(5_000)
    world.box.jobs["j1"].status = "CANCELED"
    world.run(60_000)
    assert world.managed.agent.job is None
    assert world.running["version"] == "1.0.0"


def test_a_newer_job_takes_the_place_of_one_that_only_downloads() -> None:
    world = offered()
    world.box.refuses = {"installing": "InvalidStateTransition"}
    world.run(10_000)
    del world.box.jobs["j1"]
    world.box.refuses = {}
    world.box.offer("j2", image("3.0.0"))
    world.notify("j2")
    world.run_until_settled()
    assert world.running["version"] == "3.0.0"


@pytest.mark.parametrize("is_cbor", [False, True])
def test_lost_blocks_are_asked_for_again(is_cbor: bool) -> None:
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, block_bytes=1_024, is_cbor=is_cbor))
    world.box.lose_blocks = 7
    world.box.offer("j1", image())
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert world.box.block_count == 20


def test_what_is_on_its_way_is_not_asked_for_again() -> None:
    world = offered()
    world.box.holds_back = True
    world.run(5_000)
    for _ in range(5):
        world.notify("j1")
        world.run(1_000)
    assert len(world.box.gets) == 1, "told of the job again and again"
    world.run(STREAM_TIMEOUT_MS)
    assert len(world.box.gets) == 2, "no answer for more than a minute"
    world.go_down()
    world.is_up, world.box.holds_back = True, False
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert world.box.gets == [(0, 20)] * 3, "its answer is lost with the connection"


def test_an_answer_that_says_how_much_comes_is_not_overtaken_by_the_clock() -> None:
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, block_bytes=1_024))
    world.box.answer_count_max, world.gap_ms = 7, 5_000
    world.box.offer("j1", image())
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert world.box.gets == [(0, 20), (7, 13), (14, 6)], "the rest at once behind each answer"
    assert world.box.block_count == 20


def test_a_connection_that_brings_blocks_is_not_given_up_for_want_of_an_acknowledgement() -> None:
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, block_bytes=1_024))
    world.run(3_000)
    world.box.answer_count_max, world.gap_ms = 1_000, ACK_TIMEOUT_MS - 1_000
    world.box.offer("j1", image())
    world.notify("j1")
    world.run(2_000)
    world.acknowledges = False
    world.run(4 * ACK_TIMEOUT_MS)
    assert (world.box.block_count, world.device.statistics().connects) == (20, 1)
    world.gap_ms = 0
    world.run(20 * ACK_TIMEOUT_MS)
    assert world.device.statistics().connects > 1, "nothing but blocks keeps it"


def test_windows_follow_what_the_link_takes() -> None:
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, block_bytes=1_024))
    world.box.answer_count_max = 1_000
    world.box.offer("j1", image(size_bytes=1_500_000))
    while len(world.box.gets) < 4:
        world.run(1)
    world.gap_ms = 100
    world.run_until_settled()
    counts = [count for _, count in world.box.gets]
    assert counts[:4] == [64, 128, 256, 256]
    # Asked for when the last one was quick: 26 s of 256 blocks, then 13 s of 128; 6 s of 64 are neither quick nor slow.
    assert counts[4:8] == [256, 128, 64, 64]
    assert world.running["version"] == "2.0.0"


def test_over_https() -> None:
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, block_bytes=1_024, over_https=True))
    world.box.offer("j1", image())
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert world.box.block_count == 0
    assert [each.offset for each in world.fetches] == [0]


@pytest.mark.parametrize("write", range(11, 30, 6))
def test_after_a_power_cut_the_rest_of_an_earlier_file_is_not_taken_for_this_one(write: int) -> None:
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, block_bytes=1_024, over_https=True, boot_ms=5))
    world.run(3_000)
    world.box.offer("j1", image(size_bytes=200_000))
    world.managed.flash.cut_at(write)
    world.notify("j1")
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert "err" not in last(world)
    assert len(world.fetches) == 2


def test_a_file_over_https_outlives_the_other_connection() -> None:
    world = UpdateWorld(agent=AgentOptions(hardware=HARDWARE, block_bytes=1_024, over_https=True))
    world.run(3_000)
    world.box.offer("j1", image(size_bytes=4_000_000))
    world.notify("j1")
    world.run(500)
    world.go_down()
    world.is_up = True
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert [each.offset for each in world.fetches] == [0]


def test_the_connection_goes_in_the_middle_and_the_download_goes_on() -> None:
    world = UpdateWorld()
    world.run(3_000)
    world.box.offer("j1", image(size_bytes=600_000))
    world.notify("j1")
    world.run(3)
    assert world.phases == ["downloading"]
    assert world.box.block_count < 300
    world.go_down()
    world.run(60_000)
    world.is_up = True
    world.run_until_settled()
    assert world.running["version"] == "2.0.0"
    assert world.box.block_count <= 586 + 256


def test_any_message_changes_nothing() -> None:
    world = UpdateWorld()
    world.run(3_000)
    for suffix in (
        "jobs/notify-next",
        "jobs/j9/update/accepted",
        "jobs/$next/get/accepted",
        "streams/x/data/json",
        "x",
    ):
        for message in (
            b"\xff",
            b"[]",
            b"{}",
            b'{"execution": 5}',
            json.dumps({"execution": {"jobId": "j"}}).encode(),
        ):
            world.say(suffix, message)
    world.run(30_000)
    assert world.managed.agent.job is None
    assert world.running["version"] == "1.0.0"


def test_a_job_that_comes_again_and_again_is_taken_ever_less_often() -> None:
    world = UpdateWorld()
    world.box.offer("j1", FACTORY)
    for _ in range(600):
        world.run(1_000)
        world.box.jobs["j1"].status = "IN_PROGRESS"
        world.notify("j1")
    noops = [each for each in world.box.reports if each["phase"] == "noop"]
    assert 5 <= len(noops) <= 12
