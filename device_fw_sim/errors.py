"""The simulator's error tree. It is a stranger to the appliance, so it has a root of its own with the same shape.

SimError
├── OptionsError    the options or a file given can't be used
├── BrokerRefused   the broker answered CONNECT with a refusal
└── LoadFailed      a load run lost, or was given, an acknowledgement it can't account for
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from device_fw_sim.load.report import LoadReport


class SimError(Exception):
    """Root of what the simulator raises on purpose.

    Args:
        message: What was wrong, one sentence.
        hint: The next step, one sentence.
    """

    code: ClassVar[str] = "sim_failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class OptionsError(SimError):
    code = "options_invalid"


class LoadFailed(SimError):  # noqa: N818
    """A load run whose acknowledgements don't add up.

    Args:
        report: The whole run, `report.failures` says what was found.
    """

    code = "load_failed"

    def __init__(self, report: LoadReport) -> None:
        super().__init__(
            "; ".join(report.failures) or "the load run failed",
            hint="The broker's own log says why; the report has the counts per kind.",
        )
        self.report = report
