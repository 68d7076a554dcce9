"""House style as failing tests, for what neither the linter nor the type checker sees. docs/HACKING.md says why."""

from __future__ import annotations

import ast
import gc
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from appliance.core.config import LISTS, SECTIONS
from appliance.core.settings import settings_of

ROOT: Final = Path(__file__).parents[1]
PRODUCT: Final = ("appliance", "broker", "storage", "replication", "ui", "device_fw_sim")

LINE_COUNT_MAX: Final = 400
LONG_FILES: Final = {
    "appliance/core/limits.py": (
        800,
        "one list of every bound, each with its arithmetic; nothing in it runs",
    ),
    "broker/data_plane.py": (450, "one loop over one epoll set: its steps share the turn's state"),
}
"""Files that may be longer, up to a number of lines, and why."""

BROAD_EXCEPT: Final = {
    "appliance/device_port/port.py": "a request that nobody foresaw ends its connection, is logged whole, and not the node for everybody",
    "appliance/pipeline/watch_feed.py": "readings go on whatever a rule or a detector does; it is logged, counted, shown, and begun anew",
    "appliance/pipeline/store_work.py": "hands any error of the writer's thread to whoever asked for the work",
    "appliance/device_requests/router.py": "logs what one device's message came upon, answers it, and serves all others",
    "appliance/notifications/sender.py": "logs a notification or a target that nobody can make anything of, and tells all others",
    "appliance/updates/batches.py": "logs a row that nobody can make anything of, counts it, and goes on with all others",
    "appliance/updates/rollout_planner.py": "logs a rollout that can't be moved on, and goes on with all others",
    "appliance/updates/teller.py": "logs a row that nobody can make anything of, counts it, and tells all other devices",
    "broker/committer.py": "carries any error of its thread over to the data plane, which raises it",
}
"""Where `except Exception` may stand, and why."""

MEASURES: Final = frozenset(
    {
        "timeout",
        "interval",
        "delay",
        "duration",
        "deadline",
        "age",
        "period",
        "ttl",
        "linger",
        "backoff",
        "latency",
    }
)
"""A number of one of these has a unit, and its name ends in it (timeout_s, backoff_ms)."""

# Put together from pieces, so that this file doesn't have what it looks for.
UNFINISHED: Final = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX:", "HA" + "CK:")))
MACHINE_PATHS: Final = re.compile(
    "|".join(("/wo" + "rk/", "/ro" + "ot/", "/tmp/set" + "up", "/Us" + "ers/", "/ho" + "me/[a-z]+/"))
)
REGISTRIES: Final = re.compile(
    "|".join(
        re.escape(name + "." + domain)
        for name, domain in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("yarnpkg", "com"),
            ("deb.debian", "org"),
            ("security.debian", "org"),
            ("crates", "io"),
            ("proxy.golang", "org"),
        )
    )
)
BINARY_SUFFIXES: Final = frozenset({".png", ".ico", ".woff2", ".gz", ".zst", ".parquet", ".bin"})


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return tuple(path for path in paths if path.is_file())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def product() -> tuple[tuple[str, ast.Module], ...]:
    """The program's modules, by name and parsed; tests and scripts are not among them."""
    found = [path for path in files() if path.suffix == ".py" and name_of(path).split("/")[0] in PRODUCT]
    # Millions of nodes stay to the end: nobody needs to look through them for garbage meanwhile.
    gc.disable()
    try:
        return tuple((name_of(path), ast.parse(path.read_text())) for path in found)
    finally:
        gc.freeze()
        gc.enable()


@cache
def trees() -> dict[str, ast.Module]:
    return dict(product())


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    """All of a module's."""
    return tuple(ast.walk(trees()[name]))


def texts() -> Iterator[tuple[str, str]]:
    for path in files():
        if path.suffix not in BINARY_SUFFIXES:
            yield name_of(path), path.read_text(errors="replace")


def test_files_are_short() -> None:
    too_long = {}
    for path in files():
        if path.suffix == ".py" and "vendor" not in path.parts:
            name, count = name_of(path), len(path.read_text().splitlines())
            limit = LONG_FILES.get(name, (LINE_COUNT_MAX if name.split("/")[0] in PRODUCT else 600, ""))[0]
            if count > limit:
                too_long[name] = count
    assert not too_long


def test_nothing_was_committed_by_mistake() -> None:
    """What a program made (a catalog, keys), or a folder that was meant to be an option."""
    made = {".db", ".id", ".key", ".crt"}
    assert [name for name in map(name_of, files()) if name.startswith("-") or Path(name).suffix in made] == []


def test_the_exceptions_are_still_needed() -> None:
    for name in LONG_FILES:
        assert len((ROOT / name).read_text().splitlines()) > LINE_COUNT_MAX, f"{name} is short now"
    for name in BROAD_EXCEPT:
        assert any(_is_broad(node) for node in nodes(name)), f"{name} needs no exception now"


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name, tree in product() if tree.body and not ast.get_docstring(tree)]
    assert not silent


def test_library_code_does_not_print() -> None:
    printing = [
        f"{name}:{node.lineno}"
        for name, _ in product()
        for node in nodes(name)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing


def test_numbers_with_a_unit_say_it_last_in_their_name() -> None:
    bare = []
    for name, _ in product():
        for node in nodes(name):
            if (
                isinstance(node, ast.arg)
                and _is_number(node.annotation)
                and node.arg.split("_")[-1] in MEASURES
            ):
                bare.append(f"{name}:{node.lineno} {node.arg}")
            if (
                isinstance(node, ast.AnnAssign)
                and _is_number(node.annotation)
                and isinstance(node.target, ast.Name)
                and node.target.id.lower().split("_")[-1] in MEASURES
            ):
                bare.append(f"{name}:{node.lineno} {node.target.id}")
            if isinstance(node, ast.keyword) and node.arg in MEASURES and _is_literal_number(node.value):
                bare.append(f"{name}:{node.value.lineno} {node.arg}=")
    assert not bare


def test_nothing_is_left_unfinished() -> None:
    found = [name for name, text in texts() if "/vendor/" not in name and UNFINISHED.search(text)]
    assert not found


def test_errors_are_caught_by_name() -> None:
    """`except Exception` hides mistakes; `except BaseException` may only clean up and raise on."""
    broad = [
        f"{name}:{node.lineno}"
        for name, _ in product()
        if name not in BROAD_EXCEPT
        for node in nodes(name)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _raises_on(node)
    ]
    assert not broad


def test_packaging_is_no_python_package() -> None:
    """It would shadow the `packaging` library that pytest and setuptools import."""
    assert not list((ROOT / "packaging").rglob("__init__.py"))


@pytest.mark.parametrize(
    "pattern", [MACHINE_PATHS, REGISTRIES], ids=["paths of a machine", "package registries"]
)
def test_files_know_no_machine_and_no_registry(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match.group()}"
        for name, text in texts()
        for match in pattern.finditer(text)
    ]
    assert not found


def test_lock_files_pin_by_hash() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        pinned = re.findall(r"(?m)^[A-Za-z0-9._-]+(?:\[.*\])?==\S+.*\\$", text)
        assert len(pinned) > 20
        assert len(re.findall(r"(?m)^[A-Za-z0-9]", text)) == len(pinned), f"{name} has a line without a hash"


def test_scripts_can_be_run_and_say_what_they_do() -> None:
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]:
        if path.suffix or path.is_dir():
            continue
        lines = path.read_text().splitlines()
        assert lines[0] == "#!/usr/bin/env bash", path
        assert lines[1].startswith("# "), path
        assert os.access(path, os.X_OK), path


def test_every_setting_is_read_by_something() -> None:
    read = {
        node.attr
        for name, _ in product()
        if not name.startswith("appliance/core/config")
        for node in nodes(name)
        if isinstance(node, ast.Attribute)
    }
    keys = {key for section in (*SECTIONS.values(), *LISTS.values()) for key in settings_of(section)}
    assert not keys - read


def _is_number(annotation: ast.expr | None) -> bool:
    """`int` or `float`, alone or beside None."""
    if isinstance(annotation, ast.Name):
        return annotation.id in ("int", "float")
    if isinstance(annotation, ast.BinOp):
        return _is_number(annotation.left) or _is_number(annotation.right)
    return (
        isinstance(annotation, ast.Subscript)
        and isinstance(annotation.value, ast.Name)
        and (annotation.value.id == "Final" and _is_number(annotation.slice))
    )


def _is_literal_number(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


def _is_broad(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))
        for kind in kinds
    )


def _raises_on(handler: ast.ExceptHandler) -> bool:
    broad = isinstance(handler.type, ast.Name) and handler.type.id == "BaseException"
    return broad and isinstance(handler.body[-1], ast.Raise)
