"""Processes that tests have started, as /proc shows them (proc(5))."""

from __future__ import annotations

from pathlib import Path


def children_of(pid: int) -> list[int]:
    """A process's children: the kernel lists each with the thread that started it, which need not be the first."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in lists for child in _read(children).split()]


def child_running(pid: int, program: str) -> int | None:
    """The child whose command line names a program, None while there is none."""
    for child in children_of(pid):
        if program in _read(Path(f"/proc/{child}/cmdline")):
            return child
    return None


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent doesn't."""
    return _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[:1] not in ([], ["Z"])


def _read(path: Path) -> str:
    """Empty for what has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
