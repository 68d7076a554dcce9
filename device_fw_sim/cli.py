"""Verbs of the simulator: `python -m device_fw_sim …` and, from an installed Homeport, `homeport sim …`.

Exit codes: 0 everything sent was acknowledged; 1 something sent was not; 2 the options can't be used; 3 the broker could
not be reached or refused.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
import trio

from device_fw_sim import recording
from device_fw_sim.cli_options import (
    broker_address,
    broker_options,
    enrolled,
    faults,
    firmware,
    firmware_options,
    interval_ms,
    load_credentials,
    run_options,
    speed,
)
from device_fw_sim.errors import LoadFailed, OptionsError, SimError
from device_fw_sim.events import HARDWARE
from device_fw_sim.fleet import Fleet, FleetOptions
from device_fw_sim.image import SIZE_BYTES_MIN, Behaviour, Header, build
from device_fw_sim.limits import IMAGE_BYTES_MAX
from device_fw_sim.load import Credential, LoadOptions, run_load
from device_fw_sim.replay import ReplayOptions, replay
from device_fw_sim.report import SimReport
from device_fw_sim.samplers import Timestamps

EXIT_LOSS, EXIT_USAGE, EXIT_BROKER = 1, 2, 3
_PROGRESS_S = 10.0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def sim() -> None:
    """Simulated devices: one, a fleet, or a recording played back."""


@sim.command()
@broker_options
@run_options
@firmware_options
def one(*, as_json: bool, **options: Any) -> None:
    """One device on amqtt's MQTT client (an independent protocol stack, MQTT 3.1.1)."""
    from device_fw_sim.one import OneDevice, OneOptions

    def run() -> SimReport:
        known = load_credentials(options)
        device = OneDevice(
            OneOptions(
                broker=broker_address(options, mqtt_version=4),
                credential=known[0] if known else None,
                device_id=known[0].username if known else "sim-1",
                interval_ms=interval_ms(options["rate"]),
                duration_s=options["duration_s"],
                drain_s=options["drain_s"],
                keep_alive_s=options["keep_alive_s"],
                telemetry_topic=options["topic"],
                faults=faults(options),
                firmware=firmware(options),
                seed=options["seed"],
            )
        )

        async def main() -> SimReport:
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, device.stop.set)
            return await device.run()

        return asyncio.run(main())

    _report(run, as_json=as_json)


@sim.command()
@broker_options
@run_options
@firmware_options
@click.option(
    "--devices", type=click.IntRange(1, 10_000), help="As many as there are credentials by default."
)
@click.option("--ramp", "ramp_s", type=click.FloatRange(0), default=0.0, show_default=True,
              help="Seconds over which the devices are switched on.")  # fmt: skip
@click.option("--mqtt", "mqtt_version", type=click.Choice(["3.1.1", "5"]), default="5", show_default=True)
@click.option("--claim", "claim_file", metavar="FILE",
              help="File of mode 0600 with a claim's token, or - for standard input: the devices come in by it over TLS.")  # fmt: skip
@click.option("--identity", "identity_folder", type=click.Path(file_okay=False, path_type=Path),
              help="Where devices that come in by a claim keep their keys and certificates.")  # fmt: skip
def fleet(*, as_json: bool, **options: Any) -> None:
    """Many devices in one process, one for each credential, or as many as --devices that come in by a claim."""

    def run() -> SimReport:
        certificates = enrolled(options, say=(lambda _text: None) if as_json else click.echo)
        if certificates:
            options["credentials_file"], options["devices"] = None, None
        known = (
            tuple(Credential(username=device_id, password="") for device_id in certificates)
            or load_credentials(options)
            or tuple(
                Credential(username=f"sim-{index + 1}", password="")
                for index in range(options["devices"] or 10)
            )
        )
        if options["devices"] is not None:
            if options["devices"] > len(known):
                raise OptionsError(
                    f"{options['devices']} devices but {len(known)} credentials.",
                    hint="Add devices, or ask for fewer.",
                )
            known = known[: options["devices"]]
        fleet_options = FleetOptions(
            broker=broker_address(options, mqtt_version=5 if options["mqtt_version"] == "5" else 4),
            credentials=known,
            certificates=certificates,
            interval_ms=interval_ms(options["rate"]),
            duration_s=options["duration_s"],
            ramp_s=options["ramp_s"],
            drain_s=options["drain_s"],
            keep_alive_s=options["keep_alive_s"],
            telemetry_topic=options["topic"],
            faults=faults(options),
            firmware=firmware(options),
            seed=options["seed"],
        )

        async def main() -> SimReport:
            running = Fleet(fleet_options)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, running.stop)
                if not as_json:
                    nursery.start_soon(_show_progress, running)
                report = await running.run()
                nursery.cancel_scope.cancel()
            return report

        return trio.run(main)

    _report(run, as_json=as_json)


@sim.command("replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@broker_options
@click.option("--device", "device_id", help="Device id; the user name of the credentials by default.")
@click.option("--metric", help="Name of the value; the file's name by default.")
@click.option("--speed", default="1", show_default=True, help="Times faster than recorded, or max.")
@click.option("--timestamps", type=click.Choice([each.value for each in Timestamps]), default="shifted", show_default=True,
              help="Time that the readings carry: when played, as recorded, or none.")  # fmt: skip
@click.option("--topic", default="dm/{device}/telemetry", show_default=True)
@click.option("--mqtt", "mqtt_version", type=click.Choice(["3.1.1", "5"]), default="5", show_default=True)
def replay_command(*, as_json: bool, file: Path, **options: Any) -> None:
    """Play a recording (CSV of timestamp,value) as the readings of one device."""

    def run() -> SimReport:
        known = load_credentials(options)
        replay_options = ReplayOptions(
            broker=broker_address(options, mqtt_version=5 if options["mqtt_version"] == "5" else 4),
            credential=known[0] if known else None,
            path=file,
            device_id=options["device_id"] or (known[0].username if known else "replay"),
            metric=options["metric"] or file.stem,
            speed=speed(options["speed"]),
            timestamps=Timestamps(options["timestamps"]),
            telemetry_topic=options["topic"],
        )

        recording.check(file)

        async def main() -> SimReport:
            stop = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, stop)
                report = await replay(replay_options, stop)
                nursery.cancel_scope.cancel()
            return report

        return trio.run(main)

    _report(run, as_json=as_json)


@sim.command()
@click.argument("options_file", metavar="FILE", default="-")
def load(options_file: str) -> None:
    """Load generator: options as JSON from FILE or standard input, report as JSON on standard output.

    The keys are those of device_fw_sim.load.LoadOptions.
    """
    try:
        text = sys.stdin.read() if options_file == "-" else Path(options_file).read_text(encoding="utf-8")
        known = {field.name for field in fields(LoadOptions)}
        given = msgspec.json.decode(text, type=dict[str, Any])
        if unknown := set(given) - known:
            raise OptionsError(
                f"Unknown option {min(unknown)!r}.", hint=f"Known: {', '.join(sorted(known))}."
            )
        options = msgspec.convert(given, LoadOptions)
    except (msgspec.ValidationError, msgspec.DecodeError, OSError) as error:
        _fail(OptionsError(f"{options_file}: {error}.", hint="Give one JSON object."), EXIT_USAGE)
    except SimError as error:
        _fail(error, EXIT_USAGE)
    try:
        report = run_load(options)
    except LoadFailed as error:
        click.echo(json.dumps(error.report.to_dict()))
        _fail(error, EXIT_LOSS)
    except OptionsError as error:
        _fail(error, EXIT_USAGE)
    except SimError as error:
        _fail(error, EXIT_BROKER)
    click.echo(json.dumps(report.to_dict()))


@sim.command("image")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--version", required=True, help="Version that it is.")
@click.option(
    "--hardware", multiple=True, default=[HARDWARE], show_default=True, help="What it fits; may be repeated."
)
@click.option(
    "--epoch", type=click.IntRange(0, 1_000_000), default=0, show_default=True, help="Security epoch."
)
@click.option("--behaviour", type=click.Choice([each.value for each in Behaviour]), default="good", show_default=True,
              help="What it does once it runs.")  # fmt: skip
@click.option("--after", "after_s", type=click.IntRange(0, 604_800), default=60, show_default=True,
              help="Seconds after the confirmation until `regress` falls back.")  # fmt: skip
@click.option("--size", "size_bytes", type=click.IntRange(SIZE_BYTES_MIN, IMAGE_BYTES_MAX), default=1_048_576, show_default=True,
              help="Bytes.")  # fmt: skip
def image_command(
    *, file: Path, behaviour: str, hardware: tuple[str, ...], size_bytes: int, **header: Any
) -> None:
    """Write a firmware image for simulated devices, good or bad, and say its digest."""
    try:
        made = build(
            Header(hw=list(hardware), behaviour=Behaviour(behaviour), **header), size_bytes=size_bytes
        )
        file.write_bytes(made.data)
    except OSError as error:
        _fail(
            OptionsError(f"{file} can't be written: {error.strerror}.", hint="Choose another file."),
            EXIT_USAGE,
        )
    except SimError as error:
        _fail(error, EXIT_USAGE)
    click.echo(made.sha256)


def main() -> None:
    """Entry point of `python -m device_fw_sim`."""
    sim(prog_name="device_fw_sim")


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for _ in received:
            stop.set()
            return


async def _show_progress(fleet: Fleet) -> None:
    while True:
        await trio.sleep(_PROGRESS_S)
        now = fleet.statistics()
        click.echo(
            f"{now.devices} devices, {now.acknowledged} of {now.sent} readings acknowledged, {now.dropped} dropped, "
            f"{now.reconnects} reconnects",
            err=True,
        )


def _report(run: Callable[[], SimReport], *, as_json: bool) -> None:
    """Run, print the summary, exit with the code that fits."""
    try:
        report = run()
    except OptionsError as error:
        _fail(error, EXIT_USAGE)
    except SimError as error:
        _fail(error, EXIT_BROKER)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        for name, value in report.to_dict().items():
            if name != "failures":
                click.echo(f"{name:>14}  {value}")
    for failure in report.failures:
        click.echo(f"Not everything went well: {failure}.", err=True)
    if not report.ok:
        sys.exit(EXIT_LOSS if report.connects else EXIT_BROKER)


def _fail(error: SimError, exit_code: int) -> NoReturn:
    click.echo(f"Error: {error}", err=True)
    sys.exit(exit_code)
