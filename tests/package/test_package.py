"""The Debian package: what is in it, and what is not. tests/package/test_box.py installs it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

from appliance.core.config import Config, load
from appliance.core.version import VERSION
from tests.package.building import ROOT, Entry, build, contents, field

PACKAGING = ROOT / "packaging"
SITE = "/usr/lib/homeport/lib/python3.11/site-packages"
OURS = ("appliance", "broker", "storage", "replication", "ui", "device_fw_sim")
INSTALLED_MIB_MAX = 200
"""190 MiB when this was written, of which DuckDB, NumPy and its linear algebra have 105."""


@pytest.fixture(scope="session")
def inside(package: Path) -> dict[str, Entry]:
    return contents(package)


def test_it_says_what_it_is_and_needs(package: Path) -> None:
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True
    ).stdout.strip()
    assert package.name == f"homeport_{VERSION}_{architecture}.deb"
    assert (field(package, "Package"), field(package, "Version")) == ("homeport", VERSION)
    depends = field(package, "Depends").split(", ")
    # The bundled libraries are made for one minor version of Python.
    assert depends[:3] == ["python3 (>= 3.11)", "python3 (<< 3.12)", "adduser"]
    assert any(each.startswith("libc6 (>= ") for each in depends)
    assert int(field(package, "Installed-Size")) < INSTALLED_MIB_MAX * 1024


def test_all_of_the_program_is_in_it(inside: dict[str, Entry]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *OURS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {
        name for name in listed.stdout.split() if (ROOT / name).is_file() and not name.endswith("DESIGN.md")
    }
    assert {name for name in expected if f"{SITE}/{name}" not in inside} == set()
    for name in expected:
        if name.endswith(".py"):
            folder, _, module = name.rpartition("/")
            assert f"{SITE}/{folder}/__pycache__/{module.removesuffix('.py')}.cpython-311.pyc" in inside, name


LEFT_OUT = {"pip", "psycopg-binary", "typer", "rich", "markdown-it-py", "mdurl", "pygments", "shellingham"}
"""Tools, and libpq, which Debian has (scripts/package says why)."""


def test_every_locked_distribution_is_in_it_and_named_with_its_licence(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    found = {
        re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(): each.version
        for each in distributions(path=[str(tmp_path) + SITE])
    }
    locked = {}
    for name, version, marker in re.findall(
        r"(?m)^([a-z0-9-]+)(?:\[.*\])?==(\S+)(?: ; (.*?))? \\$", (ROOT / "requirements.lock").read_text()
    ):
        if marker in ("", "python_full_version < '3.12'", "implementation_name != 'PyPy'"):
            locked[name] = version
    assert found == {name: version for name, version in locked.items() if name not in LEFT_OUT}
    licences = (tmp_path / "usr/share/doc/homeport/copyright").read_text()
    for name, version in found.items():
        assert re.search(rf"(?mi)^  {name.replace('-', '[-_.]')} {re.escape(version)}: \S", licences), name
    for name in ("htmx", "pico", "uPlot"):
        assert f"{name} " in licences
    assert (ROOT / "LICENSE").read_text().strip() in licences


def test_nothing_of_the_build_and_no_test_is_in_it(
    inside: dict[str, Entry], package: Path, tmp_path: Path
) -> None:
    for path in inside:
        assert not re.search(r"/(tests?|\.git|\.venv|var)(/|$)", path.removeprefix("/var")), path
        assert not path.endswith((".pyi", ".h", ".a", "/RECORD", "/direct_url.json", ".orig")), path
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    machine = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.is_symlink() and str(ROOT).encode() in path.read_bytes()
    ]
    assert machine == []


def test_modes_and_owners_are_those_of_a_system(inside: dict[str, Entry]) -> None:
    for entry in inside.values():
        assert entry.owner == "root/root", entry
        allowed = {"drwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"}
        if entry.path.startswith("/usr/bin/"):
            allowed = {"-rwxr-xr-x"}
        elif entry.path == "/etc/homeport/homeport.toml":
            allowed = {"-rw-r-----"}
        assert entry.mode in allowed, entry
    assert inside["/usr/lib/homeport/bin/python3"].target == "../../../bin/python3.11"
    # Made at installation, so that removing can't take it away.
    assert "/var" not in inside


def test_the_configuration_has_the_defaults_and_shows_them(package: Path, tmp_path: Path) -> None:
    control = tmp_path / "control"
    subprocess.run(["dpkg-deb", "--control", package, control], check=True)
    assert (control / "conffiles").read_text() == "/etc/homeport/homeport.toml\n"
    shipped = PACKAGING / "homeport.toml"
    text = shipped.read_text()
    assert tomllib.loads(text) == {"node": {}, "broker": {}, "devices": {}, "ui": {}}
    # With every "# " before a key taken off it says the same.
    shown = tmp_path / "shown.toml"
    shown.write_text(re.sub(r"(?m)^# (?=[a-z_]+ = )", "", text))
    assert set(tomllib.loads(shown.read_text())["broker"]) == {"tls_bind", "tcp_bind"}
    config, defaults = load(shown, {}), Config()
    assert (config.node, config.broker) == (defaults.node, defaults.broker)
    assert (config.devices, config.ui) == (defaults.devices, defaults.ui)
    # Whatever is readable on the wire stays on this machine until somebody decides otherwise.
    assert defaults.broker.tcp_bind is not None
    assert defaults.broker.tcp_bind.host == "127.0.0.1"
    assert defaults.broker.ws_bind is None


def test_the_scripts_are_sound(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--control", package, tmp_path / "control"], check=True)
    scripts = [tmp_path / "control" / name for name in ("preinst", "postinst", "prerm", "postrm")]
    done = subprocess.run(["shellcheck", *scripts, PACKAGING / "homeport"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert all("@VERSION@" not in script.read_text() for script in scripts)


@pytest.mark.long
def test_lintian_finds_nothing(package: Path) -> None:
    done = subprocess.run(["lintian", "--allow-root", package], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.long
def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    """From folders with different names, so that no path is in it either."""
    one, other = (
        build(tmp_path / name, epoch=1_790_000_000) for name in ("one", "elsewhere-with-another-name")
    )
    # By hash: what pytest would show of 43 MB that differ takes hours.
    assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()
