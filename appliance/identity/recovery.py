"""A new box out of a recovery kit: the site key, the node's id and the certificate authority are put back.

The rest comes from a backup of data_dir: with the site key its tokens and sealed columns are good again, with the
node's id its catalog is this node's.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path

from appliance.core.clock import Clock
from appliance.core.errors import Conflict
from appliance.identity import files
from appliance.identity.backup_public_key import write_public_key
from appliance.identity.ca import SiteCa, check_kit_of
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was put back, and what was there already."""

    site_key: bool
    node_id: bool
    authority: bool


def restore(data_dir: Path, kit: RecoveryKit, *, clock: Clock, generation: int = 1) -> Restored:
    """Put back what a kit holds. Nothing that is there and differs is replaced; doing it again changes nothing.

    Args:
        data_dir: Of a stopped box.
        generation: Of the issuing authority's key; `homeport ca show` said which.
    Raises:
        Conflict: `site_key_differs`: the box has another site key.
        NotAuthorized: `recovery_kit_of_another_site`: the box has another authority.
        ConfigError, StorageError: a file can't be used or written.
    """
    folder = data_dir / "identity"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    had_site_key = (folder / "site.key").exists()
    had_node_id = (folder / "node.id").exists()
    had_authority = (folder / "ca").exists()
    if had_authority:
        # Before anything is written: another site's key in the place of one that was lost would keep the right one out.
        check_kit_of(folder / "ca", kit)
    wanted = kit.site_key.hex().encode()
    found = files.read_secret(folder / "site.key") or files.create(folder / "site.key", wanted + b"\n")
    if not hmac.compare_digest(found.strip(), wanted):
        raise Conflict(
            f"{folder / 'site.key'} is another site's key.",
            hint=f"If this is a new box, stop Homeport, move {data_dir} away, put the backup there, and run this again.",
            code="site_key_differs",
        )
    if not had_node_id:
        files.create(folder / "node.id", kit.node_id.hex().encode() + b"\n")
    keys = SiteKeys.load_or_create(data_dir)
    if had_authority:
        SiteCa.load_or_create(data_dir, keys, clock=clock)
    else:
        SiteCa.make_again(data_dir, keys, kit, clock=clock, generation=generation)
    write_public_key(data_dir, kit.root_secret)
    return Restored(site_key=not had_site_key, node_id=not had_node_id, authority=not had_authority)
