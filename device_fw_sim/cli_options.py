"""Options that the simulator's verbs share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from device_fw_sim import credentials, scenario
from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.errors import OptionsError
from device_fw_sim.faults import FaultRequest, parse_request
from device_fw_sim.load.options import Credential

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
                         help="silent, drop-out, stuck, spike, clock-wrong, garbage, reconnect-loop."),
            click.option("--scenario", "scenario_file", type=click.Path(dir_okay=False, path_type=Path),
                         help="JSON file of faults with their times."),
            click.option("--topic", default="dm/{device}/telemetry", show_default=True),
            click.option("--seed", type=int, default=1, show_default=True, help="Everything random comes from it."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


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
