"""The page that shows a device's new token, once; and how a device looks on any page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from storage.catalog import Device
from ui.pages.connect_facts import CERTIFICATE_NAME, connect_uri, examples
from ui.pages.device_facts import device_view, newest_views
from ui.pages.shell import Shell
from ui.pages.views import DeviceView, NewestView


async def token_page(
    shell: Shell, request: Request, device: Device, token: str, *, is_first: bool
) -> Response:
    """The page that shows a new token, once, with how to connect; it turns green with the first message."""
    view = view_of(shell, device)
    services = shell.services
    return await shell.render(
        request,
        "device_token.html",
        title=f"Connect {device.device_id}",
        section="devices",
        live_url=f"/live{view.url}?first={services.clock.now_ms()}",
        d=view,
        first=None,
        token=token,
        is_first=is_first,
        certificate=CERTIFICATE_NAME,
        examples=examples(services.config, request.url.hostname or "", device.device_id, token),
        fingerprint=services.tls.fingerprint if services.config.broker.tls_bind else "",
        connect_uri=connect_uri(services.config, request.url.hostname or "", device.device_id, token),
        connect_uri_shown=connect_uri(services.config, request.url.hostname or "", device.device_id, "TOKEN"),
    )


def first_since(shell: Shell, device_id: str, since_ms: int) -> NewestView | None:
    """A value that came after the token was shown: what the device said before, with another token or as other hardware, is no sign."""
    found = (each for each in newest_of(shell, device_id) if each.received_at_ms >= since_ms)
    return next(found, None)


def view_of(shell: Shell, device: Device) -> DeviceView:
    """A device as pages show it now."""
    services = shell.services
    return device_view(
        device,
        services.live.device(device.device_id),
        now_ms=services.clock.now_ms(),
        stale_after_ms=services.stale_after_ms,
    )


def newest_of(shell: Shell, device_id: str) -> tuple[NewestView, ...]:
    """Its newest values as pages show them now."""
    services = shell.services
    return newest_views(
        device_id,
        services.live.newest(device_id),
        now_ms=services.clock.now_ms(),
        stale_after_ms=services.stale_after_ms_of(device_id),
    )
