"""`homeport rule` against a node with a real catalog: as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli_kit import typed


async def test_a_rule_is_added_changed_and_removed(tmp_path: Path) -> None:
    async with typed(tmp_path, "rule") as ask:
        added = await ask(
            *("add", "Too warm", "--metric", "t", "--above", "80", "--hysteresis", "2", "--for", "300"),
            *("--tag", "oven", "--text", "Open the door.", "--json"),
        )
        assert added.exit_code == 0, added.stderr
        made = json.loads(added.stdout)
        definition = made["definition"]
        assert definition["condition"] == {
            "kind": "threshold",
            "is": "above",
            "limit": 80.0,
            "limit_high": None,
            "hysteresis": 2.0,
        }
        assert (definition["severity"], definition["scope"]["tags"], definition["on_delay_s"]) == (
            "P2",
            ["oven"],
            300.0,
        )
        edited = await ask("edit", made["rule_id"], "--severity", "P1", "--all", "--json")
        changed = json.loads(edited.stdout)
        assert (changed["definition_version"], changed["definition"]["scope"]["all"]) == (2, True)
        assert changed["definition"]["text"] == "Open the door."
        assert "off" in (await ask("disable", made["rule_id"])).stdout
        assert json.loads((await ask("enable", made["rule_id"], "--json")).stdout)["enabled"]
        shown = await ask("show", made["rule_id"])
        assert "Open the door." in shown.stdout
        assert shown.stdout.count("off from there on") == 1
        assert "Too warm" in (await ask("list", "--filter", "warm")).stdout
        assert "Too warm" not in (await ask("list", "--filter", "cold")).stdout
        assert "the rule is gone" in (await ask("remove", made["rule_id"])).stdout.lower()
        assert (await ask("show", made["rule_id"])).exit_code != 0


async def test_each_short_form_is_a_condition(tmp_path: Path) -> None:
    async with typed(tmp_path, "rule") as ask:
        for name, options, condition in (
            ("a", ("--below", "3", "--metric", "t"), {"kind": "threshold", "is": "below", "limit": 3.0}),
            ("b", ("--no-data", "60"), {"kind": "no_data", "expected_s": 60.0}),
            ("c", ("--no-data", "0"), {"kind": "no_data", "expected_s": None}),
            ("d", ("--stuck", "3600"), {"kind": "stuck", "for_s": 3600.0}),
        ):
            done = await ask("add", name, *options, "--all", "--json")
            assert done.exit_code == 0, done.stderr
            assert condition.items() <= json.loads(done.stdout)["definition"]["condition"].items()
        whole = {"severity": "P3", "scope": {"all": True}, "condition": {"kind": "anomaly"}}
        done = await ask("add", "e", "--definition", "-", "--json", stdin=json.dumps(whole))
        assert json.loads(done.stdout)["kind"] == "anomaly"


async def test_rules_go_to_another_site_by_file(tmp_path: Path) -> None:
    async with typed(tmp_path, "rule") as ask:
        await ask("add", "Too warm", "--metric", "t", "--above", "80", "--all")
        file = tmp_path / "rules.json"
        assert "1 rules are in" in (await ask("export", str(file))).stdout
        written = json.loads(file.read_text("utf-8"))
        assert json.loads((await ask("export")).stdout) == written
        written["rules"][0]["name"] = "Much too warm"
        file.write_text(json.dumps(written), "utf-8")
        assert (await ask("import", str(file))).stdout == "Rules: 1 made, 0 changed, 0 unchanged.\n"
        again = await ask("import", "-", stdin=json.dumps(written))
        assert again.stdout == "Rules: 0 made, 0 changed, 1 unchanged.\n"
        assert "can't be written" in (await ask("export", str(tmp_path))).stderr


async def test_what_makes_no_sense_says_so_and_changes_nothing(tmp_path: Path) -> None:
    async with typed(tmp_path, "rule") as ask:
        (tmp_path / "bad.json").write_text("{", "utf-8")
        (tmp_path / "bad.bin").write_bytes(b"\xff\xfe")
        for arguments, says in (
            (("add", "x", "--all"), "looks for nothing"),
            (("add", "x", "--all", "--metric", "t", "--above", "1", "--below", "2"), "looks for one thing"),
            (("add", "x", "--all", "--no-data", "3", "--hysteresis", "1"), "goes with --above or --below"),
            (("add", "x", "--metric", "t", "--above", "1"), "for all devices, or"),
            (("add", "x", "--definition", str(tmp_path / "none.json")), "No such file"),
            (("add", "x", "--definition", str(tmp_path / "bad.json")), "no JSON"),
            (("import", str(tmp_path / "bad.bin")), "not UTF-8"),
            (("edit", "0"), "Say what is to change"),
            (("remove", "0"), "no rule"),
        ):
            refused = await ask(*arguments)
            assert refused.exit_code != 0
            assert says in refused.stderr, refused.stderr
        assert json.loads((await ask("list", "--json")).stdout) == {"rules": []}


async def test_a_rule_is_tried_before_it_is_made_and_before_it_is_changed(tmp_path: Path) -> None:
    async with typed(tmp_path, "rule") as ask:
        tried = await ask("try", "--metric", "t", "--above", "80", "--all", "--hours", "48")
        assert tried.exit_code == 0, tried.stderr
        assert "0 alarms out of 0 readings of 0 series." in tried.stdout
        made = json.loads(
            (await ask("add", "Warm", "--metric", "t", "--above", "80", "--all", "--json")).stdout
        )
        again = json.loads((await ask("try", made["rule_id"], "--above", "60", "--json")).stdout)
        assert again["to_ms"] - again["from_ms"] == 24 * 3_600_000
        assert json.loads((await ask("show", made["rule_id"], "--json")).stdout)["definition_version"] == 1
        nothing = await ask("try", "--all")
        assert nothing.exit_code == 2
        assert "The rule looks for nothing." in nothing.stderr
