"""`homeport setup-code`: a new code for the first sign-in."""

from __future__ import annotations

import click

from appliance.cli.common import Context, shows_blocks, verb
from appliance.run import announcement


@click.command("setup-code")
@verb
def setup_code(context: Context) -> None:
    """Make a new setup code for a box that nobody has claimed yet; the one before is void."""
    issued = context.api().post("/api/v1/setup/code", {})
    lines = announcement.replace_code(context.config().node.run_dir, issued["code"])
    shown = announcement.with_qr(lines) if shows_blocks() else lines
    context.emit(issued, "\n".join(shown))
