from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment, Template

from ui.pages.kept_code import SUFFIX, KeptCode


@pytest.fixture(autouse=True)
def _code_may_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def load(folder: Path, source: str = "{{ 6 * number }}") -> tuple[Template, list[str]]:
    """A template out of an environment that knows nothing yet, and what had to be compiled for it."""
    compiled: list[str] = []

    class Watched(Environment):
        def compile(self, source, *args, **options):  # type: ignore[no-untyped-def]
            compiled.append(source)
            return super().compile(source, *args, **options)

    environment = Watched(
        loader=DictLoader({"one": source}), bytecode_cache=KeptCode(folder), autoescape=True
    )
    return environment.get_template("one"), compiled


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_what_was_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    folder = tmp_path / "__pycache__"
    first, compiled = load(folder)
    assert (first.render(number=7), len(compiled)) == ("42", 1)
    (kept,) = files(folder)
    assert kept.name.endswith(SUFFIX)
    again, compiled = load(folder)
    assert (again.render(number=8), compiled) == ("48", [])


def test_another_source_is_compiled_and_takes_its_place(tmp_path: Path) -> None:
    load(tmp_path)
    for expected in (1, 0):
        other, compiled = load(tmp_path, "{{ number }}")
        assert (other.render(number=7), len(compiled)) == ("7", expected)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_what_is_not_whole_is_compiled_and_mended(tmp_path: Path, damage: str) -> None:
    load(tmp_path)
    (kept,) = files(tmp_path)
    whole = kept.read_bytes()
    kept.write_bytes(
        {"empty": b"", "cut": whole[:-1], "changed": whole[:-1] + bytes([whole[-1] ^ 1])}[damage]
    )
    template, compiled = load(tmp_path)
    assert (template.render(number=7), len(compiled)) == ("42", 1)
    assert load(tmp_path)[1] == []


def test_where_nothing_can_be_written_pages_are_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    template, compiled = load(tmp_path / "file")
    assert (template.render(number=7), len(compiled)) == ("42", 1)


def test_who_wants_no_code_written_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert load(tmp_path)[0].render(number=7) == "42"
    assert files(tmp_path) == []
