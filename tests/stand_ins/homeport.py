"""`homeport` whose processes are stand-ins: `python -m tests.stand_ins.homeport run …`."""

from __future__ import annotations

import sys

from appliance.cli import main, run
from appliance.run.child_process import ChildSpec


def _stand_in(name: str, oom_score_adj: int, *_arguments: str) -> ChildSpec:
    behaviour = "serve" if name == "node" else "quiet"
    argv = (sys.executable, "-m", "tests.stand_ins.child", behaviour)
    return ChildSpec(name=name, argv=argv, oom_score_adj=oom_score_adj)


if __name__ == "__main__":
    run.child_spec = _stand_in
    main(prog_name="homeport")
