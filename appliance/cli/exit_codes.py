"""The one place that says which exit code an error has. docs/COMMANDS.md repeats the table, and a test compares them."""

from __future__ import annotations

from typing import Final

from appliance.core import errors
from appliance.core.errors import HomeportError

EXIT_CODES: Final[dict[type[HomeportError], int]] = {
    HomeportError: 1,
    errors.UsageError: 2,
    errors.NotFound: 3,
    errors.Conflict: 4,
    errors.NotAuthorized: 5,
    errors.LimitExceeded: 6,
    errors.Unavailable: 7,
    errors.StorageError: 8,
    errors.LogDamaged: 9,
    errors.ProtocolError: 10,
    errors.ConfigError: 78,
}
"""By class; a class that isn't named has its nearest ancestor's. 2 is also click's own, 78 is EX_CONFIG of sysexits.h."""


def exit_code(error: HomeportError) -> int:
    """The code of the nearest class named in the table."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
