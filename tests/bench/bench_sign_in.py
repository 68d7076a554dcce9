"""A site comes back: each device with a token, or a certificate, of its own, all at once; when the last one is in.

Unlike `storm`, whose clients share one credential, each is looked up by itself, and those with certificates do the whole of TLS with
client authentication, no session resumed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.core.clock import SystemClock
from appliance.core.config import load
from appliance.identity.ca import SiteCa, random_serial
from appliance.identity.ca_certificates import device_certificate, ms
from appliance.identity.csr import key_fingerprint
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from storage.catalog.catalog import Catalog
from tests.bench import harness
from tests.bench.bench_storm import clients, read_line
from tests.bench.harness import BROKER_CORE, Goal
from tests.interop import brokers
from tests.interop.brokers import LiveBroker

SIGNED_IN_S_WANTED: Final = 60.0
GIVE_UP_S: Final = 180.0
SEED: Final = 20261127


@click.command("sign-in")
@click.option("--tokens", default=10_000, show_default=True, type=click.IntRange(0, 10_000))
@click.option("--certificates", default=2_000, show_default=True, type=click.IntRange(0, 10_000))
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def sign_in(tokens: int, certificates: int, data: Path | None, json_path: Path | None) -> None:
    """Devices with credentials of their own connect at once: seconds until all are signed in, and the broker's CPU."""
    with harness.data_folder(data) as folder:
        machine = harness.machine(folder)
    results, goals = [], []
    for kind, count in (
        ("tokens over TCP", tokens),
        ("tokens over TLS", tokens),
        ("certificates", certificates),
    ):
        if not count:
            continue
        with harness.data_folder(data) as folder:
            result = measure(folder, kind, count, core=BROKER_CORE)
        served = result["served"]
        click.echo(
            f"{count} with {kind}: {served['served']} signed in in {served['served_s']:.1f} s, "
            f"failed attempts {served['failures'] or 'none'}; "
            f"broker CPU {result['broker_cpu_s']:.1f} s, {1000 * result['broker_cpu_s'] / count:.2f} ms each"
        )
        results.append({"kind": kind, "count": count, **result})
        goals.append(
            Goal(
                what=f"{count} devices with {kind} signed in, s",
                value=round(served["served_s"], 1),
                wanted=SIGNED_IN_S_WANTED,
                reached=served["served"] == count and served["served_s"] <= SIGNED_IN_S_WANTED,
            )
        )
    harness.finish("sign-in", {"machine": machine, "results": results}, goals, json_path)


def measure(
    folder: Path, kind: str, count: int, *, core: int | None = None, give_up_s: float = GIVE_UP_S
) -> dict[str, Any]:
    """All devices of one kind, on a broker of their own.

    Args:
        core: Core to pin the broker to.
        give_up_s: When they stop trying.
    Returns:
        What `storm_clients.Storm.run` gives, as `served`, and the broker's CPU seconds meanwhile.
    """
    names = [f"device-{number:05}" for number in range(count)]
    with brokers.homeport(folder, devices=names, access="own", core=core) as broker:
        options: dict[str, Any] = {
            "host": broker.host,
            "port": broker.port if kind == "tokens over TCP" else broker.tls_port,
            "tls": kind != "tokens over TCP",
            "ca_file": str(broker.ca_file),
            "username": "",
            "password": "",
            "count": count,
            "seed": SEED,
            "give_up_s": give_up_s,
            "think_s": 0,
        }
        if kind == "certificates":
            options["certificates"] = [str(path) for path in issue(broker, names)]
        else:
            options["logins"] = [[each.username, each.password] for each in broker.credentials]
        before_s = broker.cpu_s()
        with clients("storm", options) as comers:
            served = json.loads(read_line(comers))
            return {"served": served, "broker_cpu_s": broker.cpu_s() - before_s}


def issue(broker: LiveBroker, names: Sequence[str]) -> list[Path]:
    """A certificate of the site's authority for each device, with its key and chain in one file; the broker trusts it then."""
    config = load(Path(broker.environment["HOMEPORT_CONFIG"]), {})
    clock = SystemClock()
    keys = SiteKeys.load_or_create(config.node.data_dir)
    authority = SiteCa.load_or_create(config.node.data_dir, keys, clock=clock)
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    end = begin + dt.timedelta(days=90)
    folder = broker.folder / "devices"
    folder.mkdir()
    paths = []
    catalog = Catalog.open(layout.catalog(config), clock=clock, node_id=keys.node_id)
    try:
        with catalog.transaction():
            for name in names:
                key = ec.generate_private_key(ec.SECP256R1())
                serial = random_serial()
                certificate = device_certificate(
                    authority.key,
                    authority.issuing,
                    key.public_key(),
                    device_id=name,
                    serial=serial,
                    begin=begin,
                    end=end,
                )
                catalog.add_certificate(
                    f"{serial:x}",
                    device_id=name,
                    fingerprint=certificate.fingerprint(SHA256()).hex(),
                    key_hash=key_fingerprint(key.public_key()).hex(),
                    issuer_key_id=authority.key_id,
                    issued_by="cli",
                    not_before_at_ms=ms(begin),
                    not_after_at_ms=ms(end),
                )
                path = folder / f"{name}.pem"
                path.touch(mode=0o600)
                path.write_bytes(
                    key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                    + certificate.public_bytes(Encoding.PEM)
                    + authority.chain_pem
                )
                paths.append(path)
    finally:
        catalog.close()
    return paths
