"""Import every module of the packages named, so that something that was pruned and is needed stops the build."""

from __future__ import annotations

import importlib
import pkgutil
import sys

RUN_WHEN_IMPORTED = ("__main__",)


def main(packages: list[str]) -> None:
    for package in packages:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if module.name.rpartition(".")[2] not in RUN_WHEN_IMPORTED:
                importlib.import_module(module.name)


if __name__ == "__main__":
    main(sys.argv[1:])
