"""A supervisor over stand-in children, as a process of its own: `python -m tests.stand_ins.supervisor NAME=BEHAVIOUR…`.

Prints announcements to standard output and ends with the number of children it had to kill.
"""

from __future__ import annotations

import os
import sys

import trio

from appliance.core import logs
from appliance.core.clock import SystemClock
from appliance.run.child_process import ChildSpec, Timing
from appliance.run.sd_notify import Notifier
from appliance.run.supervisor import Supervisor

QUICK = Timing(
    stale_ms=2500, lost_ms=4000, start_ms_max=20_000, restart_first_ms=20, restart_ms_max=100, drain_ms=1500
)


def spec(name: str, behaviour: str, oom_score_adj: int = 0) -> ChildSpec:
    return ChildSpec(
        name=name,
        argv=(sys.executable, "-m", "tests.stand_ins.child", behaviour),
        oom_score_adj=oom_score_adj,
    )


def main() -> int:
    logs.set_up(process="supervisor", level="debug", format="json")
    supervisor = Supervisor(
        [spec(name, behaviour) for name, behaviour in (argument.split("=") for argument in sys.argv[1:])],
        environ=os.environ,
        notifier=Notifier(os.environ),
        clock=SystemClock(),
        announce=lambda lines: print(*lines, sep="\n", flush=True),
        timing=QUICK,
    )
    return len(trio.run(supervisor.run))


if __name__ == "__main__":
    sys.exit(main())
