"""What the installer must see once: addresses, the certificate's fingerprint and the setup code.

On a terminal it is printed, with the address as a QR code while there is a setup code to use. A service has none, and its log is no place for a setup code: there it waits in
run_dir/announcement, which only this user can read, and `homeport status` shows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from appliance.core import logs
from appliance.core.settings import Bind
from appliance.run.terminal_qr import address_to_show, qr_lines

FILE_NAME: Final = "announcement"
WILDCARD_HOSTS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound
CODE_PREFIX: Final = "Setup code "
_log = logs.get(__name__)


class Announcement:
    """Takes the lines of all processes for as long as the block lasts.

    Args:
        echo: Prints one line.
        shows_blocks: The terminal can show the block characters of a QR code.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        to_terminal: bool,
        echo: Callable[[str], object],
        shows_blocks: bool = True,
    ) -> None:
        self._path = run_dir / FILE_NAME
        self._to_terminal = to_terminal
        self._echo = echo
        self._shows_blocks = shows_blocks

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
            for line in with_qr(lines) if self._shows_blocks else lines:
                self._echo(line)
        _write(self._path, lines)
        if not self._to_terminal:
            _log.info("addresses and the setup code are shown by `homeport status`")


def code_line(code: str) -> str:
    """The line that tells a setup code."""
    return f"{CODE_PREFIX}{code} (once, within 15 minutes)"


def with_qr(lines: Sequence[str]) -> list[str]:
    """The lines, followed by the address as a QR code if somebody is to claim the box and another machine can open it."""
    address = address_to_show(lines) if any(line.startswith(CODE_PREFIX) for line in lines) else ""
    return [*lines, "", *qr_lines(address)] if address else list(lines)


def replace_code(run_dir: Path, code: str) -> list[str]:
    """Keep another setup code in the place of the one before, and return all lines."""
    lines = [line for line in read(run_dir) if not line.startswith(CODE_PREFIX)]
    lines.append(code_line(code))
    _write(run_dir / FILE_NAME, lines)
    return lines


def as_of_now(lines: Sequence[str], *, needs_setup: bool, code_valid: bool) -> list[str]:
    """The kept lines without a code that is void: the box was claimed, or the 15 minutes are over."""
    if code_valid:
        return list(lines)
    over = ["The setup code is over: `homeport setup-code` makes a new one."] if needs_setup else []
    return [line for line in lines if not line.startswith(CODE_PREFIX)] + over


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


def lines_of(bind: Bind, fingerprint: str, code: str | None) -> list[str]:
    """What a node says of itself: where it is reached, its certificate, and the setup code while nobody has claimed it."""
    # Keys and the catalog come with it; the supervisor, which shows these lines and doesn't make them, goes without.
    from appliance.identity.addresses import machine_addresses

    hosts = [bind.host]
    if bind.host in WILDCARD_HOSTS:
        outward = [each for each in machine_addresses() if not each.startswith(("127.", "::1", "fe80"))]
        hosts = outward or ["127.0.0.1"]
    lines = [f"Open https://{f'[{host}]' if ':' in host else host}:{bind.port}/" for host in hosts]
    lines.append(f"Certificate fingerprint (SHA-256) {fingerprint}")
    return lines if code is None else [*lines, code_line(code)]
