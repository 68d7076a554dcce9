"""What a tier's engine is told to know who asks: a file of TOML that nobody else may read.

    access_key_id = "…"          # an object store
    secret_access_key = "…"
    session_token = "…"          # where the store gave one
    password = "…"               # PostgreSQL, JetStream
    user = "…"                   # JetStream
    token = "…"
    nkey_seed = "SU…"
    creds_file = "/path"         # JetStream: what `nsc` writes, mode 0600 as well
    system_user = "…"            # JetStream: who may look at the servers' settings; system_password, system_token … as above

Secrets are never in an address, on a command line or in a log; what is read here shows its keys and not their values.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance.core.errors import ConfigError
from appliance.core.limits_replication import TIER_CREDENTIALS_BYTES_MAX

KEYS: Final = frozenset(
    {
        "access_key_id",
        "secret_access_key",
        "session_token",
        "user",
        "password",
        "token",
        "nkey_seed",
        "creds_file",
    }
    | {"system_user", "system_password", "system_token", "system_nkey_seed", "system_creds_file"}
)
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Credentials:
    """Secrets by their key. What prints it prints the keys alone."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self._values))})"

    def get(self, key: str) -> str | None:
        """One of them; None where the file hasn't it."""
        assert key in KEYS
        return self._values.get(key)

    def need(self, key: str) -> str:
        """One of them.

        Raises:
            ConfigError: the file hasn't it.
        """
        value = self.get(key)
        if value is None:
            raise ConfigError(
                f"The tier's credentials have no {key}.",
                hint=f'Write {key} = "…" into the file of credentials.',
                code="tier_credentials",
            )
        return value


def read_credentials(path: Path | None) -> Credentials:
    """Read the file; without one there are none. Blocking.

    Raises:
        ConfigError: it isn't there, others may read it, or it isn't what the module's docstring says. The message has no secret.
    """
    if path is None:
        return Credentials()
    try:
        values = tomllib.loads(read_secret_file(path))
    except tomllib.TOMLDecodeError as error:
        # Only where: the parser's words may repeat what it could not make anything of.
        raise _refused(f"{path} is no TOML", 'Lines are key = "value".') from error
    if unknown := sorted(set(values) - KEYS):
        raise _refused(
            f"{path} has {unknown[0]!r}, which nothing reads", f"There are {', '.join(sorted(KEYS))}."
        )
    texts: dict[str, str] = {}
    for key, value in values.items():
        if not isinstance(value, str) or not value:
            raise _refused(f"{key} in {path} is no text", f'Write {key} = "…".')
        texts[key] = value
    return Credentials(texts)


def read_secret_file(path: Path) -> str:
    """The text of a small file that nobody else may read. Blocking.

    Raises:
        ConfigError: it isn't there, others may read it, or it is no text.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(
            f"{path} can't be read: {error.strerror}", "Make it, readable for Homeport's user only."
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise _refused(f"{path} is no file", "Name a file.")
        if about.st_mode & _OTHERS:
            raise _refused(
                f"{path} can be read or written by others (mode {stat.S_IMODE(about.st_mode):o})",
                f"chmod 600 {path}, and consider what is in it as known.",
            )
        data = file.read(TIER_CREDENTIALS_BYTES_MAX + 1)
    if len(data) > TIER_CREDENTIALS_BYTES_MAX:
        raise _refused(
            f"{path} is larger than {TIER_CREDENTIALS_BYTES_MAX} bytes", "Name the file of credentials."
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _refused(f"{path} is no text", "Write it as TOML.") from error


def _refused(what: str, hint: str) -> ConfigError:
    return ConfigError(f"The tier's credentials: {what}.", hint=hint, code="tier_credentials")
