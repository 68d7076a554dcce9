"""Whether this box's place in its fleet is whole: its certificate, its instance, and what its peers say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.identity import tls
from appliance.identity.fleet import Fleet
from appliance.identity.keys import SiteKeys
from appliance.identity.tls import Signer, TlsIdentity
from appliance.run import layout
from appliance.run.doctor_check import Check, Result
from appliance.run.epoch_doubts import HINT, local_doubt, words_of
from appliance.run.node_or_catalog import running_node
from appliance.run.peer_commands import list_peers

DAY_MS: Final = 86_400_000
RPO_MS_MAX: Final = 150_000
"""As the watch on it (appliance/management/node_watches.py)."""
RPO_MS_SAID: Final = 15_000
"""What is younger is the usual pace of copying."""


def check_fleet(config: Config, clock: Clock) -> Iterable[Check]:
    """Look at data_dir/fleet, and ask the replicator where it runs. A box that is alone has nothing wrong in this."""
    if not layout.fleet(config).exists():
        yield Check(name="fleet", result=Result.SKIPPED, detail="This box belongs to no fleet.")
        return
    yield _check_writing(config, clock)
    try:
        fleet = Fleet.load(config.node.data_dir, SiteKeys.load_existing(config.node.data_dir))
        found = list_peers(config, clock=clock)
    except HomeportError as error:
        yield Check(name="fleet", result=Result.FAILED, detail=error.message, hint=error.hint)
        return
    days = (fleet.identity.ends_at_ms - clock.now_ms()) / DAY_MS
    if days < 0:
        yield Check(
            name="fleet",
            result=Result.FAILED,
            detail=f"The certificate of its links ended {-days:.0f} days ago: no peer lets it in.",
            hint="Have it join again by a new invitation: homeport peer invite on a box of the site that began the fleet.",
        )
    elif fleet.identity.is_due(clock.now_ms()):
        yield Check(
            name="fleet",
            result=Result.WARNING,
            detail=f"Nobody has renewed the certificate of its links; it ends in {days:.0f} days.",
            hint="It needs a link to a box of the site that began the fleet: homeport peer list.",
        )
    else:
        detail = f"The certificate of its links is good for {days:.0f} more days."
        yield Check(name="fleet", result=Result.OK, detail=detail)
    try:
        own = tls.look(config.node.data_dir, SiteKeys.load_existing(config.node.data_dir))
        if own is not None:
            yield _of_devices(own)
    except HomeportError as error:
        yield Check(name="tls", result=Result.FAILED, detail=error.message, hint=error.hint)
    if not found["is_running"]:
        yield Check(name="peers", result=Result.SKIPPED, detail="The replicator does not run.")
        return
    others = [node for node in found["nodes"] if not node["is_this"] and node["state"] == "admitted"]
    away = [node for node in others if node["link"] != "up"]
    if away:
        yield Check(
            name="peers",
            result=Result.WARNING,
            detail=f"No link with {', '.join(node['name'] for node in away[:5])}"
            + (f" and {len(away) - 5} more." if len(away) > 5 else "."),
            hint=next((node["problem"] for node in away if node["problem"]), "")
            or "homeport peer list says how each is.",
        )
    else:
        yield Check(name="peers", result=Result.OK, detail=f"{len(others)} of {len(others)} are linked.")


def _of_devices(box: TlsIdentity) -> Check:
    """Whether a device that knows another box of the site over TLS knows this one."""
    if box.signer is Signer.SITE:
        return Check(name="tls", result=Result.OK, detail="Devices know it by the site's authority.")
    return Check(
        name="tls",
        result=Result.WARNING,
        detail="Its certificate for devices isn't of the site's authority: who was given another box's tls.crt doesn't know it.",
        hint="homeport ca sign-box, once devices have the tls.crt of now (docs/CERTIFICATES.md).",
    )


def check_copies(config: Config) -> Iterable[Check]:
    """Ask the node whether what is written here gets to other boxes, and what they write gets into its store."""
    if not layout.fleet(config).exists():
        yield Check(name="copies", result=Result.SKIPPED, detail="This box belongs to no fleet.")
        return
    try:
        api = running_node(config)
        found = None if api is None else api.get("/api/v1/replication")
    except HomeportError as error:
        yield Check(name="copies", result=Result.FAILED, detail=error.message, hint=error.hint)
        return
    if found is None:
        yield Check(name="copies", result=Result.SKIPPED, detail="The node does not run.")
    else:
        yield copies_of(found)


def copies_of(found: Mapping[str, Any]) -> Check:
    """What is wrong first of the answer of GET /replication."""
    state, reading = found["state"], found["reading"]
    if state is None:
        return Check(name="copies", result=Result.FAILED, detail=found["problem"], hint="homeport peer list")
    names = {peer["node_id"]: peer["name"] for peer in state["peers"]}
    stopped = [log for log in reading["logs"] if log["stopped"]]
    if state["problem"]:
        return Check(
            name="copies",
            result=Result.FAILED,
            detail=f"Nothing is copied: {state['problem']}",
            hint="homeport peer list",
        )
    if state["unreadable"]:
        return Check(
            name="copies",
            result=Result.FAILED,
            detail=state["unreadable"],
            hint="homeport log missing names records that are gone; homeport log scrub --now looks again.",
        )
    if reading["incident"]:
        return Check(
            name="copies",
            result=Result.FAILED,
            detail=f"The order of the site's logs can't be kept: {reading['incident']}",
            hint="Look at the disk; readings of other boxes wait in their copies until then.",
        )
    if stopped:
        first = stopped[0]
        return Check(
            name="copies",
            result=Result.WARNING,
            detail=f"The copy of {names.get(first['node_id'], first['node_id'])} has stopped: {first['stopped']}",
            hint="Its readings are on that box; here they go on when it begins a new epoch.",
        )
    if state["rpo_ms"] is None:
        return Check(
            name="copies",
            result=Result.WARNING,
            detail="Everything is only here: no box that could have a copy belongs to the fleet.",
            hint=f"A copy counts at another {state['safe_at']} (replication.safe_at); homeport peer invite.",
        )
    if state["rpo_ms"] > RPO_MS_MAX:
        return Check(
            name="copies",
            result=Result.WARNING,
            detail=f"{state['unsafe_entries']} records of the last {state['rpo_ms'] / 1000:.0f} s are only here.",
            hint="homeport peer list says which box is away.",
        )
    last = f" but for the last {state['rpo_ms'] / 1000:.0f} s" if state["rpo_ms"] >= RPO_MS_SAID else ""
    return Check(name="copies", result=Result.OK, detail=f"What is written here is on other boxes{last}.")


def _check_writing(config: Config, clock: Clock) -> Check:
    """Whether this box may write as its node."""
    try:
        doubt = local_doubt(config, now_ms=clock.now_ms())
    except OSError as error:
        return Check(name="writing", result=Result.FAILED, detail=str(error), hint="Look at the disk.")
    if doubt is None:
        return Check(
            name="writing", result=Result.OK, detail="Nothing says that this is not its node's newest box."
        )
    return Check(name="writing", result=Result.FAILED, detail=words_of(doubt), hint=HINT)
