"""`homeport status`: how the running appliance is."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.common import Context, printable, verb
from appliance.cli.copies_text import blobs_only_here, only_here
from appliance.core.clock_words import CLOCK_HINT
from appliance.run import announcement


@click.command()
@verb
def status(context: Context) -> None:
    """How the running appliance is: each dependency, counts, lag, and the addresses to open."""
    config = context.config()
    api = context.api()
    health = api.request("GET", "/health/ready", accept=(503,))
    node = api.get("/api/v1/status")
    alarms = api.get("/api/v1/alarms/counts")
    replication = api.get("/api/v1/replication")
    setup = api.get("/api/v1/setup")
    lines = announcement.as_of_now(
        announcement.read(config.node.run_dir),
        needs_setup=setup["needs_setup"],
        code_valid=setup["code_valid"],
    )
    context.emit(
        {
            "health": health,
            "status": node,
            "alarms": alarms,
            "replication": replication,
            "announcement": lines,
        },
        "\n".join([*_lines(health, node), _alarms(alarms), copies(replication), *lines]),
    )


def _lines(health: dict[str, Any], node: dict[str, Any]) -> list[str]:
    """What a person wants to know first; --json has all of it."""
    pipeline, devices = node["pipeline"], node["devices"]
    uptime_s = (node["now_ms"] - node["started_at_ms"]) // 1000
    return [
        f"{node['node']} {node['version']}, up {uptime_s} s: {'ready' if health['ready'] else 'NOT READY'}",
        *(f"  {each['name']}: {_dependency(each)}" for each in health["dependencies"]),
        *_clock(node),
        f"devices: {_counts(devices['state'])}; {_counts(devices['presence'])}",
        f"messages: {node['message_rate']:.1f}/s",
        f"store: {pipeline['lag_s']:.1f} s behind, {pipeline['behind_records']} records to go, "
        f"{pipeline['rows_total']} rows, {pipeline['dead_letters']} dead letters, breaker {pipeline['breaker']}",
    ]


def _clock(node: dict[str, Any]) -> list[str]:
    """Only where there is something to say of it."""
    clock = node["clock"]
    if clock["doubt"]:
        return [f"clock: NOT BELIEVED {clock['text']} {CLOCK_HINT}"]
    if clock["steps_total"]:
        by_s = clock["last_step_ms"] // 1000
        return [f"clock: was set {clock['steps_total']} times since the node started, last by {by_s:+} s"]
    return []


def _alarms(counts: dict[str, Any]) -> str:
    """How many alarms want somebody to look, and how bad they are."""
    found = []
    for severity, words in sorted(counts["by_severity"].items()):
        unseen = words.get("active_unacknowledged", 0) + words.get("cleared_unacknowledged", 0)
        if unseen:
            found.append(f"{unseen} {severity}")
    return (
        f"alarms: {', '.join(found)} that nobody has acknowledged" if found else "alarms: none to acknowledge"
    )


def copies(replication: dict[str, Any]) -> str:
    """Whether what this box holds is elsewhere too, and whether it has what other boxes hold."""
    state, reading = replication["state"], replication["reading"]
    if replication["is_alone"]:
        return "copies: none, this box is alone (homeport peer invite)"
    if state is None:
        return printable(f"copies: NOT KNOWN {replication['problem']}")
    peers = [peer for peer in state["peers"] if peer["state"] == "admitted"]
    linked = sum(peer["link"] == "up" for peer in peers)
    words = [f"{linked} of {len(peers)} boxes linked", only_here(state["rpo_ms"], state["unsafe_entries"])]
    if any(each["safe_count"] < each["count"] for each in state["blobs"]):
        words.append(blobs_only_here(state["blobs"]))
    if state["rpo_worst_ms"] is not None:
        words.append(f"worst of 24 h {state['rpo_worst_ms'] / 1000:.1f} s")
    stopped = sum(bool(log["stopped"]) for log in reading["logs"])
    if stopped or reading["incident"] or state["problem"]:
        words.append("COPIES STAND STILL (homeport doctor)")
    if state["unreadable"]:
        words.append("PARTS OF LOGS CAN'T BE READ (homeport log missing)")
    return "copies: " + ", ".join(word.rstrip(".") for word in words)


def _dependency(one: dict[str, Any]) -> str:
    words = " ".join(part for part in (one.get("detail"), one.get("hint")) if part)
    return words if one["ok"] else f"FAILED ({one['code']}) {words}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"
