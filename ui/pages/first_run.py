"""The steps after the box has an owner: the site, its storage, the first device. Each is an address and a form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.clock_state import clock_state
from appliance.core.errors import HomeportError
from appliance.management.site_settings import SITE_SETTINGS
from ui.pages.first_run_progress import note_done, step_after
from ui.pages.looks import CLOCK
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.storage_estimate import BLOCK_BYTES, RECORD_BYTES, ROW_BYTES, Load, estimate
from ui.pages.storage_facts import storage_facts
from ui.problem import status_of
from ui.site import CHANGE_ACTION, checked, read_settings, time_zones, write_settings

FIRST_DEVICE_URL: Final = "/devices/new?first=1"
DEFAULT_LOAD: Final = Load(messages_per_minute=600, payload_bytes=100, value_count=5)
LOAD_BOUNDS: Final = {
    "messages_per_minute": (1, 60_000_000),
    "payload_bytes": (1, 1 << 20),
    "value_count": (0, 1_000),
}
"""A million messages a second; a payload of 1 MiB."""


async def show_site(shell: Shell, request: Request) -> Response:
    """`GET /setup/site`."""
    return await _site_page(shell, request, await shell.services.catalog.read(read_settings))


async def site(shell: Shell, request: Request) -> Response:
    """`POST /setup/site` with a field for each of the site's settings: keeps them and goes on."""
    form = await form_of(request)
    chosen = {key: form[key] for key in SITE_SETTINGS if key in form}
    try:
        values = checked(chosen)
        await shell.write(request, CHANGE_ACTION, lambda catalog: write_settings(catalog, values))
    except HomeportError as error:
        typed = {**await shell.services.catalog.read(read_settings), **chosen}
        return await _site_page(shell, request, typed, status=status_of(error), problem=problem_text(error))
    return await _go_on(shell, request, "site")


async def show_storage(shell: Shell, request: Request) -> Response:
    """`GET /setup/storage?messages_per_minute=N&payload_bytes=N&value_count=N`: the disk, and how long it lasts."""
    config, facts = shell.services.config, await storage_facts(shell.services)
    # What was measured holds for the messages of this site at their rate; whoever asks about others gets the formula.
    is_measured = not request.query_params and facts.log_bytes_per_message is not None
    rate_now = round(shell.services.live.message_rate * 60)
    default = (
        replace(DEFAULT_LOAD, messages_per_minute=rate_now) if is_measured and rate_now else DEFAULT_LOAD
    )
    load = load_of(request.query_params.get, default)
    return await shell.render(
        request,
        "first_run_storage.html",
        title="Storage",
        facts=facts,
        load=load,
        bounds=LOAD_BOUNDS,
        is_measured=is_measured,
        estimate=estimate(
            load,
            facts.disk,
            linger_ms=config.log.linger_ms,
            log_bytes_per_message=facts.log_bytes_per_message if is_measured else None,
            bytes_per_row=facts.bytes_per_row,
        ),
        log=config.log,
        store=config.store,
        record_bytes=RECORD_BYTES,
        block_bytes=BLOCK_BYTES,
        row_bytes=ROW_BYTES,
    )


async def storage(shell: Shell, request: Request) -> Response:
    """`POST /setup/storage`: seen; goes on."""
    return await _go_on(shell, request, "storage")


async def show_device(shell: Shell, request: Request) -> Response:
    """`GET /setup/device`: the page that registers a device, as a step."""
    del shell, request
    return RedirectResponse(FIRST_DEVICE_URL, 303)


async def skip_device(shell: Shell, request: Request) -> Response:
    """`POST /setup/device`: no device now; the box is set up."""
    return await _go_on(shell, request, "device")


def load_of(get: Callable[[str], str | None], default: Load = DEFAULT_LOAD) -> Load:
    """The load that a query asks about; what is no number or out of bounds is the default or the nearest bound."""
    found: dict[str, int] = {}
    for name, (low, high) in LOAD_BOUNDS.items():
        text = (get(name) or "").strip()
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
        found[name] = getattr(default, name) if number is None else min(high, max(low, number))
    return Load(**found)


async def _go_on(shell: Shell, request: Request, key: str) -> Response:
    await shell.write(request, "setup.step", lambda catalog: note_done(catalog, key))
    return RedirectResponse(step_after(key), 303)


async def _site_page(
    shell: Shell, request: Request, values: dict[str, str], *, status: int = 200, problem: str = ""
) -> Response:
    return await shell.render(
        request,
        "first_run_site.html",
        status=status,
        title="Your site",
        problem=problem,
        values=values,
        settings=SITE_SETTINGS,
        zones=by_region(time_zones()),
        clock=CLOCK[clock_state()],
        guess=True,
    )


def by_region(zones: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Time zones by their first part, in order, for a list of lists; UTC alone in front."""
    groups: dict[str, list[str]] = {}
    for zone in zones:
        groups.setdefault(zone.partition("/")[0], []).append(zone)
    return list(groups.items())
