"""A box whose first admin comes from elsewhere offers no setup code any more."""

from __future__ import annotations

from pathlib import Path

import trio

from appliance.identity.setup_code import SetupState
from appliance.run.claimed import Claimed
from tests.acts import ACT
from tests.broker_kit import wait_until
from tests.node_kit import running_node

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA"


async def test_an_admin_from_elsewhere_ends_the_code(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, trio.open_nursery() as nursery:
        code = node.services.setup_code
        code.issue()
        watch = Claimed(node.catalog, code)
        stop = node.catalog.subscribe(watch.note)
        nursery.start_soon(watch.run)
        await node.catalog.write(
            lambda catalog: catalog.add_user("vic", role="viewer", password_hash=HASH), by=ACT
        )
        await node.catalog.read(lambda catalog: catalog.has_admin())  # behind the one that the change brings
        assert code.state is SetupState.VALID
        await node.catalog.write(
            lambda catalog: catalog.add_user("anna", role="admin", password_hash=HASH), by=ACT
        )
        await wait_until(lambda: code.state is SetupState.NONE)
        stop()
        nursery.cancel_scope.cancel()
