"""Search for bytes that break a target's promise, guided by coverage: `python -m tests.fuzz TARGET [options]`.

It needs atheris, which the development lock has for Linux on x86-64. What it finds is written to the work folder, printed,
and ends the process with another code than 0.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any, Final

from . import FOLDER

INSTRUMENTED: Final = (
    "broker.mqtt",
    "broker.proxy_protocol",
    "broker.publish_check",
    "broker.refusals",
    "tests.fuzz.targets",
)
INPUT_BYTES_MAX: Final = 4096
WORK: Final = Path(__file__).parents[2] / "var" / "fuzz"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(path.name for path in FOLDER.iterdir()))
    parser.add_argument("--seconds", type=int, default=60, help="how long to search at most")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs to try at most; -1: no bound")
    parser.add_argument("--seed", type=int, default=0, help="of the search; 0: another one each time")
    parser.add_argument("--work", type=Path, default=WORK, help="where new inputs and findings are kept")
    options = parser.parse_args(arguments)
    grown = options.work / options.target
    grown.mkdir(parents=True, exist_ok=True)
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from .targets import TARGETS
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={options.seconds}",
            f"-runs={options.runs}",
            f"-max_len={INPUT_BYTES_MAX}",
            f"-seed={options.seed}",
            f"-artifact_prefix={options.work}/{options.target}-",
            "-print_final_stats=1",
            str(grown),
            str(FOLDER / options.target),
        ],
        TARGETS[options.target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
