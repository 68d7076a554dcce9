"""Settings: the site's own, changed here, and every key of the configuration, with where it is changed."""

from __future__ import annotations

import trio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.config import DEFAULT_PATH
from appliance.core.errors import HomeportError
from appliance.identity import recovery_kit
from appliance.identity.ca_certificates import fingerprint
from appliance.management.site_settings import SITE_SETTINGS
from ui.pages.first_run import by_region
from ui.pages.settings_facts import list_counts, setting_groups
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.views import Notice
from ui.problem import status_of
from ui.site import CHANGE_ACTION, checked, read_settings, time_zones, write_settings


async def show(shell: Shell, request: Request) -> Response:
    """`GET /settings`."""
    saved = request.query_params.get("saved") == "1"
    notice = Notice(tone="good", text="Saved. It holds at once.") if saved else None
    return await _page(shell, request, await shell.services.catalog.read(read_settings), notice=notice)


async def change(shell: Shell, request: Request) -> Response:
    """`POST /settings` with a field for each of the site's settings."""
    form = await form_of(request)
    chosen = {key: form[key] for key in SITE_SETTINGS if key in form}
    try:
        values = checked(chosen)
        await shell.write(request, CHANGE_ACTION, lambda catalog: write_settings(catalog, values))
    except HomeportError as error:
        typed = {**await shell.services.catalog.read(read_settings), **chosen}
        return await _page(shell, request, typed, status=status_of(error), problem=problem_text(error))
    return RedirectResponse("/settings?saved=1", 303)


async def _page(
    shell: Shell,
    request: Request,
    values: dict[str, str],
    *,
    status: int = 200,
    problem: str = "",
    notice: Notice | None = None,
) -> Response:
    services = shell.services
    config = services.config
    authority = services.issuing.authority
    kit = config.node.data_dir / recovery_kit.PENDING
    return await shell.render(
        request,
        "settings.html",
        status=status,
        title="Settings",
        section="settings",
        problem=problem,
        notice=notice,
        values=values,
        settings=SITE_SETTINGS,
        zones=by_region(time_zones()),
        guess=False,
        groups=setting_groups(config),
        lists=list_counts(config),
        file=str(config.source or DEFAULT_PATH),
        has_file=config.source is not None,
        tls_fingerprint=services.tls.fingerprint,
        tls_not_after_ms=services.tls.not_after_ms,
        tls_signer=services.tls.signer,
        tls_authority_fingerprint=services.tls.authority_fingerprint,
        authority_fingerprint=fingerprint(authority.root),
        authority_ends_at_ms=authority.ends_at_ms,
        kit_is_pending=await trio.to_thread.run_sync(kit.exists),
    )
