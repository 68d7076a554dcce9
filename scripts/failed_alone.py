"""Run what failed beside other tests once more by itself: python scripts/failed_alone.py [pytest's arguments].

Exits 0 when there were few, and all pass now. They are named either way: each is a defect of the test, or of the product, that
wants its cause found, although it must not hold up everybody on a machine that others use at the same time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LAST_FAILED: Final = ROOT / ".pytest_cache/v/cache/lastfailed"
FAILED_MAX: Final = 8
"""More are no accident of the machine."""
NOTHING_RUN: Final = 5


def main(arguments: list[str]) -> int:
    """What the process ends with."""
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []
    if not failed or len(failed) > FAILED_MAX:
        print(f"{len(failed)} tests failed; at most {FAILED_MAX} are run again by themselves.")
        return 1
    print("Once more, by themselves:", *failed, sep="\n  ", flush=True)
    run = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments, *failed]
    status = subprocess.run(run, cwd=ROOT, check=False).returncode
    if status == 0:
        print("Failed beside other tests, passed by themselves:", *failed, sep="\n  ", flush=True)
    return 1 if status == NOTHING_RUN else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
