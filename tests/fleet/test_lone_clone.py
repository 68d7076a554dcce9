"""A box alone with a region of a real object store: a copy of it goes on in an epoch that it claims there, and the first one waits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.fleet.rig import SiteBox, within
from tests.fleet.test_identity import problem_of
from tests.integration.test_box_restored_from_cloud import store
from tests.seaweed_kit import KEY_ID, SECRET, SeaweedFs

__all__ = ["store"]  # the fixture


def goes_on_in(box: SiteBox, epoch: int) -> bool:
    lines = [json.loads(line) for line in box.log_text().splitlines() if line.startswith("{")]
    return any(
        line.get("event") == "this box goes on in an epoch of its own" and line["epoch"] == epoch
        for line in lines
    )


@pytest.mark.long
def test_a_copy_of_a_box_alone_goes_on_and_the_first_one_waits(tmp_path: Path, store: SeaweedFs) -> None:
    secret = tmp_path / "tier.toml"
    secret.touch(mode=0o600)
    secret.write_text(f'access_key_id = "{KEY_ID}"\nsecret_access_key = "{SECRET}"\n')
    more = (
        f'[[tier_region]]\nname = "eu"\naddress = "{store.address("site")}"\ncredentials_file = "{secret}"\n'
    )
    one, clone = SiteBox(tmp_path, "one", more=more), SiteBox(tmp_path, "clone", more=more)
    one.start_and_wait()
    try:
        within(60, lambda: one.run("tier", "list", "--json").exit_code == 0, "its replicator is there")
        within(
            60, lambda: [each["lag_entries"] for each in one.answer("tier", "list")] == [0], "all is there"
        )
        one.stop()
        shutil.copytree(one.data_dir, clone.data_dir, symlinks=True)
        clone.start_and_wait()
        try:
            took_s = within(90, lambda: goes_on_in(clone, 2), "the copy goes on")
            print(f"the copy went on after {took_s:.1f} s")
            within(60, lambda: problem_of(clone) == "", "nothing speaks against writing")
            one.start_and_wait()
            within(90, lambda: "has taken its place" in problem_of(one), "the first one waits")
            assert problem_of(clone) == ""
        finally:
            clone.stopped()
    finally:
        one.stopped()
