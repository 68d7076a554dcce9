"""The API against its own description, asked by schemathesis: a program that nobody here wrote makes up the requests.

The real app over real HTTP on loopback: as a program on the box, and as a signed-in admin with cookie and CSRF token. Whatever it is asked: no server error, no status, content type,
header or body that the description doesn't have, and nothing is taken that the description forbids. Examples are bounded and of a fixed
seed; `--long` asks for many more.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import schemathesis
import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.config import ApiConfig, Config, NodeConfig
from storage.catalog import Catalog
from tests.acts import ACT
from tests.broker_stand_in import client_row, retained_row
from tests.node_kit import PASSWORD, QUICK, LiveDevice, Points, Value
from tests.rollout_kit import node_with_updates
from ui.api.openapi import document
from ui.api.routes import ENDPOINTS
from ui.auth import LocalTrust

START_TIMEOUT_S: Final = 30
EXAMPLE_COUNT: Final = 6
EXAMPLE_COUNT_LONG: Final = 200
SEED: Final = 20_261_127
LIMITS: Final = tuple(
    each.name for each in dataclasses.fields(ApiConfig) if each.name.endswith("_per_min_max")
)
SIGNED_IN: Final = tuple(
    endpoint.operation_id
    for endpoint in ENDPOINTS
    if (endpoint.needs == "account.own" or endpoint.path in ("/users/{user_id}", "/tokens"))
    and endpoint.operation_id
    not in ("delete_session", "change_password", "end_signed_in", "end_other_sessions", "remove_user")
)
"""What depends on who asks. What ends the session that asks has tests of its own (tests/unit/test_ui_api_*)."""
KNOWN: Final = {
    "device_id": "d1",
    "client_id": "c1",
    "group_id": "g1",
    "name": "b1",
    "user_id": "anna",
}
"""Names in paths that are there: made-up ones are nearly always 404."""
TOO_LONG: Final = 431
"""The server's own answer to a request line or headers beyond 64 KiB (RFC 6585 §5), before the app sees them."""
FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that say how a message is cut out of the connection, and where it ends (RFC 9110 §7.6.1, RFC 9112 §6): not an operation's to describe.
The HTTP client writes them; what the server makes of wrong ones is shown in tests/integration/test_ui_server.py."""
ALWAYS: Final = (
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
)
OPERATION_IDS: Final = tuple(endpoint.operation_id for endpoint in ENDPOINTS)
REFUSABLE: Final = tuple(endpoint.operation_id for endpoint in ENDPOINTS if endpoint.body or endpoint.query)
"""With something to get wrong: any text may be a name in a path."""


@dataclass
class Server:
    """The app in a thread of its own, as programs on the box see it."""

    folder: Path
    url: str = ""
    url_from_the_network: str = ""

    def start(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)
        self._thread.start()
        assert self._ready.wait(START_TIMEOUT_S)

    def stop(self) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join(START_TIMEOUT_S)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
        bind = ServerConfig()
        bind.bind = ["127.0.0.1:0"]
        bind.accesslog = bind.errorlog = None
        config = Config(
            node=NodeConfig(name="box", data_dir=self.folder, run_dir=self.folder),
            bridge=(BridgeConfig(name="b1"),),
            bridge_topic=(BridgeTopicConfig(bridge="b1"),),
            api=ApiConfig(**dict.fromkeys(LIMITS, 0)),
        )
        async with node_with_updates(self.folder, config=config) as node, trio.open_nursery() as nursery:
            await node.add_admin()
            await node.catalog.write(_fill, by=ACT)
            node.live.by_id = {"d1": LiveDevice(device_id="d1")}
            node.live.values["d1"] = {"t": Value(metric="t", value=True)}
            node.broker.clients = [client_row("c1")]
            node.broker.retained = [retained_row(1, "t")]
            node.services.twins.commands.release()  # No device answers here: nobody waits for one.
            node.telemetry.points = [Points(metric="t", at_ms=(1,), value=(1.5,))]
            (self.url,) = await nursery.start(
                partial(serve, LocalTrust(node.app), bind, shutdown_trigger=self._stop.wait)  # type: ignore[arg-type]
            )
            (self.url_from_the_network,) = await nursery.start(
                partial(serve, node.app, bind, shutdown_trigger=self._stop.wait)  # type: ignore[arg-type]
            )
            self._ready.set()


def _fill(catalog: Catalog) -> None:
    catalog.add_group("g1")
    catalog.add_device("d1", tags=("a",), groups=("g1",))
    catalog.add_device("d2")
    catalog.set_token("d1", bytes(32))
    catalog.note_first_contact(["newcomer"], at_ms=1)
    catalog.add_user("anna", role="operator", password_hash=QUICK.hash(PASSWORD))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("schemathesis"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


@cache
def operations() -> dict[str, Any]:
    described = msgspec.json.decode(msgspec.json.encode(document(ENDPOINTS, version="1")))
    # Who asks is decided here: a made-up cookie or token would only ever be 401.
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(described, config=config)
    found: dict[str, Any] = {}
    for each in schema.get_all_operations():
        assert isinstance(each, Ok), each
        operation = each.ok()
        found[operation.definition.raw["operationId"]] = operation
    return found


def leaves_framing_alone(case: Any) -> bool:
    return FRAMING.isdisjoint(name.strip().lower() for name in case.headers or {})


def ask(
    url: str, operation_id: str, mode: GenerationMode, example_count: int, **who: dict[str, str]
) -> Counter[int]:
    """Ask for an operation again and again; returns how often each status was the answer."""
    operation = operations()[operation_id]
    wanted = [*ALWAYS]
    if mode is GenerationMode.NEGATIVE:
        wanted.append(openapi_checks.negative_data_rejection)

    @seed(SEED)
    @settings(
        max_examples=example_count,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode).filter(leaves_framing_alone), is_known=st.booleans()
    )
    def test(case: Any, is_known: bool) -> None:
        if is_known and mode is GenerationMode.POSITIVE:
            case.path_parameters = {
                name: KNOWN.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        response = case.call(base_url=url, **who)
        answered[response.status_code] += 1
        if response.status_code != TOO_LONG:
            case.validate_response(response, checks=wanted)

    answered: Counter[int] = Counter()
    test()
    return answered


@pytest.mark.parametrize("operation_id", OPERATION_IDS)
def test_what_it_describes_is_what_it_does(server: Server, operation_id: str) -> None:
    assert ask(server.url, operation_id, GenerationMode.POSITIVE, EXAMPLE_COUNT)


@pytest.mark.parametrize("operation_id", REFUSABLE)
def test_what_it_forbids_is_refused(server: Server, operation_id: str) -> None:
    ask(server.url, operation_id, GenerationMode.NEGATIVE, EXAMPLE_COUNT)


@pytest.fixture(scope="module")
def admin(server: Server) -> dict[str, dict[str, str]]:
    """A signed-in browser's cookie, and its CSRF token."""
    answer = httpx.post(
        f"{server.url_from_the_network}/api/v1/session", json={"user_id": "admin", "password": PASSWORD}
    )
    assert answer.status_code == 201
    return {"cookies": dict(answer.cookies), "headers": {"X-CSRF-Token": answer.json()["csrf_token"]}}


@pytest.mark.parametrize("operation_id", SIGNED_IN)
def test_so_it_does_for_a_signed_in_admin(
    server: Server, admin: dict[str, dict[str, str]], operation_id: str
) -> None:
    url = server.url_from_the_network
    answered = ask(url, operation_id, GenerationMode.POSITIVE, EXAMPLE_COUNT, **admin)
    assert answered
    # Asked of the session itself: what signs in with made-up names and passwords is refused with 401, too.
    still = httpx.get(f"{url}/api/v1/session", cookies=admin["cookies"])
    assert still.status_code == 200, "the session still stands"


@pytest.mark.long
@pytest.mark.parametrize("operation_id", OPERATION_IDS)
def test_with_many_more_examples(server: Server, operation_id: str) -> None:
    ask(server.url, operation_id, GenerationMode.POSITIVE, EXAMPLE_COUNT_LONG)


@pytest.mark.long
@pytest.mark.parametrize("operation_id", REFUSABLE)
def test_many_more_that_it_forbids(server: Server, operation_id: str) -> None:
    ask(server.url, operation_id, GenerationMode.NEGATIVE, EXAMPLE_COUNT_LONG)
