"""Running `homeport simulate` in a process of its own, as somebody would who looks for a failing seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def simulate(*arguments: str, hash_seed: str = "0") -> dict[str, Any]:
    """The answer of the command, which is not measured for coverage: a thousand worlds would take three times as long."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "simulate", "--json", *arguments],
        env={**env, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=1_200,
    )
    assert done.returncode in (0, 1), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def told(answer: dict[str, Any]) -> str:
    """The failing seeds with what runs them again."""
    return "\n".join(
        f"{each['again']}\n  " + "\n  ".join([*each["faults"], *each["breaches"]])
        for each in answer["broken"]
    )
