"""What all nodes of a site share, as one of them gives it to a new one.

The site key, the authority for devices (whose issuing key lies encrypted under the site key), the public key for backups. Not the node's own
key and id, not its certificate for pages, and not the root secret of a kit that nobody has confirmed yet: that belongs to one box.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from appliance.core.errors import ConfigError, StorageError
from appliance.core.limits_replication import SITE_SECRETS_BYTES_MAX
from appliance.identity import files

SITE_KEY: Final = "site.key"
SHARED: Final = {
    SITE_KEY: files.PRIVATE,
    "ca/root.pem": files.PUBLIC,
    "ca/issuing.pem": files.PRIVATE,
    "ca/devices.pem": files.PUBLIC,
    "backup.pub": files.PUBLIC,
}
"""Below data_dir/identity, with their modes; the last one only once the kit is confirmed."""
REQUIRED: Final = frozenset(SHARED) - {"backup.pub"}


class SiteSecrets(msgspec.Struct, frozen=True):
    """Contents by name."""

    files: Annotated[dict[str, bytes], msgspec.Meta(max_length=len(SHARED))]


def read_site_secrets(data_dir: Path) -> SiteSecrets:
    """What this box has of it. Blocks for some ms.

    Raises:
        ConfigError: `site_secrets_missing`. StorageError: a file can't be read.
    """
    found = {}
    for name in SHARED:
        try:
            found[name] = (data_dir / "identity" / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"{data_dir / 'identity' / name} can't be read: {error.strerror}.",
                hint="Look at the file's owner and mode.",
                code="secret_file_failed",
            ) from error
    return _checked(SiteSecrets(found))


def decode_site_secrets(data: bytes) -> SiteSecrets:
    """What another node gave.

    Raises:
        ConfigError: `site_secrets_missing`.
    """
    try:
        if len(data) > SITE_SECRETS_BYTES_MAX:
            raise msgspec.ValidationError("too large")
        return _checked(msgspec.msgpack.decode(data, type=SiteSecrets))
    except msgspec.DecodeError as error:
        raise _missing(str(error)) from error


def _checked(secrets: SiteSecrets) -> SiteSecrets:
    names = secrets.files.keys()
    if not REQUIRED <= names <= SHARED.keys():
        raise _missing(f"there are {', '.join(sorted(names)) or 'no files'}")
    return secrets


def _missing(why: str) -> ConfigError:
    return ConfigError(
        f"The site's secrets are not whole: {why}.",
        hint="Start Homeport once on the box that invites, then join again.",
        code="site_secrets_missing",
    )
