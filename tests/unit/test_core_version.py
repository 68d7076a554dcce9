from __future__ import annotations

import tomllib
from pathlib import Path

from appliance.core.version import VERSION


def test_the_project_file_says_the_same() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
