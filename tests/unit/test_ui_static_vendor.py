"""Vendored files are what VENDOR.toml says, all of them, with their licences; nothing else lies there."""

from __future__ import annotations

import gzip
import hashlib
import tomllib

import pytest

from ui.pages.assets import STATIC_DIR

VENDOR_DIR = STATIC_DIR / "vendor"
LIST = tomllib.loads((VENDOR_DIR / "VENDOR.toml").read_text(encoding="utf-8"))
FILES = LIST["file"]
LICENCES = {entry["path"]: entry for entry in LIST["licence"]}
FRONT_END_GZIP_BYTES_MAX = 75_000
"""50,500 of it are uPlot, htmx and Pico; 70,000 until charts had marks and alarms their keys."""
OWN_CSS_LINE_COUNT_MAX = 220
OWN_JS_LINE_COUNT_MAX = 560
"""350 until pages had help for a first run and for ticking many devices, 400 until charts had marks and alarms their keys; each works without
its module."""
OF_ONE_PAGE = {"artifact_upload.js": 120}
"""Modules that a single page loads, for what no form can do, with their lines: no other page is larger for them."""


@pytest.mark.parametrize("entry", [*FILES, *LICENCES.values()], ids=lambda entry: str(entry["path"]))
def test_a_file_is_byte_for_byte_what_the_list_says(entry: dict[str, str]) -> None:
    assert hashlib.sha256((VENDOR_DIR / entry["path"]).read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: str(entry["path"]))
def test_a_file_has_its_version_in_its_name_and_a_licence(entry: dict[str, str]) -> None:
    assert entry["version"] in entry["path"]
    assert entry["licence"] in {"MIT", "0BSD"}
    assert entry["licence_path"] in LICENCES


def test_nothing_else_lies_there() -> None:
    listed = {entry["path"] for entry in FILES} | set(LICENCES) | {"VENDOR.toml"}
    assert {path.name for path in VENDOR_DIR.iterdir()} == listed


def test_the_front_end_is_small() -> None:
    files = [p for p in STATIC_DIR.rglob("*") if p.suffix in {".js", ".css", ".svg"}]
    assert sum(len(gzip.compress(p.read_bytes(), 9)) for p in files) < FRONT_END_GZIP_BYTES_MAX
    assert len((STATIC_DIR / "app.css").read_text().splitlines()) <= OWN_CSS_LINE_COUNT_MAX
    modules = list((STATIC_DIR / "js").glob("*.js"))
    lines = {p.name: len(p.read_text().splitlines()) for p in modules}
    assert sum(count for name, count in lines.items() if name not in OF_ONE_PAGE) <= OWN_JS_LINE_COUNT_MAX
    templates = [path.read_text() for path in (STATIC_DIR.parent / "templates").glob("*.html")]
    for name, most in OF_ONE_PAGE.items():
        assert lines[name] <= most
        assert sum(name in template for template in templates) == 1
        assert not any(name in p.read_text() for p in modules)
    assert all(p.read_text().startswith("// @ts-check\n") for p in modules)
