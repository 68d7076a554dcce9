"""What a form for an API token offers."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from appliance.core.errors import UsageError
from tests.acts import ACT
from tests.node_kit import running_node
from ui.pages.shell import Shell
from ui.pages.token_forms import choices, role_of, try_command


async def test_only_what_somebody_may_give(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await node.catalog.write(
            lambda catalog: [catalog.add_group("hall-1"), catalog.add_group("hall-2")], by=ACT
        )
        shell = Shell(node.services)
        mine = await choices(shell, "operator", frozenset({"hall-2"}))
        assert [each.role for each in mine.roles] == ["viewer", "operator"]
        assert [each.group_id for each in mine.groups] == ["hall-2"]
        assert not mine.whole_site
        assert (await choices(shell, "admin", None)).whole_site


def test_a_role_that_is_none() -> None:
    assert role_of({"role": "viewer"}) == "viewer"
    with pytest.raises(UsageError):
        role_of({"role": "root"})


def test_the_line_to_try_it_shows_the_token_to_no_other_process() -> None:
    line = try_command("https://box.test:8443", "hpa_abc")
    words = shlex.split(line)
    assert words[words.index("|") + 1 :] == [
        "curl", "--cacert", "homeport-ca.pem", "-H", "@-", "https://box.test:8443/api/v1/status",
    ]  # fmt: skip
    out = subprocess.run(["sh", "-c", line.partition("|")[0]], capture_output=True, check=True)
    assert out.stdout == b"Authorization: Bearer hpa_abc\n"
    assert shlex.split(try_command("https://box;rm -rf x", "s"))[-1] == "https://box;rm -rf x/api/v1/status"
