"""Real broker processes on loopback: Homeport's, and mosquitto and amqtt as its peers, for interop tests and benchmarks.

Each is a context: started, waited for until it accepts connections, and ended with the block. Nothing of a machine's own
mosquitto is used or touched.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.core.clock import SystemClock
from appliance.core.config import load
from appliance.identity import tls
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from appliance.run.device_commands_stopped import OnCatalog
from appliance.run.first_run import prepare_folders
from device_fw_sim.load import Credential
from storage.catalog.catalog import Catalog
from tests.ports import free_port
from tests.waiting import Pause

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 12.0
ROOT = Path(__file__).resolve().parents[2]


class BrokerStartError(Exception):
    """A broker did not come up; its output is the message."""


@dataclass(slots=True, kw_only=True)
class LiveBroker:
    """A broker that accepts connections on 127.0.0.1.

    Attributes:
        port, tls_port: Its listeners.
        ca_file: What its certificate is checked against.
        credentials: Who may connect; empty when anybody may.
        folder: Its configuration and data.
    """

    name: str
    port: int
    tls_port: int
    ca_file: Path
    folder: Path
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    credentials: tuple[Credential, ...] = ()
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id while it runs."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until both listeners accept.

        Raises:
            BrokerStartError: It ended, or didn't accept within 20 s.
        """
        output = self.folder / f"{self.name}.log"
        with output.open("ab") as sink:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        deadline, pause = time.monotonic() + START_DEADLINE_S, Pause()
        for port in filter(None, (self.port, self.tls_port)):
            while not _accepts(port):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise BrokerStartError(f"{self.name} did not come up:\n{self.output()[-4000:]}")
                pause()

    def stop(self) -> None:
        """SIGTERM and wait; SIGKILL when that isn't enough."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def output(self) -> str:
        """Everything it has printed."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def cpu_s(self) -> float:
        """CPU time of the process so far, seconds."""
        fields_ = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields_[11]) + int(fields_[12])) / os.sysconf("SC_CLK_TCK")


def pinned(core: int | str | None, command: Sequence[str]) -> list[str]:
    """A command on one core or a list of them as taskset takes it, or on any when None."""
    return list(command) if core is None else ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def mosquitto(
    folder: Path,
    *,
    credentials: Sequence[Credential] = (),
    core: int | None = None,
    persistence: bool = False,
    tls_listener: bool = True,
    port: int | None = None,
    settings: str = "",
) -> Iterator[LiveBroker]:
    """Debian's mosquitto with a configuration of its own.

    In-flight and queue limits are lifted and TCP_NODELAY is set, so that what is measured is mosquitto at its best.

    Args:
        port: Where it listens; a free port when None.
        settings: More lines of mosquitto.conf.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = make_certificate(folder)
    port, tls_port = port or free_port(), free_port() if tls_listener else 0
    lines = [
        "per_listener_settings false",
        f"user {getpass.getuser()}",
        "log_dest stderr",
        "log_type error",
        "max_inflight_messages 0",
        "max_queued_messages 0",
        "set_tcp_nodelay true",
        f"persistence {str(persistence).lower()}",
        f"persistence_location {folder}/",
    ]
    if credentials:
        passwords = folder / "passwords"
        passwords.write_text("".join(f"{each.username}:{each.password}\n" for each in credentials))
        passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
        lines += ["allow_anonymous false", f"password_file {passwords}"]
    else:
        lines.append("allow_anonymous true")
    lines.append(f"listener {port} 127.0.0.1")
    if tls_port:
        lines += [f"listener {tls_port} 127.0.0.1", f"certfile {certificate}", f"keyfile {key}"]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n" + settings)
    broker = LiveBroker(
        name="mosquitto",
        port=port,
        tls_port=tls_port,
        ca_file=certificate,
        folder=folder,
        command=pinned(core, [_program("mosquitto"), "-c", str(config)]),
        credentials=tuple(credentials),
    )
    with _running(broker):
        yield broker


@contextlib.contextmanager
def homeport(
    folder: Path,
    *,
    devices: Sequence[str] = ("interop",),
    access: str = "site",
    core: int | None = None,
    settings: str = "",
    port: int | None = None,
    module: str = "appliance.run.broker_process",
) -> Iterator[LiveBroker]:
    """Homeport's broker process, with its devices registered in a catalog of its own.

    Args:
        folder: Data and configuration.
        devices: Ids to register; the tokens are in `credentials`, in this order.
        access: "site" may publish and subscribe everywhere, "own" only below its own id.
        core: Core to pin the broker to.
        settings: More lines of homeport.toml: keys of [broker], then whole sections other than [node] and [broker].
        port: Where it listens; a free port when None.
        module: What is run: the broker's process, or one that is like it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, tls_port = port or free_port(), free_port()
    path = folder / "homeport.toml"
    path.write_text(
        f"""[node]
name = "bench"
data_dir = "{folder / "data"}"
run_dir = "{folder / "run"}"
[broker]
tcp_bind = "127.0.0.1:{port}"
tls_bind = "127.0.0.1:{tls_port}"
connections_max = 12_000
connect_rate_per_address_max = 100_000
connections_per_address_max = 100_000
connections_per_application_max = 100_000
receive_maximum = 65_535
{settings}
"""
    )
    credentials, ca_file = provision(path, devices, access)
    broker = LiveBroker(
        name="homeport",
        port=port,
        tls_port=tls_port,
        ca_file=ca_file,
        folder=folder,
        command=pinned(core, [sys.executable, "-m", module]),
        environment={"HOMEPORT_CONFIG": str(path)},
        credentials=credentials,
    )
    with _running(broker):
        yield broker


def provision(config_path: Path, devices: Sequence[str], access: str) -> tuple[tuple[Credential, ...], Path]:
    """Make keys, certificate and catalog of a new data folder.

    Returns:
        Credentials of the devices, and the path of the certificate.
    """
    config = load(config_path, {})
    prepare_folders(config)
    clock = SystemClock()
    keys = SiteKeys.load_or_create(config.node.data_dir)
    identity = tls.load_or_create(
        config.node.data_dir,
        keys,
        node_name="bench",
        clock=clock,
        names=("localhost",),
        addresses=("127.0.0.1",),
    )
    catalog = Catalog.open(layout.catalog(config), clock=clock, node_id=keys.node_id)
    try:
        commands = OnCatalog(catalog, keys, clock=clock)
        with catalog.transaction():
            # Load comes from programs; what one device may do at most is another matter.
            kind = "application" if access == "site" else "device"
            made = [commands.add(each, kind=kind, access=access, name="", tags=()) for each in devices]
    finally:
        catalog.close()
    credentials = tuple(Credential(username=row["device_id"], password=row["token"]) for row in made)
    return credentials, identity.certificate_path


@contextlib.contextmanager
def amqtt(folder: Path, *, core: int | None = None) -> Iterator[LiveBroker]:
    """amqtt's own broker, without passwords."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, _ = make_certificate(folder)
    port = free_port()
    config = folder / "amqtt.yaml"
    config.write_text(
        f"""listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
    max_connections: 12000
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""
    )
    program = Path(sys.executable).with_name("amqtt")
    broker = LiveBroker(
        name="amqtt",
        port=port,
        tls_port=0,
        ca_file=certificate,
        folder=folder,
        command=pinned(core, [str(program), "-c", str(config)]),
    )
    with _running(broker):
        yield broker


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed P-256 certificate for 127.0.0.1 and localhost: paths of certificate and key, PEM."""
    certificate_path, key_path = folder / "test.crt", folder / "test.key"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=7))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate_path, key_path


@contextlib.contextmanager
def _running(broker: LiveBroker) -> Iterator[None]:
    broker.start()
    try:
        yield
    finally:
        broker.stop()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BrokerStartError(
            f"{name} isn't installed. On Debian: apt-get install mosquitto mosquitto-clients"
        )
    return found
