"""Options that the simulator's verbs share, and what they mean."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from device_fw_sim import credentials, scenario
from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.enrol import Enroller
from device_fw_sim.errors import OptionsError
from device_fw_sim.events import HARDWARE
from device_fw_sim.faults import FaultKind, FaultRequest, parse_request
from device_fw_sim.fitting import FirmwareOptions, load_trust
from device_fw_sim.limits import BLOCK_BYTES, BLOCK_BYTES_MAX, BLOCK_BYTES_MIN
from device_fw_sim.load.options import Credential
from device_fw_sim.verify import Trust

CLAIM_LENGTH_MAX = 256
_F = TypeVar("_F", bound=Callable[..., Any])


def broker_options(function: _F) -> _F:
    """Where the broker is, who the devices are, how to report: the same for every verb."""
    for option in reversed(
        (
            click.option("--host", default="127.0.0.1", show_default=True, help="Where the broker listens."),
            click.option(
                "--port", type=click.IntRange(1, 65_535), help="1883, or 8883 with TLS, by default."
            ),
            click.option("--tls", is_flag=True, help="Speak TLS."),
            click.option(
                "--ca", "ca_file", type=click.Path(dir_okay=False), help="PEM to check the certificate with."
            ),
            click.option("--insecure", is_flag=True, help="Don't check the certificate (loopback only)."),
            click.option(
                "--credentials",
                "credentials_file",
                metavar="FILE",
                help='JSON {"username", "password"} or a list of them, mode 0600; - reads standard input. Without it: '
                "HOMEPORT_SIM_USERNAME and HOMEPORT_SIM_PASSWORD.",
            ),
            click.option("--json", "as_json", is_flag=True, help="The summary as JSON on standard output."),
        )
    ):
        function = option(function)
    return function


def run_options(function: _F) -> _F:
    """Pace, length and faults: the same for one device and for fleets."""
    for option in reversed(
        (
            click.option(
                "--rate", type=click.FloatRange(0.0001, 1_000), default=0.2, show_default=True,
                help="Readings per second of each device.",
            ),
            click.option("--duration", "duration_s", type=click.FloatRange(0.1), help="Seconds; until stopped by default."),
            click.option("--drain", "drain_s", type=click.FloatRange(0), default=10.0, show_default=True,
                         help="Seconds to deliver what is left at the end."),
            click.option("--keep-alive", "keep_alive_s", type=click.IntRange(1, 65_535), default=30, show_default=True),
            click.option("--fault", "fault_texts", multiple=True, metavar="NAME:COUNT",
                         help=", ".join(kind.value for kind in FaultKind) + "."),
            click.option("--scenario", "scenario_file", type=click.Path(dir_okay=False, path_type=Path),
                         help="JSON file of faults with their times."),
            click.option("--topic", default="dm/{device}/telemetry", show_default=True),
            click.option("--seed", type=int, default=1, show_default=True, help="Everything random comes from it."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


def firmware_options(function: _F) -> _F:
    """Devices that take updates: the same for one device and for fleets."""
    for option in reversed(
        (
            click.option("--firmware", "has_firmware", is_flag=True,
                         help="Devices take updates, have a twin and obey commands."),
            click.option("--firmware-version", default="1.4.2", show_default=True,
                         help="What they run before their first update."),
            click.option("--hardware", default=HARDWARE, show_default=True, help="What images have to fit."),
            click.option("--epoch", type=click.IntRange(0, 1_000_000), default=0, show_default=True),
            click.option("--trust", "trust_file", type=click.Path(dir_okay=False, path_type=Path),
                         help='Keys that images must be signed by: JSON {"threshold": 1, "keys": {"id": "base64"}}.'),
            click.option("--blocks", "block_form", type=click.Choice(["json", "cbor"]), default="json",
                         show_default=True, help="Form of blocks over MQTT."),
            click.option("--block-bytes", type=click.IntRange(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX),
                         default=BLOCK_BYTES, show_default=True),
            click.option("--https-port", type=click.IntRange(1, 65_535),
                         help="Get images over HTTPS from this port instead."),
            click.option("--flash", "flash_folder", type=click.Path(file_okay=False, path_type=Path),
                         help="Where devices keep their flash over the end of this process."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


def firmware(options: dict[str, Any]) -> FirmwareOptions | None:
    """What devices are that take updates; None where that was not asked for. Raises OptionsError."""
    if not options["has_firmware"]:
        return None
    return FirmwareOptions(
        version=options["firmware_version"],
        hardware=options["hardware"],
        epoch=options["epoch"],
        trust=Trust() if options["trust_file"] is None else load_trust(options["trust_file"]),
        block_bytes=options["block_bytes"],
        is_cbor=options["block_form"] == "cbor",
        https_port=options["https_port"],
        folder=options["flash_folder"],
    )


def load_credentials(options: dict[str, Any]) -> tuple[Credential, ...]:
    """Credentials from where the options say; errors as `credentials.load`."""
    return credentials.load(options["credentials_file"], os.environ)


def broker_address(options: dict[str, Any], *, mqtt_version: Any) -> BrokerAddress:
    """Where the options say that the broker is."""
    return BrokerAddress(
        host=options["host"],
        port=options["port"] or (8883 if options["tls"] else 1883),
        tls=options["tls"],
        ca_file=options["ca_file"],
        tls_verify=not options["insecure"],
        mqtt_version=mqtt_version,
    )


def enrolled(options: dict[str, Any], *, say: Callable[[str], None]) -> dict[str, str]:
    """Devices that have come in by a claim: their ids, and the files of their keys and certificates; {} where none were asked for.

    Raises:
        OptionsError: --claim stands without --tls or --identity, or its file can't be used. EnrolmentRefused: as `Enroller.all`.
    """
    source, folder = options["claim_file"], options["identity_folder"]
    if source is None and folder is None:
        return {}
    if source is None or folder is None or not options["tls"]:
        raise OptionsError(
            "--claim, --identity and --tls belong together.",
            hint="Give all three: the claim's token is a secret, and so are the keys.",
        )
    text = (
        sys.stdin.readline(CLAIM_LENGTH_MAX)
        if source == credentials.STANDARD_INPUT
        else credentials.read_private(Path(source))
    )
    enroller = Enroller(
        broker=broker_address(options, mqtt_version=4), claim=text.strip(), folder=folder, say=say
    )
    serials = [f"sim-{index + 1}" for index in range(options["devices"] or 1)]
    identities = trio.run(enroller.all, serials)
    return {each.device_id: str(each.path) for each in identities}


def faults(options: dict[str, Any]) -> tuple[FaultRequest, ...]:
    """Faults of --fault and of --scenario together."""
    requested = tuple(parse_request(text) for text in options["fault_texts"])
    if options["scenario_file"] is not None:
        requested += scenario.load(options["scenario_file"])
    return requested


def interval_ms(rate: float) -> int:
    """Between two readings at a rate, ms, 1 or more."""
    return max(round(1_000 / rate), 1)


def speed(text: str) -> float:
    """A number, or infinity for max.

    Raises:
        OptionsError: It is neither.
    """
    if text == "max":
        return float("inf")
    try:
        return float(text)
    except ValueError:
        raise OptionsError(f"{text!r} is no speed.", hint="Give a number such as 60, or max.") from None
