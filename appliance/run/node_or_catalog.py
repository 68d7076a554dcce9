"""How a verb reaches what the catalog holds: through the node while it runs, on the file itself while it is stopped.

The one place where a command opens the catalog for writing. Whichever way is taken, exactly one process writes: the node,
or the command that holds the node's lock.

Must not know: what the verbs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance.core import logs
from appliance.core.clock import Clock, SystemClock
from appliance.core.config import Config
from appliance.core.errors import ConfigError, StorageError, Unavailable
from appliance.identity.audit_heads import sign_newest
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from appliance.run.first_run import lock, prepare_folders
from appliance.run.local_api import NODE_STOPPED, LocalApi
from storage.backup import switch
from storage.catalog.catalog import Catalog

T = TypeVar("T")
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedNode:
    """What a command works on while the node is stopped."""

    config: Config
    catalog: Catalog
    keys: SiteKeys
    clock: Clock


def running_node(config: Config) -> LocalApi | None:
    """A client of the node, None while it is stopped.

    Raises:
        Unavailable: it runs and does not answer.
    """
    api = LocalApi(layout.node_socket(config))
    try:
        api.get("/health/live")
    except Unavailable as error:
        if error.code != NODE_STOPPED:
            raise
        return None
    return api


@contextmanager
def with_catalog(config: Config, *, holder: str) -> Iterator[StoppedNode]:
    """The catalog of a stopped node, for writing, under the node's lock.

    Args:
        holder: Who takes the lock, for the error that others get, such as `homeport device`.
    Raises:
        Conflict: code "locked": the node runs, or is just starting or stopping.
        StorageError: the catalog or its folder can't be used, or what was restored is not in place yet.
    """
    clock = SystemClock()
    prepare_folders(config)
    with lock(layout.node_lock(config), holder=holder):
        switch.refuse_pending(config.node.data_dir)
        keys = SiteKeys.load_or_create(config.node.data_dir)
        catalog = Catalog.open(layout.catalog(config), clock=clock, node_id=keys.node_id)
        try:
            yield StoppedNode(config=config, catalog=catalog, keys=keys, clock=clock)
            sign(catalog, keys, config.node.data_dir, clock)
        finally:
            catalog.close()


def sign(catalog: Catalog, keys: SiteKeys, data_dir: Path, clock: Clock) -> None:
    """Sign what the command put into the audit; a command that did its work doesn't fail for a broken audit."""
    try:
        sign_newest(catalog, keys.signer, origin=keys.node_id.hex(), data_dir=data_dir, clock=clock)
    except (StorageError, ConfigError) as error:
        _log.error("the audit was not signed", error=error.message, code=error.code, hint=error.hint)


@contextmanager
def node_or_catalog(
    config: Config,
    *,
    holder: str,
    through_node: Callable[[LocalApi], T],
    on_catalog: Callable[[StoppedNode], T],
) -> Iterator[T]:
    """A verb's commands, made for the way that is open now.

    Args:
        through_node, on_catalog: Two classes with the same methods and answers.
    Raises:
        As running_node and with_catalog.
    """
    api = running_node(config)
    if api is not None:
        yield through_node(api)
        return
    with with_catalog(config, holder=holder) as stopped:
        yield on_catalog(stopped)
