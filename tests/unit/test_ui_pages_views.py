"""Element ids and addresses from foreign names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ui.pages.views import device_url, dom_id


@given(st.text())
def test_ids_of_elements_are_safe_in_a_selector(name: str) -> None:
    assert dom_id("d", name).removeprefix("d-").isalnum()
    assert "/" not in device_url(name).removeprefix("/devices/") if name.isprintable() else True


def test_names_that_could_run_into_each_other_have_different_ids() -> None:
    assert dom_id("v", "a", "b") != dom_id("v", "ab")
