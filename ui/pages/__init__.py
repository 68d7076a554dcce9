"""The operator's pages. `routes(services)` is all that the app needs; see ui/DESIGN.md."""

from __future__ import annotations

from starlette.routing import Route

from ui.pages import (
    bridges,
    broker,
    certificate,
    dead_letters,
    device,
    devices,
    door,
    overview,
    patterns,
    retained,
)
from ui.pages.shell import Shell
from ui.services import Services


def routes(services: Services) -> list[Route]:
    """All pages, their streams and the static files.

    The last route answers every other address below "/" with a page, so the app puts its own routes before these.
    Device ids never hold a "/", so `{device_id}` is one segment.
    """
    shell = Shell(services)
    page = shell.page
    one = "/devices/{device_id}"
    return [
        Route("/static/{path:path}", shell.assets.respond),
        Route("/homeport-ca.pem", page(certificate.download, public=True)),
        Route("/setup", page(door.show_setup, public=True), methods=["GET"]),
        Route("/setup", page(door.setup, public=True), methods=["POST"]),
        Route("/sign-in", page(door.show_sign_in, public=True), methods=["GET"]),
        Route("/sign-in", page(door.sign_in, public=True), methods=["POST"]),
        Route("/sign-out", page(door.sign_out, public=True), methods=["POST"]),
        Route("/", page(overview.show)),
        Route("/devices", page(devices.show)),
        Route("/devices/new", page(device.show_new), methods=["GET"]),
        Route("/devices/new", page(device.new), methods=["POST"]),
        Route(one, page(device.show)),
        Route(f"{one}/chart", page(device.chart_data)),
        Route(f"{one}/decide", page(devices.decide), methods=["POST"]),
        Route(f"{one}/token", page(device.redirect_token), methods=["GET"]),
        Route(f"{one}/token", page(device.issue_token), methods=["POST"]),
        Route("/broker", page(broker.show)),
        Route("/broker/client", page(broker.show_client)),
        Route("/broker/client/kick", page(broker.kick), methods=["POST"]),
        Route("/broker/client/end", page(broker.end_session), methods=["POST"]),
        Route("/broker/retained", page(retained.show)),
        Route("/broker/retained/clear", page(retained.show_clear), methods=["GET"]),
        Route("/broker/retained/clear", page(retained.clear), methods=["POST"]),
        Route("/dead-letters", page(dead_letters.show)),
        Route("/bridges", page(bridges.show)),
        Route("/patterns", page(patterns.show)),
        Route("/live/bridges", shell.stream(bridges.live)),
        Route("/live/overview", shell.stream(overview.live)),
        Route("/live/broker", shell.stream(broker.live)),
        Route("/live/broker/client", shell.stream(broker.live_client)),
        Route("/live/devices", shell.stream(devices.live)),
        Route("/live/devices/{device_id}", shell.stream(device.live)),
        Route("/{path:path}", page(Shell.not_found, public=True)),
    ]
