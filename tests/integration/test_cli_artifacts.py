"""`homeport artifact` against a node process: uploaded, signed here and elsewhere, carried to another box, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from tests.artifact_kit import PAYLOAD, esp32, swu
from tests.crash.rig import START_DEADLINE_S, Rig, wait_for
from tests.crash.test_artifact_killed import answers


class Box:
    """A node process, and the command line beside it."""

    def __init__(self, folder: Path, run_dir: Path) -> None:
        self.rig = Rig(folder, run_dir)
        self.rig.start("node")
        wait_for(lambda: answers(self.rig), START_DEADLINE_S, "the node answers")

    def run(self, *words: str | Path, stdin: str | None = None) -> Result:
        arguments = ["artifact", *map(str, words), "--config", str(self.rig.run_dir / "homeport.toml")]
        return CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False)

    def ok(self, *words: str | Path, stdin: str | None = None) -> Any:
        result = self.run(*words, "--json", stdin=stdin)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *words: str | Path, stdin: str | None = None) -> str:
        result = self.run(*words, "--json", stdin=stdin)
        assert result.exit_code != 0, result.output
        error = json.loads(result.stdout)["error"]
        assert error["hint"]
        return str(error["code"])


@pytest.fixture(scope="module")
def run_dirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


@pytest.fixture
def box(tmp_path: Path, run_dirs: Path) -> Iterator[Box]:
    made = Box(tmp_path, run_dirs / tmp_path.name[-8:])
    yield made
    made.rig.close()


def test_an_artifact_from_file_to_rollout_and_back(box: Box, tmp_path: Path) -> None:
    image = tmp_path / "pump.bin"
    image.write_bytes(esp32())
    assert box.refused("add", image, "--name", "pump", "--format", "swu") == "artifact_format"
    assert box.refused("add", image, "--name", "pump", "--version", "9") == "artifact_version_differs"
    assert box.refused("add", tmp_path / "nothing", "--name", "pump") == "file_unreadable"
    raw = tmp_path / "raw.bin"
    raw.write_bytes(PAYLOAD)
    assert box.refused("add", raw, "--name", "raw") == "artifact_version_missing"
    assert box.refused("add", raw, "--name", "my pump", "--version", "1") == "name_invalid"
    elsewhere = ("describe", raw, tmp_path / "raw.manifest", "--release-counter", "1", "--name")
    assert box.refused(*elsewhere, "raw") == "artifact_version_missing"
    assert box.refused(*elsewhere, "my pump", "--version", "1") == "name_invalid"
    made = box.ok("add", image, "--name", "pump", "--hw", "rev2")
    assert (made["version"], made["format"], made["epoch"], made["hw"]) == ("v5.1-2", "esp32", 3, ["rev2"])
    assert made["refusal"]["code"] == "artifact_unsigned"
    assert box.refused("sign", "pump") == "artifact_key_missing"
    box.ok("key", "on-box")
    assert box.ok("sign", "pump@v5.1-2", "--expires-days", "30")["refusal"] is None
    assert box.ok("add", raw, "--name", "raw", "--version", "1", "--sign")["refusal"] is None
    said = box.run("list").output
    assert all(word in said for word in ("pump", "esp32", "MiB are used"))
    shown = box.run("show", "pump").output
    assert all(word in shown for word in ("Signature good: this box", "It may be rolled out."))
    assert box.ok("check", "pump")["ok"]
    written = box.ok("export", "pump", tmp_path / "out.bin")["files"]
    assert (tmp_path / "out.bin").read_bytes() == esp32()
    assert written[1].endswith("out.bin.manifest")
    assert box.refused("export", "pump", tmp_path / "out.bin") == "file_exists"
    assert box.refused("remove", "pump") == "not_confirmed"
    box.ok("remove", "pump", "--yes")
    assert box.refused("show", "pump") == "artifact_unknown"
    # What was carried out comes back in, with its signature; its counter is known, so it was held back.
    assert box.refused("import", tmp_path / "out.bin.manifest") == "artifact_unknown"
    assert box.refused("import", tmp_path / "out.bin.manifest", raw) == "manifest_differs"
    assert box.refused("import", tmp_path / "out.bin.manifest", tmp_path / "out.bin") == "release_counter_low"


def test_signed_where_no_node_is_by_two_of_three(box: Box, tmp_path: Path) -> None:
    keys = {}
    for name in ("anna", "ben", "cem"):
        keys[name] = tmp_path / f"{name}.key"
        words, typed = (["--passphrase"], "of three words\n") if name == "ben" else ([], None)
        box.ok("key", "new", keys[name], *words, stdin=typed)
        assert keys[name].stat().st_mode & 0o777 == 0o600
    assert box.refused("key", "new", keys["anna"]) == "key_file_exists"
    adds = [word for name in ("anna", "ben") for word in ("--add", f"{name}={keys[name]}.pub")]
    box.ok("key", "propose", tmp_path / "set1", *adds, "--threshold", "2")
    assert box.ok("key", "apply", tmp_path / "set1")["threshold"] == 2
    image, document = tmp_path / "board.swu", tmp_path / "board.manifest"
    image.write_bytes(swu(signed=True))
    box.ok("describe", image, document, "--name", "board", "--release-counter", "1")
    assert (
        box.refused("describe", image, document, "--name", "board", "--release-counter", "1") == "file_exists"
    )
    assert box.refused("sign", document, "--key", keys["ben"]) == "passphrase_needed"
    assert (
        box.refused("sign", document, "--key", keys["ben"], "--passphrase", stdin="wrong\n")
        == "passphrase_wrong"
    )
    assert box.refused("sign", document, "--key", tmp_path / "none") == "key_file_missing"
    box.ok("sign", document, "--key", keys["anna"])
    assert box.ok("sign", document, "--key", keys["anna"])["signatures"] == 1
    one = box.ok("import", document, image)
    assert (one["version"], one["hw"], one["good_count"], one["is_vendor_signed"]) == (
        "2.1.0",
        ["1.0", "1.2"],
        1,
        True,
    )
    assert one["refusal"]["code"] == "artifact_signatures"
    box.ok("sign", document, "--key", keys["ben"], "--passphrase", stdin="of three words\n")
    assert box.ok("import", document)["refusal"] is None
    # A third one takes the place of the first, by the signatures of both.
    box.ok("key", "propose", tmp_path / "set2", "--add", f"cem={keys['cem']}.pub", "--remove", "anna")
    assert box.refused("key", "apply", tmp_path / "set2") == "artifact_keys_unsigned"
    box.ok("sign", tmp_path / "set2", "--key", keys["anna"])
    box.ok("sign", tmp_path / "set2", "--key", keys["ben"], "--passphrase", stdin="of three words\n")
    found = box.ok("key", "apply", tmp_path / "set2")
    assert {each["name"]: each["state"] for each in found["keys"]} == {
        "ben": "trusted",
        "cem": "trusted",
        "anna": "retired",
    }
    assert box.ok("show", "board")["refusal"]["code"] == "artifact_signatures"
    box.ok("manifest", "board", tmp_path / "again.manifest")
    box.ok("sign", tmp_path / "again.manifest", "--key", keys["cem"])
    # anna's signature is still in the file and counts no more: who sends it is told.
    assert box.refused("import", tmp_path / "again.manifest") == "signature_key_unknown"
    box.ok("manifest", "board", tmp_path / "new.manifest", "--expires-days", "10")
    box.ok("sign", tmp_path / "new.manifest", "--key", keys["cem"])
    box.ok("sign", tmp_path / "new.manifest", "--key", keys["ben"], "--passphrase", stdin="of three words\n")
    assert box.ok("import", tmp_path / "new.manifest")["refusal"] is None
    assert "vendor signed" in box.run("key", "policy", "vendor_signed").output
    assert "2 of the trusted keys must sign" in box.run("key", "list").output
    assert box.refused("key", "propose", tmp_path / "set3", "--remove", "anna") == "artifact_key_missing"
    # Both keys are lost: who owns the box begins anew.
    box.ok("key", "propose", tmp_path / "set4", "--remove", "ben", "--threshold", "1")
    assert box.refused("key", "apply", tmp_path / "set4", "--reset") == "not_confirmed"
    assert box.ok("key", "apply", tmp_path / "set4", "--reset", "--yes")["threshold"] == 1
