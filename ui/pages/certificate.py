"""The box's certificate as a file, so that devices and tools can check who they talk to."""

from __future__ import annotations

import trio
from starlette.requests import Request
from starlette.responses import Response

from ui.pages.connect_facts import CERTIFICATE_NAME
from ui.pages.shell import Shell


async def download(shell: Shell, request: Request) -> Response:
    """`GET /homeport-ca.pem`. Public: every TLS handshake shows it anyway."""
    del request
    pem = await trio.Path(shell.services.tls.certificate_path).read_bytes()
    return Response(
        pem,
        media_type="application/x-pem-file",
        headers={
            "content-disposition": f'attachment; filename="{CERTIFICATE_NAME}"',
            "cache-control": "no-cache",
        },
    )
