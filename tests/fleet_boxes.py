"""Whole boxes of one fleet on loopback: real processes, joined from the command line as people do it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from appliance.cli import main
from tests.integration.test_broker_verbs import Appliance, until
from tests.ports import free_port

LAST_RESORT_S = 900.0


class FleetBox(Appliance):
    """`homeport run` on a box that may have peers; not started yet.

    Attributes:
        port: Of MQTT. peer_port: Where peers connect.
    """

    def __init__(
        self, folder: Path, name: str, *, region: str = "", more: str = "", role: str = "edge"
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.name = name
        self.port, self.ui_port, self.peer_port = free_port(), free_port(), free_port()
        self.config = self.folder / "homeport.toml"
        self.config.write_text(
            f'[node]\nname = "{name}"\ndata_dir = "{self.data_dir}"\nrun_dir = "{self.folder / "run"}"\nrole = "{role}"\n'
            f'[broker]\ntcp_bind = "127.0.0.1:{self.port}"\ntls_bind = "off"\n'
            f'[devices]\nhttps_bind = "127.0.0.1:{free_port()}"\n'
            f'[ui]\nbind = "127.0.0.1:{self.ui_port}"\n'
            f'[replication]\nbind = "127.0.0.1:{self.peer_port}"\naddresses = ["127.0.0.1:{self.peer_port}"]\n'
            f'region = "{region}"\n{more}'
        )

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def node_id(self) -> str:
        return (self.data_dir / "identity" / "node.id").read_text().strip()

    def start_and_wait(self) -> None:
        self.start()
        # Several boxes start one after the other, on a machine that does other things as well.
        self._last_resort.cancel()
        self._last_resort = threading.Timer(LAST_RESORT_S, self.process.kill)
        self._last_resort.start()
        self.wait_until_ready()

    def invite(self, *options: str) -> str:
        """An invitation, of a box that runs: once its replicator is there for whoever joins."""
        token = self.answer("peer", "invite", *options)["token"]
        until(lambda: self.answer("peer", "list")["port"])
        assert isinstance(token, str)
        return token

    def join(self, token: str, *options: str) -> Result:
        words = ["peer", "join", "--config", str(self.config), "--json", *options]
        return CliRunner().invoke(main, words, input=token + "\n", catch_exceptions=False)

    def links(self) -> dict[str, str]:
        """By name, how the link with each other box is."""
        nodes: list[dict[str, Any]] = self.answer("peer", "list")["nodes"]
        return {node["name"]: node["link"] for node in nodes if not node["is_this"]}


def joined_boxes(folder: Path, *names: str, is_one_site: bool = True) -> list[FleetBox]:
    """Running boxes of one fleet, all linked. Whoever asks for them stops them (`stop`)."""
    boxes = [FleetBox(folder, name) for name in names]
    boxes[0].start_and_wait()
    for box in boxes[1:]:
        token = boxes[0].invite(*([] if is_one_site else ["--other-site"]))
        joined = box.join(token)
        assert joined.exit_code == 0, joined.output
        box.start_and_wait()
    until(lambda: all(list(box.links().values()) == ["up"] * (len(boxes) - 1) for box in boxes))
    return boxes
