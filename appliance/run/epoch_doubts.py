"""Whether this box can know that it is the newest body of its node, as far as its own disk says; and how it gets an epoch of its own.

Must not know: links. Who asks peers is epoch_claiming.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import ConfigError, HomeportError
from appliance.identity import files
from appliance.identity.fleet import Fleet
from appliance.identity.fleet_inviting import check_instance
from appliance.identity.instance import INSTANCE_BYTES, instance_content, instance_path, load_instance
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from storage.fleet.epoch_files import Doubt, Reason, read_doubt, remove_doubt
from storage.log import new_epoch
from storage.log.directory_lock import take_lock
from storage.log.disk import OsDisk
from storage.log.recovery import end_on_disk
from storage.log.segment_header import NO_BRANCH

WORDS: Final[dict[Reason, str]] = {
    "moved": "This is a copy of the node, or its disk is in another box.",
    "cloned": "Another box runs as this node, or has taken its place.",
    "ahead": "Other boxes have more of what this box wrote than it has itself: its disk is an old one.",
    "copied": "This box's log was put in place from a backup.",
    "forked": "Two boxes have written as this node.",
}
HINT: Final = (
    "It goes on by itself once enough other boxes are reachable, or the regions of its tier where it is alone: homeport peer list. If they are gone, and no other box"
    " runs as this node any more, an administrator may have it go on: homeport peer grant."
)
log = structlog.get_logger(__name__)


def local_doubt(config: Config, *, now_ms: int) -> Doubt | None:
    """What speaks against writing; None where nothing does, or this box belongs to no fleet. Blocks for some ms.

    Raises:
        OSError: a log's folder can't be read.
    """
    data_dir = config.node.data_dir
    if not layout.fleet(config).is_dir():
        return None
    if (kept := read_doubt(data_dir)) is not None:
        return kept
    if is_moved(data_dir):
        return Doubt(reason="moved", since_ms=max(0, now_ms))
    disk = OsDisk()
    for directory in own_logs(config).values():
        try:
            if new_epoch.wanted_epoch(disk, directory)[0] == 0:
                return Doubt(reason="copied", since_ms=max(0, now_ms))
        except FileNotFoundError:
            continue
    return None


def is_moved(data_dir: Path) -> bool:
    """Whether the data folder is in another place than its node began in."""
    try:
        check_instance(load_instance(data_dir), Fleet.load(data_dir, SiteKeys.load_existing(data_dir)))
    except ConfigError as error:
        return error.code == "instance_moved"
    except HomeportError:
        return False  # of what is wrong with the fleet's folder the replicator tells
    return False


def own_logs(config: Config) -> dict[str, Path]:
    """The folders of this node's own streams."""
    return {"telemetry": layout.telemetry_log(config), "catalog": layout.catalog_log(config)}


def words_of(doubt: Doubt) -> str:
    """What is wrong and what it waits for, for people."""
    text = f"{WORDS[doubt.reason]} It writes nothing before it has an epoch of its own"
    if not doubt.needed_count:
        return f"{text}; nobody who could promise it one is reachable."
    return f"{text}: {doubt.voters_count} of the {doubt.needed_count} boxes that are needed have promised it epoch {doubt.epoch}."


def known_epoch(config: Config) -> int:
    """The highest in which anything was written here. Blocks."""
    return max(end_of(directory)[0] for directory in own_logs(config).values())


def going_on_epoch(config: Config) -> int:
    """In which the next writer writes. Blocks."""
    return max(goes_on_at(directory)[0] for directory in own_logs(config).values())


def goes_on_at(directory: Path) -> tuple[int, int]:
    """(epoch, next sequence) with which the next writer of a log begins. Blocks."""
    try:
        return max(end_of(directory), (new_epoch.wanted_epoch(OsDisk(), directory)[0], 0))
    except FileNotFoundError:
        return end_of(directory)


def end_of(directory: Path) -> tuple[int, int]:
    """(epoch, next sequence) with which a log ends; (0, 1) where there is none. Blocks."""
    return end_on_disk(OsDisk(), directory) if directory.is_dir() else (0, 1)


@contextmanager
def held_logs(config: Config) -> Iterator[None]:
    """Nobody writes this node's own streams meanwhile.

    Raises:
        LogLocked: somebody does. OSError: a folder can't be made.
    """
    disk, locks = OsDisk(), []
    try:
        for directory in filter(Path.is_dir, own_logs(config).values()):
            locks.append(take_lock(disk, directory))  # noqa: PERF401 - those that were taken are let go of, whichever can't be
        yield
    finally:
        for descriptor in locks:
            disk.close(descriptor)


def take_epoch(config: Config, fleet: Fleet, epoch: int, *, branch: bytes = NO_BRANCH, clock: Clock) -> bool:
    """Have all own streams go on in an epoch that is this box's; what doubts there were are over. Blocks.

    Returns:
        Whether it is another instance now, so that links have to be made anew.
    Raises:
        LogLocked: somebody still writes in the epoch of before. StorageError, OSError: the disk failed; the doubt stays.
    """
    data_dir, disk = config.node.data_dir, OsDisk()
    with held_logs(config):
        for directory in own_logs(config).values():
            if directory.is_dir():
                new_epoch.ask(disk, directory, at_least=epoch, branch=branch)
    moved = is_moved(data_dir)
    if moved:
        rebind(config, fleet, clock=clock)
    remove_doubt(data_dir)
    log.warning("this box goes on in an epoch of its own", epoch=epoch, is_granted=any(branch))
    return moved


def rebind(config: Config, fleet: Fleet, *, clock: Clock) -> None:
    """Be an instance of its own. Blocks.

    Without the key of the fleet's authority the certificate stays as it is: who is promised an epoch is told apart by the claim.

    Raises:
        StorageError: it can't be written.
    """
    data_dir, instance = config.node.data_dir, fleet.identity.instance
    if fleet.can_sign:
        instance = secrets.token_hex(INSTANCE_BYTES)
        fleet.rebound(instance, clock=clock)
    files.replace(instance_path(data_dir), instance_content(data_dir, instance))
