"""packaging/homeport.service, as systemd's own tools see it."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

from appliance.core.config import Config
from appliance.core.limits import DRAIN_DEADLINE_MS, HEARTBEAT_LOST_MS, HEARTBEAT_STALE_MS
from appliance.run.doctor import FILES_BESIDE_CONNECTIONS

UNIT = Path(__file__).parents[2] / "packaging" / "homeport.service"


def _service() -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/homeport run", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_hardened() -> None:
    """2.0 is promised; packaging/README.md says what each tenth above nothing is open for."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=16", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= 1.6


def test_what_the_programs_need_is_not_closed() -> None:
    """Each of these was closed once, and what needed it failed in silence."""
    service = UNIT.read_text()
    # /proc/sys/kernel/random/boot_id tells the log's reader that its head is older than a power cut.
    assert "ProcSubset=pid" not in service
    # The pages ask the kernel whether the clock is synchronised; ProtectClock= forbids the question too.
    assert "ProtectClock=" not in service
    # The threads that seal and scrub the log give way to the others, or don't start.
    allowed = re.search(r"(?m)^SystemCallFilter=(adjtimex .*)$", service)
    assert allowed is not None
    assert allowed[1].split() == ["adjtimex", "clock_adjtime", "setpriority"]


def test_its_durations_fit_the_programs() -> None:
    service = _service()
    watchdog_ms = int(service["WatchdogSec"]) * 1000
    # A child that hangs is killed by us before systemd has waited long enough to end the healthy one too.
    assert HEARTBEAT_STALE_MS + watchdog_ms > HEARTBEAT_LOST_MS
    assert int(service["TimeoutStopSec"]) * 1000 > DRAIN_DEADLINE_MS + 2000


def test_its_folders_and_limits_fit_the_defaults() -> None:
    service, defaults = _service(), Config()
    assert Path("/var/lib") / service["StateDirectory"] == defaults.node.data_dir
    assert Path("/run") / service["RuntimeDirectory"] == defaults.node.run_dir
    assert service["UMask"] == "0077"
    assert int(service["LimitNOFILE"]) >= defaults.broker.connections_max + FILES_BESIDE_CONNECTIONS
