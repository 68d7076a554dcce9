"""Which tests coverage is measured in: those that say of each part what it does, and not those that drive whole boxes.

Python 3.11 takes half as long again for everything, also for libraries, as long as a trace function is set, whatever it then looks at. So
tests that last, and reach little that the others don't, run without: kills, Chromium, foreign clients, seeds, whole boxes, each of whose
processes takes twice as long to start. The thresholds have to be reached without them, which is harder. What is named here is by folder or file, so that a test is measured unless somebody decides otherwise.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, Final

import coverage

TESTS: Final = Path(__file__).parent
NOT_MEASURED: Final = (
    "browser/",
    "crash/",
    "fleet/",
    "fuzz/",
    "integration/test_anomaly_rules.py",
    "integration/test_audit_names_who.py",
    "integration/test_box_restored_from_peer.py",
    "integration/test_boxes_copy.py",
    "integration/test_bridge_appliance.py",
    "integration/test_broker_attackers.py",
    "integration/test_broker_device_requests.py",
    "integration/test_broker_slow_receivers.py",
    "integration/test_broker_verbs.py",
    "integration/test_cli.py",
    "integration/test_cli_archive.py",
    "integration/test_cli_artifacts.py",
    "integration/test_cli_people.py",
    "integration/test_clock_wrong_at_start.py",
    "integration/test_clock_wrong_in_a_site.py",
    "integration/test_demo.py",
    "integration/test_faults_end_as_alarms.py",
    "integration/test_pages_offer_what_is_allowed.py",
    "integration/test_peers_join.py",
    "integration/test_permission_matrix.py",
    "integration/test_pipeline.py",
    "integration/test_pipeline_backlog.py",
    "integration/test_puback_after_fsync.py",
    "integration/test_reading_verbs.py",
    "integration/test_rollout_to_a_fleet.py",
    "integration/test_rot.py",
    "integration/test_sign_in_together.py",
    "integration/test_sim_moves_to_another_broker.py",
    "integration/test_site_catalog.py",
    "integration/test_site_is_one.py",
    "integration/test_supervisor.py",
    "integration/test_telemetry.py",
    "integration/test_traces_appliance.py",
    "integration/test_twins_and_commands.py",
    "integration/test_updates_appliance.py",
    "integration/test_watch.py",
    "interop/",
    "package/",
    "properties/test_alarms_applied_once.py",
    "properties/test_anomaly_cuts.py",
    "properties/test_broker_sessions_model.py",
    "properties/test_device_updates.py",
    "properties/test_life_of_readings.py",
    "properties/test_mqtt_amqtt_oracle.py",
    "properties/test_mqtt_paho_oracle.py",
    "properties/test_pipeline_backlog.py",
    "properties/test_pipeline_rebuild.py",
    "properties/test_replication_gossip.py",
    "properties/test_rollouts_model.py",
    "properties/test_site_stores.py",
    "properties/test_storage_log_damage.py",
    "properties/test_telemetry_rollups.py",
    "properties/test_watch_exactly_once.py",
    "security/",
    "simulation/",
    "test_docs.py",
    "test_tidy.py",
)
VARIABLES: Final = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""What has processes that a test starts measured."""


def is_measured(path: Path) -> bool:
    """Whether coverage counts what a file's tests do."""
    return not path.relative_to(TESTS).as_posix().startswith(NOT_MEASURED)


class Measuring:
    """Coverage's trace function of this process, and its variables, put away and taken out again."""

    def __init__(self) -> None:
        self._kept: tuple[Any, Any, dict[str, str]] | None = None

    def begin(self, *, worker: str | None, has_workers: bool) -> None:
        """Before tests are collected.

        Every worker imports everything, and what an import does is counted if one of them counts it. Who only hands out files to workers
        runs nothing that counts.
        """
        if has_workers:
            sys.settrace(None)
            threading.settrace(None)
        else:
            self.switch(on=worker in (None, "gw0"))

    def end(self) -> None:
        """Write down what was measured: a worker that takes ten seconds to exit, which it may on a busy machine, is killed."""
        self.switch(on=True)
        measured = coverage.Coverage.current()
        if measured is not None:
            measured.save()

    def switch(self, *, on: bool) -> None:
        """Take effect in the thread that calls, in threads and in processes that start from now on; without coverage nothing changes."""
        if on and self._kept is not None:
            traced, threads_traced, variables = self._kept
            self._kept = None
            os.environ.update(variables)
            threading.settrace(threads_traced)
            sys.settrace(traced)
        elif not on and self._kept is None and "coverage" in type(sys.gettrace()).__module__:
            variables = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
            self._kept = sys.gettrace(), threading.gettrace(), variables
            sys.settrace(None)
            threading.settrace(None)
