"""Debian's swupdate, unmodified, installs a signed image over hawkBit's protocol, and says so; also with the node killed in its download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.swupdate import Agent, Signer, is_there
from tests.interop.update_site import UpdateSite

pytestmark = pytest.mark.skipif(not is_there(), reason="swupdate, cpio or openssl is not installed")
SIZE_BYTES = 600_000
SLOW_BYTES_S = 150_000


class Site(UpdateSite):
    """With a vendor who signs, and an agent on the pump."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.target = folder / "installed.bin"
        (folder / "vendor").mkdir()
        self.signer = Signer(folder / "vendor")
        self.agents: list[Agent] = []

    def prepare(self, *, bandwidth_bytes_s: int) -> bytes:
        """Start a rollout to the pump; what it is to have installed."""
        self.box.wait_ready()
        self.box.homeport("artifact", "key", "policy", "vendor_signed")
        image, content = self.signer.image("2.0.0", self.target, SIZE_BYTES)
        self.roll_out(image, bandwidth_bytes_s=bandwidth_bytes_s)
        return content

    def run(self, version: str, *, confirm: int) -> Agent:
        agent = Agent(
            self.folder,
            device="pump",
            token=self.token,
            url=f"https://127.0.0.1:{self.box.https_port}",
            ca=self.box.ca_file,
            key=self.signer.certificate,
            version=version,
            confirm=confirm,
        )
        self.agents.append(agent)
        return agent

    def tell(self) -> str:
        logs = "\n".join(each.log_path.read_text(errors="replace")[-3000:] for each in self.agents)
        return f"{super().tell()}\n{logs}"

    def close(self) -> None:
        for agent in self.agents:
            agent.stop()
        super().close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.mark.long
def test_it_installs_once_and_is_confirmed_by_its_version(site: Site) -> None:
    content = site.prepare(bandwidth_bytes_s=0)
    before = site.run("1.0.0", confirm=1)
    site.wait_for("rebooting")
    assert site.target.read_bytes() == content
    # It goes on asking, without a marker of its own; what it is told does not make it install again.
    described = before.said("CONFIGDATA=")
    site.wait_until(lambda: before.said("CONFIGDATA=") >= described + 2)
    assert before.said("Installation in progress") == 1
    assert site.execution()["state"] == "rebooting"
    before.stop()
    site.run("2.0.0", confirm=2)
    site.wait_for("succeeded")
    moves = site.moves()
    assert moves.count("installing") == 1
    assert moves[:6] == ["taken", "started", "downloaded", "verified", "installing", "rebooting"]
    assert site.sent_bytes() == (site.folder / "vendor" / "pump-2.0.0.swu").stat().st_size


def test_the_node_is_killed_in_its_download(site: Site) -> None:
    content = site.prepare(bandwidth_bytes_s=SLOW_BYTES_S)
    before = site.run("1.0.0", confirm=1)
    site.wait_until(lambda: site.sent_bytes() > SIZE_BYTES // 5)
    assert site.execution()["state"] == "downloading"
    site.kill_node()
    site.wait_for("rebooting")
    assert site.target.read_bytes() == content
    assert site.moves().count("installing") == 1
    before.stop()
    site.run("2.0.0", confirm=2)
    site.wait_for("succeeded")
