"""Verbs that hand everything over to a program of their own, in the same process id."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any, Final, NoReturn

from appliance.core.errors import UsageError

UNTOUCHED: Final[dict[str, Any]] = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}
"""click's settings for a verb whose arguments, --help among them, are another program's."""


def become(module: str, arguments: list[str], *, missing_hint: str) -> NoReturn:
    """Replace this process by `python -m module arguments`, so that signals and exit code are the program's own.

    Raises:
        UsageError: the module isn't installed.
    """
    if not _installed(module):
        raise UsageError(f"{module} isn't installed.", hint=missing_hint)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module.removesuffix(".__main__"), *arguments])  # noqa: S606 - no shell is wanted


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # Its package is missing.
        return False
