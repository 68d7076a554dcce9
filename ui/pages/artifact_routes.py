"""The addresses of the pages about artifacts and the keys that sign them."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import Route

from ui.pages import artifact, artifact_keys, artifacts
from ui.pages.shell import Endpoint


def artifact_routes(page: Callable[..., Endpoint]) -> list[Route]:
    """All of them.

    Args:
        page: Shell.page.
    """
    one = f"{artifacts.URL}/{{artifact_id}}"
    managing = (
        (f"{artifacts.URL}/uploads/remove", artifacts.remove_upload),  # before {artifact_id} takes it
        (f"{one}/sign", artifact.sign),
        (f"{one}/manifest", artifact.add_signatures),
        (f"{one}/note", artifact.note),
        (f"{one}/check", artifact.check),
        (f"{one}/remove", artifact.remove),
    )
    of_keys = (
        (f"{artifact_keys.URL}/policy", artifact_keys.policy),
        (f"{artifact_keys.URL}/box", artifact_keys.box_key),
        (f"{artifact_keys.URL}/next", artifact_keys.propose),
        (f"{artifact_keys.URL}/apply", artifact_keys.apply),
    )
    return [
        Route(artifacts.URL, page(artifacts.show, needs="firmware.read")),
        Route(f"{artifacts.URL}/new", page(artifacts.show_new, needs="artifacts.manage"), methods=["GET"]),
        Route(
            f"{artifacts.URL}/new",
            page(artifacts.new, needs="artifacts.manage", reads_form=False),
            methods=["POST"],
        ),
        *(Route(path, page(act, needs="artifacts.manage"), methods=["POST"]) for path, act in managing),
        Route(f"{one}/manifest", page(artifact.manifest_file, needs="firmware.read"), methods=["GET"]),
        Route(f"{one}/content", page(artifact.content, needs="artifacts.manage"), methods=["GET"]),
        Route(one, page(artifact.show, needs="firmware.read")),
        Route(artifact_keys.URL, page(artifact_keys.show, needs="firmware.read")),
        *(Route(path, page(act, needs="artifact_keys.manage"), methods=["POST"]) for path, act in of_keys),
    ]
