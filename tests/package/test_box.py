"""The package on a Debian machine without a network, under systemd: first value, upgrade, removal.

What the unit's sandbox forbids is forbidden here, so this is where it shows that Homeport can live in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.version import VERSION
from tests.package.box import Box, booted, until
from tests.package.building import contents

pytestmark = pytest.mark.long

DATA = "var/lib/homeport"
VALUE_S_MAX = 60
ASK = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/run/homeport/node.sock")
connection.request("GET", sys.argv[1])
answer = connection.getresponse()
print(answer.read().decode())
sys.exit(answer.status != 200)
"""


@pytest.fixture
def box() -> Iterator[Box]:
    if os.geteuid() != 0:
        pytest.skip("booting a machine needs root")
    # Not below pytest's folder: users of the machine must be able to walk through what is above its root.
    folder = Path(tempfile.mkdtemp(prefix="homeport-box-"))
    folder.chmod(0o755)
    try:
        with booted(folder) as found:
            (found.root / "opt/ask.py").write_text(ASK)
            yield found
    finally:
        shutil.rmtree(folder)


def install(box: Box, package: Path) -> str:
    shutil.copy(package, box.root / "opt" / package.name)
    # Without a sync for each file: the machine is thrown away.
    return box.run("dpkg", "--force-unsafe-io", "--install", f"/opt/{package.name}").stdout


def later(package: Path, folder: Path, version: str) -> Path:
    """The same package under another version."""
    tree = folder / version
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    for name in ("control", "preinst"):
        path = tree / "DEBIAN" / name
        path.write_text(re.sub(rf"\b{re.escape(VERSION)}\b", version, path.read_text()))
    made = folder / f"homeport_{version}.deb"
    subprocess.run(
        ["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", tree, made],
        check=True,
        capture_output=True,
    )
    return made


def publish(box: Box, token: str, celsius: float) -> None:
    options = f"-h 127.0.0.1 -p 8883 -q 1 -i pump-1 -u pump-1 -P {token} -t dm/pump-1/telemetry"
    certificate = box.root / DATA / "identity/tls.crt"
    message = json.dumps({"celsius": celsius})
    done = box.beside("mosquitto_pub", *options.split(), "--cafile", certificate, "-m", message)
    assert (done.returncode, done.stderr) == (0, "")


def newest(box: Box) -> dict[str, float]:
    """The newest value of each metric, as the API has it."""
    answer = json.loads(box.run("python3", "/opt/ask.py", "/api/v1/devices/pump-1/newest").stdout)
    return {value["metric"]: value["value"] for value in answer["values"]}


def page(box: Box, path: str) -> str:
    """What a browser gets, in the name of somebody who has compared the fingerprint."""
    done = box.beside(
        "curl", "--silent", "--show-error", "--fail", "--insecure", f"https://127.0.0.1:8443/{path}"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def owners(box: Box) -> set[str]:
    """Who owns what lies in the data folder, which nobody else may walk into."""
    folder = box.root / DATA
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (uid,) = re.findall(r"(?m)^homeport:[^:]*:(\d+):", (box.root / "etc/passwd").read_text())
    found = {path: path.lstat().st_uid for path in (folder, *folder.rglob("*"))}
    return {"homeport" if owner == int(uid) else f"user {owner}: {path}" for path, owner in found.items()}


def listening(box: Box) -> dict[int, str]:
    """Address of each TCP port that something listens at. Source: proc(5), /proc/net/tcp."""
    found = {}
    for line in box.run("cat", "/proc/net/tcp").stdout.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if state == "0A":
            address, _, port = local.partition(":")
            found[int(port, 16)] = ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))
    return found


def test_it_installs_without_a_network_and_serves_its_first_value(box: Box, package: Path) -> None:
    assert [
        line.split(":")[0].strip() for line in box.run("cat", "/proc/net/dev").stdout.splitlines()[2:]
    ] == ["lo"]
    said = install(box, package)
    assert "Homeport runs. As root, run 'homeport setup-code'" in said
    assert "Setup code" not in said, "the package manager logs what it says"
    assert box.property("ActiveState") == "active"
    assert box.property("UnitFileState") == "enabled"
    assert box.run("stat", "--format=%U", f"/proc/{box.property('MainPID')}").stdout == "homeport\n"

    shown = box.run("homeport", "setup-code").stdout
    assert re.search(r"(?m)^Open https://\S+:8443/$", shown)
    assert re.search(r"(?m)^Setup code \w{5}-\w{5} ", shown)
    fingerprint = re.search(r"(?m)^Certificate fingerprint \(SHA-256\) (\S+)$", shown)
    assert fingerprint is not None
    certificate = box.beside(
        "openssl", "x509", "-in", box.root / DATA / "identity/tls.pem", "-noout", "-fingerprint", "-sha256"
    )
    assert fingerprint[1] in certificate.stdout

    # Readable on the wire: this machine only. Everything else is TLS.
    ports = listening(box)
    assert ports[1883] == "127.0.0.1"
    assert {port for port, address in ports.items() if address != "127.0.0.1"} == {8443, 8444, 8883}
    # Templates and what they need are there too.
    assert "<form" in page(box, "setup")
    assert "--" in page(box, "static/app.css")

    token = json.loads(box.run("homeport", "device", "add", "pump-1", "--json").stdout)["token"]
    publish(box, token, 21.5)
    until(lambda: newest(box) == {"celsius": 21.5}, "the first value", VALUE_S_MAX)

    # All threads and questions that a sandbox can forbid have had their turn.
    checks = json.loads(box.run("homeport", "doctor", "--json", check=False).stdout)["checks"]
    assert [check for check in checks if check["result"] == "failed"] == []
    assert json.loads(box.run("homeport", "log", "verify", "--json").stdout)
    box.run("systemctl", "restart", "homeport")
    assert newest(box) == {"celsius": 21.5}
    assert owners(box) == {"homeport"}
    lines = [json.loads(line) for line in box.journal().splitlines() if line.startswith("{")]
    assert lines
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
    assert "Traceback" not in box.journal()


def test_it_is_upgraded_removed_installed_again_and_purged(box: Box, package: Path, tmp_path: Path) -> None:
    def files() -> set[str]:
        """What is there, but for what runs, logs and remembers packages."""
        apart = ["/var/log", "/var/lib/dpkg", "/var/lib/systemd", "/var/cache", "/tmp", "/var/tmp", "/opt"]
        pruned = " -o ".join(f"-path {path}" for path in apart)
        listed = box.run("find", "/", "-xdev", "(", *pruned.split(), ")", "-prune", "-o", "-print")
        return set(listed.stdout.splitlines())

    before = files()
    install(box, package)
    token = json.loads(box.run("homeport", "device", "add", "pump-1", "--json").stdout)["token"]
    publish(box, token, 1.5)
    until(lambda: newest(box) == {"celsius": 1.5}, "the value", VALUE_S_MAX)
    configuration = box.root / "etc/homeport/homeport.toml"
    about = configuration.stat()
    assert stat.S_IMODE(about.st_mode) == 0o640
    assert about.st_gid == (box.root / DATA).stat().st_gid
    configuration.write_text(configuration.read_text().replace('# name = "homeport"', 'name = "hall-3"'))

    # A configuration that can't be used is refused once, with its line, and not again every two seconds.
    good = configuration.read_text()
    configuration.write_text(good + "[nonsense]\n")
    assert box.run("systemctl", "restart", "homeport", check=False).returncode != 0
    assert (box.property("ActiveState"), box.property("ExecMainStatus")) == ("failed", "78")
    assert "nonsense" in box.journal()
    configuration.write_text(good)
    box.run("systemctl", "start", "homeport")

    # Upgrade: data and the changed configuration stay, the service is the new one.
    process = box.property("MainPID")
    install(box, later(package, tmp_path, f"{VERSION}+1"))
    assert box.property("ActiveState") == "active"
    assert box.property("MainPID") != process
    assert newest(box) == {"celsius": 1.5}
    assert 'name = "hall-3"' in configuration.read_text()
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o640

    # Back again: said, done, and the data is there.
    assert f"homeport: going back from {VERSION}+1 to {VERSION}." in install(box, package)
    assert newest(box) == {"celsius": 1.5}

    # What root does while it is stopped doesn't become root's.
    box.run("systemctl", "stop", "homeport")
    assert json.loads(box.run("homeport", "device", "add", "pump-2", "--json").stdout)["token"]
    box.run("homeport", "log", "scrub", "--now")
    box.run("homeport", "recovery-kit", "show")
    checks = json.loads(box.run("homeport", "doctor", "--json").stdout)["checks"]
    assert [check for check in checks if check["result"] == "failed"] == []
    assert owners(box) == {"homeport"}

    # One that was disabled stays stopped through an upgrade.
    box.run("systemctl", "disable", "homeport")
    install(box, package)
    assert (box.property("ActiveState"), box.property("UnitFileState")) == ("inactive", "disabled")
    box.run("systemctl", "enable", "homeport")
    box.run("systemctl", "start", "homeport")

    # Removed: the program goes, data and configuration stay. Installed again: it goes on.
    box.run("dpkg", "--remove", "homeport")
    assert not [
        path
        for path in contents(package)
        if path.startswith("/usr/lib/homeport") and (box.root / path[1:]).exists()
    ]
    assert (box.root / DATA / "catalog.db").exists()
    assert configuration.exists()
    assert "could not be found" in box.run("systemctl", "status", "homeport", check=False).stdout
    install(box, package)
    assert box.property("ActiveState") == "active"
    assert newest(box) == {"celsius": 1.5}
    publish(box, token, 2.5)
    until(lambda: newest(box) == {"celsius": 2.5}, "the next value", VALUE_S_MAX)

    # Purged: everything, but for the locked user.
    box.run("dpkg", "--purge", "homeport")
    assert files() - before <= {
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
        "/etc/subuid-",
        "/etc/subgid-",
    }
    assert before - files() == set()
    assert re.search(r"(?m)^homeport:[!*]", (box.root / "etc/shadow").read_text())
    assert re.search(r"(?m)^homeport:.*:/usr/sbin/nologin$", (box.root / "etc/passwd").read_text())
