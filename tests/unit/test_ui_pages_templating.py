"""Templates: all compile, none marks foreign text as safe, none needs what the content security policy forbids."""

from __future__ import annotations

import re

import pytest

from ui.pages.assets import Assets
from ui.pages.templating import TEMPLATES_DIR, Templates, partial

SOURCES = {path.name: path.read_text(encoding="utf-8") for path in TEMPLATES_DIR.glob("*.html")}
FORBIDDEN = {
    "a filter or call that turns escaping off": r"\|\s*safe|Markup|autoescape\s+false",
    "an inline script": r"<script(?![^>]*\ssrc=)",
    "an inline style": r"<style|\sstyle=",
    "an inline handler": r"\son[a-z]+\s*=|hx-on",
    "an address off the origin": r"(?:src|href|action)=\"(?:https?:)?//",
    "a value without quotes": r"\s[\w-]+=\{\{",  # Not "?group={{ … }}" within the quotes of an address.
}


def test_all_compile_and_are_known_by_name() -> None:
    assert Templates(Assets()).names == set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_template_has_none_of_it(name: str, what: str) -> None:
    assert not re.search(FORBIDDEN[what], SOURCES[name])


@pytest.mark.parametrize("name", SOURCES)
def test_every_form_that_posts_has_the_token(name: str) -> None:
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", SOURCES[name], re.S):
        assert "csrf_field(csrf)" in form


def test_a_partial_names_its_target() -> None:
    assert (
        partial("rows", "<p></p>")
        == '<hx-partial hx-target="#rows" hx-swap="innerMorph"><p></p></hx-partial>'
    )
