"""The addresses of rollouts and the work queue."""

from __future__ import annotations

from starlette.routing import Route

from appliance.management.permissions import Permission
from ui.pages import rollout, rollout_confirm, rollout_new, rollouts, work_queue
from ui.pages.shell import Shell

_ONE = "/firmware/rollouts/{rollout_id}"


def update_routes(shell: Shell) -> list[Route]:
    """Pages and streams."""
    page, stream = shell.page, shell.stream
    found = [
        Route("/firmware", page(rollouts.show, needs="firmware.read")),
        Route("/firmware/rollouts/new", page(rollout_new.show, needs="rollouts.manage"), methods=["GET"]),
        Route("/firmware/rollouts/new", page(rollout_new.make, needs="rollouts.manage"), methods=["POST"]),
        Route("/firmware/rollouts/new/devices", page(rollout_new.devices, needs="rollouts.manage")),
        Route(_ONE, page(rollout.show, needs="firmware.read")),
        Route(f"{_ONE}/edit", page(rollout_confirm.edit, needs="rollouts.manage")),
        Route(work_queue.URL, page(work_queue.show, needs="firmware.read")),
        Route(
            f"{work_queue.URL}/{{execution_id}}",
            page(work_queue.act, needs="executions.operate"),
            methods=["POST"],
        ),
        Route("/live/firmware", stream(rollouts.live, needs="firmware.read")),
        Route("/live" + work_queue.URL, stream(work_queue.live, needs="firmware.read")),
        Route("/live" + _ONE, stream(rollout.live, needs="firmware.read")),
    ]
    found.append(
        Route(f"{_ONE}/retry-failed", page(rollout.retry_failed, needs="rollouts.manage"), methods=["POST"])
    )
    found += [
        Route(f"{_ONE}/{name}", page(rollout.instead, needs="firmware.read"), methods=["GET"])
        for name in (*rollout.SIMPLE_ACTS, "approve", "retry-failed")
    ]
    for name in (*rollout.SIMPLE_ACTS, "approve"):
        needs: Permission = "rollouts.approve" if name == "approve" else "rollouts.manage"
        found.append(Route(f"{_ONE}/{name}", page(rollout.doing(name), needs=needs), methods=["POST"]))
    for name in ("refuse", "abort", "rollback"):
        asks, acts = rollout_confirm.asking(name), rollout_confirm.acting(name)
        found.append(Route(f"{_ONE}/{name}", page(asks, needs="rollouts.manage"), methods=["GET"]))
        found.append(Route(f"{_ONE}/{name}", page(acts, needs="rollouts.manage"), methods=["POST"]))
    return found
