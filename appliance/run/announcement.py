"""What the installer must see once: addresses, the certificate's fingerprint and the setup code.

On a terminal it is printed. A service has none, and its log is no place for a setup code: there it waits in
run_dir/announcement, which only this user can read, and `homeport status` shows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

from appliance.core import logs

FILE_NAME: Final = "announcement"
CODE_PREFIX: Final = "Setup code "
_log = logs.get(__name__)


class Announcement:
    """Takes the lines of all processes for as long as the block lasts.

    Args:
        echo: Prints one line.
    """

    def __init__(self, run_dir: Path, *, to_terminal: bool, echo: Callable[[str], object]) -> None:
        self._path = run_dir / FILE_NAME
        self._to_terminal = to_terminal
        self._echo = echo

    def __enter__(self) -> Announcement:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)

    def print(self, lines: tuple[str, ...]) -> None:
        """Show the lines, and keep them for `homeport status`."""
        if self._to_terminal:
            for line in lines:
                self._echo(line)
        _write(self._path, lines)
        if not self._to_terminal:
            _log.info("addresses and the setup code are shown by `homeport status`")


def code_line(code: str) -> str:
    """The line that tells a setup code."""
    return f"{CODE_PREFIX}{code} (once, within 15 minutes)"


def replace_code(run_dir: Path, code: str) -> list[str]:
    """Keep another setup code in the place of the one before, and return all lines."""
    lines = [line for line in read(run_dir) if not line.startswith(CODE_PREFIX)]
    lines.append(code_line(code))
    _write(run_dir / FILE_NAME, lines)
    return lines


def _write(path: Path, lines: Iterable[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def read(run_dir: Path) -> list[str]:
    """The lines of the running appliance; none if it doesn't run or has said nothing."""
    try:
        return (run_dir / FILE_NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
