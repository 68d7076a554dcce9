"""Credentials of devices: from a file that only its owner reads, from standard input or from the environment.

Never from the command line: every user of a machine sees it. A file holds JSON, an object or a list of them, or an object
with a list under "devices":

    {"username": "pump-1", "password": "…"}            (also "device" or "device_id", and "token")
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from device_fw_sim.errors import OptionsError
from device_fw_sim.limits import CREDENTIALS_FILE_BYTES_MAX
from device_fw_sim.load.options import Credential

USER_VARIABLE = "HOMEPORT_SIM_USERNAME"
PASSWORD_VARIABLE = "HOMEPORT_SIM_PASSWORD"  # noqa: S105 - the variable's name
STANDARD_INPUT = "-"
_USER_KEYS = ("username", "device_id", "device", "id")
_PASSWORD_KEYS = ("password", "token")


def load(source: str | None, environ: Mapping[str, str]) -> tuple[Credential, ...]:
    """Credentials from where the user keeps them.

    Args:
        source: Path of a file, "-" for standard input, None for the environment.
        environ: HOMEPORT_SIM_USERNAME and HOMEPORT_SIM_PASSWORD are looked at when `source` is None.
    Returns:
        In the order of the file; empty when `source` is None and the environment has none.
    Raises:
        OptionsError: The file can't be read, others can read it, or it isn't of the form above.
    """
    if source is None:
        username, password = environ.get(USER_VARIABLE), environ.get(PASSWORD_VARIABLE)
        if username is None:
            return ()
        if password is None:
            raise OptionsError(f"{USER_VARIABLE} is set without {PASSWORD_VARIABLE}.", hint="Set both.")
        return (Credential(username=username, password=password),)
    if source == STANDARD_INPUT:
        return parse(sys.stdin.read(CREDENTIALS_FILE_BYTES_MAX + 1), "standard input")
    return parse(read_private(Path(source)), source)


def parse(text: str, where: str) -> tuple[Credential, ...]:
    """Credentials from JSON text.

    Args:
        text: JSON as the module says.
        where: For messages.
    Raises:
        OptionsError: It isn't.
    """
    if len(text) > CREDENTIALS_FILE_BYTES_MAX:
        raise OptionsError(f"{where} is longer than 8 MiB.", hint="Give fewer devices.")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise OptionsError(
            f"{where} is not JSON: {error}.", hint='Write {"username": …, "password": …}.'
        ) from error
    if isinstance(found, dict) and isinstance(found.get("devices"), list):
        found = found["devices"]
    entries = found if isinstance(found, list) else [found]
    return tuple(_credential(entry, where, index) for index, entry in enumerate(entries))


def _credential(entry: object, where: str, index: int) -> Credential:
    fields = entry if isinstance(entry, dict) else {}
    username = next((fields[key] for key in _USER_KEYS if key in fields), None)
    password = next((fields[key] for key in _PASSWORD_KEYS if key in fields), None)
    if not isinstance(username, str) or not isinstance(password, str) or not username:
        raise OptionsError(
            f"Entry {index + 1} of {where} has no user name and token.",
            hint='Write {"username": …, "password": …}.',
        )
    return Credential(username=username, password=password)


def read_private(path: Path) -> str:
    """The text of a file that only its owner reads. Raises OptionsError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise OptionsError(
                    f"Others may read {path} (mode {stat.S_IMODE(mode):04o}).", hint=f"Run: chmod 600 {path}"
                )
            data = file.read(CREDENTIALS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise OptionsError(
            f"{path} can't be read: {error.strerror}.", hint="Check the path and its owner."
        ) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OptionsError(f"{path} is not UTF-8.", hint='Write {"username": …, "password": …}.') from error
