"""What ended somebody's access, or lowered it, holds though the node is killed the moment its answer is there.

The real node over TLS, one SIGKILL after each such answer, then a start over what is on the disk.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.core.errors import Unavailable
from appliance.run.local_api import LocalApi
from tests.crash.rig import START_DEADLINE_S, Rig, wait_for

PASSWORD = "a quiet sentence about tea"


class KilledNode:
    """A node that is killed and started again, and clients of it over TLS."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder, folder / "run")
        self._certificate = folder / "data" / "identity" / "tls.crt"
        self.local = LocalApi(folder / "run" / "node.sock")

    def homeport(self, *arguments: str, text: str = "") -> Any:
        out = subprocess.run(
            [sys.executable, "-m", "appliance", *arguments, "--json"],
            env=self.rig.environ,
            input=text,
            text=True,
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        return json.loads(out.stdout)

    def start(self) -> None:
        self.rig.start("node")
        wait_for(self._answers, START_DEADLINE_S, f"the node answers\n{self.rig.read_log()}")

    def kill(self) -> None:
        self.rig.kill("node")

    def killed_after(self) -> None:
        """SIGKILL now, and a new start."""
        self.kill()
        self.start()

    def client(self, token: str = "") -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self._certificate))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=f"https://127.0.0.1:{self.rig.ui_port}", verify=context, headers=headers)

    def post(self, path: str, body: dict[str, Any], token: str = "") -> httpx.Response:
        with self.client(token) as client:
            return client.post(f"/api/v1{path}", json=body)

    def sign_in(self, user_id: str) -> dict[str, Any]:
        answer = self.post("/tokens", {"user_id": user_id, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def code_of(self, token: str) -> str:
        """What a request with this token is told: a code, or 200."""
        with self.client(token) as client:
            answer = client.get("/api/v1/session")
            return str(answer.json().get("code", answer.status_code))

    def _answers(self) -> bool:
        try:
            self.local.get("/health/live")
        except Unavailable:
            return False
        return True


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KilledNode]:
    made = KilledNode(tmp_path_factory.mktemp("people"))
    try:
        for user_id, role in (("admin", "admin"), ("anna", "installer"), ("bob", "operator")):
            made.homeport("user", "add", user_id, "--role", role, text=f"{PASSWORD}\n")
        made.start()
        yield made
    finally:
        made.rig.close()


def test_a_revoked_access_token(node: KilledNode) -> None:
    stolen = node.sign_in("anna")
    with node.client(stolen["access_token"]) as thief:
        assert thief.get("/api/v1/session").status_code == 200
        answer = node.post("/tokens/revoke", {"token": stolen["access_token"]})
        revoked_at = time.monotonic()
        assert answer.status_code == 204
        assert thief.get("/api/v1/session").json()["code"] == "access_token_revoked"
        assert time.monotonic() - revoked_at < 1, "promised within a second; it is the next request"
    node.killed_after()
    assert node.code_of(stolen["access_token"]) == "access_token_revoked"
    again = node.post("/tokens/refresh", {"refresh_token": stolen["refresh_token"]})
    assert again.status_code == 201, "the sign-in itself goes on over a SIGKILL"
    assert node.code_of(again.json()["access_token"]) == "200"


def test_a_refresh_token_counts_once_and_a_second_time_ends_its_family(node: KilledNode) -> None:
    first = node.sign_in("anna")
    second = node.post("/tokens/refresh", {"refresh_token": first["refresh_token"]}).json()
    node.killed_after()
    assert node.code_of(second["access_token"]) == "200"
    answer = node.post("/tokens/refresh", {"refresh_token": first["refresh_token"]})
    node.killed_after()
    assert answer.json()["code"] == "refresh_token_reused"
    for token in (first["access_token"], second["access_token"]):
        assert node.code_of(token) == "access_token_revoked"
    answer = node.post("/tokens/refresh", {"refresh_token": second["refresh_token"]})
    assert answer.json()["code"] == "refresh_token_invalid"


def test_a_lowered_role(node: KilledNode) -> None:
    admin, anna = node.sign_in("admin"), node.sign_in("anna")
    device = {"device_id": "made-before"}
    assert node.post("/devices", device, anna["access_token"]).status_code == 201
    with node.client(admin["access_token"]) as client:
        assert client.patch("/api/v1/users/anna", json={"role": "viewer"}).status_code == 200
    node.kill()
    node.start()
    device = {"device_id": "made-after"}
    assert node.post("/devices", device, anna["access_token"]).json()["code"] == "access_token_stale"
    again = node.post("/tokens/refresh", {"refresh_token": anna["refresh_token"]}).json()
    assert again["role"] == "viewer"
    assert node.post("/devices", device, again["access_token"]).json()["code"] == "role_too_low"


def test_an_api_token_that_was_revoked_and_one_whose_user_is_disabled(node: KilledNode) -> None:
    admin = node.sign_in("admin")
    made = [
        node.post(
            "/api-tokens",
            {"name": name, "role": "viewer", "expires_in_s": 3600, "user_id": "bob"},
            admin["access_token"],
        ).json()
        for name in ("first", "second")
    ]
    assert [node.code_of(each["token"]) for each in made] == ["200", "200"]
    with node.client(admin["access_token"]) as client:
        assert client.delete(f"/api/v1/api-tokens/{made[0]['token_id']}").status_code == 200
        assert client.patch("/api/v1/users/bob", json={"disabled": True}).status_code == 200
    node.killed_after()
    assert [node.code_of(each["token"]) for each in made] == ["api_token_invalid"] * 2
    with node.client(admin["access_token"]) as client:
        assert client.patch("/api/v1/users/bob", json={"disabled": False}).status_code == 200
    assert [node.code_of(each["token"]) for each in made] == ["api_token_invalid", "200"]


def test_the_emergency_brake_while_it_runs_and_while_it_is_stopped(node: KilledNode) -> None:
    before = node.sign_in("admin")
    with node.client() as browser:
        answer = browser.post("/api/v1/session", json={"user_id": "bob", "password": PASSWORD})
        assert answer.status_code == 201
        assert browser.get("/api/v1/session").status_code == 200
        ended = node.homeport("key", "rotate", "--yes")
        node.killed_after()
        assert ended["sign_ins_ended"] >= 2
        assert browser.get("/api/v1/session").status_code == 401
    assert node.code_of(before["access_token"]) == "access_token_invalid"
    after = node.sign_in("admin")
    node.kill()
    second = node.homeport("key", "rotate", "--yes")
    node.start()
    assert second["key_id"] != ended["key_id"]
    assert node.code_of(after["access_token"]) == "access_token_invalid"
    answer = node.post("/tokens/refresh", {"refresh_token": after["refresh_token"]})
    assert answer.json()["code"] == "refresh_token_invalid"
    assert node.code_of(node.sign_in("admin")["access_token"]) == "200"
