from __future__ import annotations

import dataclasses
import os
import resource
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.config import BrokerConfig, BrokerRoleConfig, Config, NodeConfig
from appliance.core.errors import Unavailable
from appliance.core.settings import Bind
from appliance.identity import tls
from appliance.identity.keys import SiteKeys
from appliance.run import doctor, doctor_processes, layout
from appliance.run.clock_file import write_believed_ms
from appliance.run.doctor import Check, Result
from appliance.run.doctor_clock import check_clock
from appliance.run.first_run import prepare_folders
from storage.catalog.catalog import Catalog
from storage.log.disk import OsDisk
from storage.log.dropped import Dropped, DroppedRange, write_dropped
from tests.pki_kit import Authority


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(node=NodeConfig(data_dir=tmp_path / "data", run_dir=tmp_path / "run"))
    prepare_folders(made)
    return made


def _by_name(checks: list[Check]) -> dict[str, Check]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def test_a_box_that_is_prepared_and_stopped_has_nothing_wrong(config: Config) -> None:
    found = _by_name(doctor.examine(config, SystemClock()))
    assert not [check for check in found.values() if check.result is Result.FAILED]
    assert found["data folder"].result is Result.OK
    assert found["sync time"].result is Result.OK
    assert "median" in found["sync time"].detail
    assert {found[name].result for name in ("log", "catalog", "roles", "node", "broker")} == {Result.SKIPPED}
    assert os.listdir(config.node.data_dir) == []


def test_a_store_that_was_set_aside_is_told_of(config: Config) -> None:
    """It mends itself within seconds: without this nobody would ever look at the disk."""
    assert doctor.check_store(config.node.data_dir).result is Result.OK
    for at_ms in (1_795_794_456_787, 1_700_000_000_000):
        (config.node.data_dir / f"telemetry.duckdb.set-aside-{at_ms}").write_bytes(b"x" * 2 * 1_048_576)
        (config.node.data_dir / f"telemetry.duckdb.set-aside-{at_ms}.wal").touch()
    found = doctor.check_store(config.node.data_dir)
    assert found.result is Result.WARNING
    assert found.detail == (
        "2 were set aside and built anew, the last 2026-11-27 15:47 UTC; 4 MiB: telemetry.duckdb.set-aside-1795794456787."
    )
    assert "disk's health" in found.hint


def test_a_file_of_another_user_in_the_data_folder_is_found_with_the_command_that_mends_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a backup was put back by root."""
    (config.node.data_dir / "identity").mkdir()
    path = config.node.data_dir / "identity" / "site.key"
    path.touch()
    before = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = before(self, follow_symlinks=follow_symlinks)
        return os.stat_result((*found[:4], os.geteuid() + 1, *found[5:10])) if self == path else found

    monkeypatch.setattr(Path, "stat", stat)
    check = _by_name(list(doctor.check_folders(config)))["data folder"]
    assert (check.result, str(path) in check.detail) == (Result.FAILED, True)
    folder = config.node.data_dir
    assert check.hint == f"As root, run: chown -R --reference={folder} {folder}"


def test_before_the_first_start_only_the_folders_are_missing(tmp_path: Path) -> None:
    nothing = Config(node=NodeConfig(data_dir=tmp_path / "a" / "data", run_dir=tmp_path / "a" / "run"))
    found = doctor.examine(nothing, SystemClock())
    assert [check.name for check in found if check.result is Result.FAILED] == ["data folder", "run folder"]


def test_whatever_is_not_ok_has_a_next_step_or_is_not_there_yet(tmp_path: Path, config: Config) -> None:
    config.node.data_dir.chmod(0o755)
    for check in doctor.examine(config, ManualClock(now_ms=0)):
        if check.result in (Result.WARNING, Result.FAILED):
            assert check.hint.endswith((".", str(config.node.data_dir))), check


class TestCertificates:
    def _config(self, config: Config, **broker: Any) -> Config:
        tls.load_or_create(
            config.node.data_dir,
            SiteKeys.load_or_create(config.node.data_dir),
            node_name="box",
            clock=SystemClock(),
            names=["box"],
            addresses=[],
        )
        return dataclasses.replace(config, broker=dataclasses.replace(config.broker, **broker))

    def _look(self, config: Config, days_from_now: int = 0) -> dict[str, Check]:
        clock = ManualClock(now_ms=SystemClock().now_ms() + days_from_now * doctor.DAY_MS)
        return _by_name(list(doctor.check_certificates(config, clock)))

    def test_before_there_is_one(self, config: Config) -> None:
        assert self._look(config)["certificate"].result is Result.SKIPPED

    @pytest.mark.parametrize(
        ("days", "result"), [(0, Result.OK), (770, Result.WARNING), (830, Result.FAILED)]
    )
    def test_its_end(self, config: Config, days: int, result: Result) -> None:
        found = self._look(self._config(config), days)["certificate"]
        assert found.result is result
        assert bool(found.hint) is (result is not Result.OK)

    def test_a_file_that_a_running_broker_could_not_take(self, config: Config) -> None:
        changed = self._config(config)
        (config.node.data_dir / "identity" / "tls.pem").write_text("half a fi")
        found = self._look(changed)["certificate"]
        assert found.result is Result.FAILED
        assert "keeps to what it loaded before" in found.detail

    def test_authorities_and_revocation_list(self, config: Config, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        changed = self._config(
            config,
            tls_client_auth="required",
            tls_client_ca=authority.path,
            tls_client_crl=authority.revoke([], days=(-1, 7)),
        )
        found = self._look(changed)
        assert found["authorities"].result is Result.WARNING, "it ends within 60 days"
        assert found["revocation list"].result is Result.OK
        assert self._look(changed, 6)["revocation list"].result is Result.WARNING
        assert self._look(changed, 8)["revocation list"].result is Result.FAILED

    def test_settings_that_do_not_go_together(self, config: Config) -> None:
        found = self._look(self._config(config, tls_client_auth="required"))["certificate"]
        assert found.result is Result.FAILED
        assert "tls_client_ca" in found.hint


def test_a_full_disk_fails_and_a_filling_one_warns(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk(free_blocks: int) -> None:
        about = os.statvfs_result((4096, 4096, 10_000_000, free_blocks, free_blocks, 0, 0, 0, 0, 255))
        monkeypatch.setattr("appliance.run.doctor.os.statvfs", lambda _path: about)

    disk(1000)
    assert doctor.check_disk_space(config.node.data_dir).result is Result.FAILED
    disk(900_000)
    assert doctor.check_disk_space(config.node.data_dir).result is Result.WARNING
    disk(9_000_000)
    assert doctor.check_disk_space(config.node.data_dir).result is Result.OK


def test_the_level_of_the_disk(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for used_percent, result in (
        (50, Result.OK),
        (86, Result.WARNING),
        (93, Result.FAILED),
        (96, Result.FAILED),
    ):
        free = 100 - used_percent
        about = os.statvfs_result((4096, 4096, 100, free, free, 0, 0, 0, 0, 255))
        monkeypatch.setattr("appliance.run.doctor.os.statvfs", lambda _path, about=about: about)
        check = doctor.check_disk_level(config)
        assert check.result is result
        assert f"{used_percent} % used" in check.detail
        assert bool(check.hint) is (result is not Result.OK)


def test_what_retention_removed(tmp_path: Path) -> None:
    assert doctor.check_dropped(tmp_path).result is Result.OK
    went = DroppedRange(
        rule="keep", epoch=1, first_seq=1, next_seq=11, segment_count=1, bytes=4096, unread_records=0,
        first_at_ms=1, last_at_ms=1,
    )  # fmt: skip
    dropped = Dropped().plus(went, "")
    write_dropped(OsDisk(), tmp_path, dropped)
    check = doctor.check_dropped(tmp_path)
    assert (check.result, check.detail) == (Result.OK, "10 records were removed, up to 10; 0 of them unread.")
    write_dropped(
        OsDisk(),
        tmp_path,
        dropped.plus(replace(went, rule="quota", first_seq=11, next_seq=21, unread_records=4), ""),
    )
    assert doctor.check_dropped(tmp_path).result is Result.WARNING


def test_too_few_files_for_the_connections_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.run.doctor.resource.getrlimit", lambda _which: (1024, 4096))
    check = doctor.check_file_limit(BrokerConfig(connections_max=10_000))
    assert check.result is Result.WARNING
    assert "LimitNOFILE=11024" in check.hint
    assert doctor.check_file_limit(BrokerConfig(connections_max=1000)).result is Result.OK
    with_web = BrokerConfig(connections_max=10_000, ws_bind=Bind.parse("127.0.0.1:8083"))
    assert "LimitNOFILE=13024" in doctor.check_file_limit(with_web).hint, "three files for each of 1,000"
    monkeypatch.setattr(
        "appliance.run.doctor.resource.getrlimit", lambda _which: (1024, resource.RLIM_INFINITY)
    )
    assert doctor.check_file_limit(BrokerConfig(connections_max=10_000)).result is Result.OK


def test_a_clock_that_cannot_be_right_fails(config: Config) -> None:
    now_ms = 1_800_000_000_000
    check = check_clock(config, ManualClock(now_ms=0))
    assert check.result is Result.FAILED
    assert "says 1970-01-01" in check.detail
    written = config.node.data_dir / "log" / "segment"
    written.parent.mkdir()
    written.touch()
    os.utime(written, (now_ms // 1000, now_ms // 1000))
    check = check_clock(config, ManualClock(now_ms=now_ms - 3_600_000))
    assert check.result is Result.FAILED
    assert "3600 s behind" in check.detail
    for state, result in (
        ("synchronized", Result.OK),
        ("unsynchronized", Result.WARNING),
        ("unknown", Result.WARNING),
    ):
        assert check_clock(config, ManualClock(now_ms=now_ms), lambda state=state: state).result is result  # type: ignore[misc]


def test_a_clock_that_leapt_fails_and_says_by_how_much(config: Config) -> None:
    now_ms = 1_800_000_000_000
    write_believed_ms(layout.clock_file(config), now_ms)
    os.utime(layout.clock_file(config), (now_ms // 1000, now_ms // 1000))
    check = check_clock(config, ManualClock(now_ms=4_070_908_800_000))
    assert (check.result, "says 2099-01-01, 26283 days after" in check.detail) == (Result.FAILED, True)
    check = check_clock(config, ManualClock(now_ms=now_ms - 10 * 86_400_000))
    assert (check.result, "10 days before what it said last" in check.detail) == (Result.FAILED, True)
    assert check_clock(config, ManualClock(now_ms=now_ms), lambda: "synchronized").result is Result.OK


def test_a_slow_disk_warns(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("appliance.run.doctor.time.perf_counter", lambda: next(ticks) * 0.1)
    assert doctor.check_sync_time(config.node.data_dir).result is Result.WARNING


def test_a_role_that_is_not_in_the_configuration_warns(config: Config) -> None:
    path = config.node.data_dir / "catalog.db"
    keys = SiteKeys.load_or_create(config.node.data_dir)
    catalog = Catalog.open(path, clock=SystemClock(), node_id=keys.node_id)
    catalog.add_device("a", role="board")
    catalog.add_device("b", role="gone")
    catalog.add_device("c")
    catalog.close()
    with_role = replace(config, broker_role=(BrokerRoleConfig(name="board"), BrokerRoleConfig(name="x")))
    warned = doctor.check_roles(with_role, path, SystemClock())
    assert warned.result is Result.WARNING
    assert "1 have a role" in warned.detail
    assert "gone" in warned.detail
    both = replace(config, broker_role=(BrokerRoleConfig(name="board"), BrokerRoleConfig(name="gone")))
    assert doctor.check_roles(both, path, SystemClock()).result is Result.OK
    broken = replace(config, broker_role=(BrokerRoleConfig(name="x", publish=("a/#/b",)),))
    found = _by_name(doctor.examine(broken, SystemClock()))
    assert found["roles"].result is Result.FAILED
    assert "“x”" in found["roles"].detail
    assert found["roles"].hint


def test_a_damaged_catalog_fails(config: Config) -> None:
    path = config.node.data_dir / "catalog.db"
    keys = SiteKeys.load_or_create(config.node.data_dir)
    Catalog.open(path, clock=SystemClock(), node_id=keys.node_id).close()
    assert doctor.check_catalog(path, SystemClock()).result is Result.OK
    path.write_bytes(b"not a database at all, and long enough to be read as one" * 100)
    found = _by_name(doctor.examine(config, SystemClock()))
    assert found["catalog"].result is Result.FAILED
    assert found["catalog"].hint


def test_a_silent_node_fails_and_a_listening_broker_is_ok(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as node, socket.socket(socket.AF_UNIX) as broker:
        node.bind(str(config.node.run_dir / "node.sock"))
        broker.bind(str(config.node.run_dir / "broker.sock"))
        node.listen()
        broker.listen()
        monkeypatch.setattr(doctor_processes, "SOCKET_TIMEOUT_S", 0.05)
        found = _by_name(list(doctor_processes.check_processes(config)))
    assert found["node"].result is Result.FAILED
    assert found["broker"].result is Result.OK


def test_a_locked_catalog_is_waited_for_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def locked(path: Path, **_: Any) -> Catalog:
        asked.append(path)
        raise Unavailable("The catalog is locked by another program.", hint="Wait.", code="catalog_locked")

    layout.catalog(config).touch()
    monkeypatch.setattr(Catalog, "open_read_only", locked)
    found = _by_name(doctor.examine(config, SystemClock()))
    assert len(asked) == 1
    assert found["catalog"].result is Result.FAILED
    assert {found[name].result for name in doctor.OF_CATALOG} == {Result.SKIPPED}
    assert found["node"].result is Result.SKIPPED, "what else there is to say is said"
