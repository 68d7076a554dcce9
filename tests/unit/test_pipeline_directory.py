"""The pipeline's memory of whose readings are kept."""

from __future__ import annotations

import pytest

from appliance.pipeline.directory import Admissions


def test_asked_once_until_something_changes() -> None:
    admissions = Admissions()
    assert admissions.unknown({"b", "a"}) == ["a", "b"]
    admissions.note(["a", "b"], ["a"])
    assert admissions.unknown({"a", "b"}) == []
    assert (admissions.is_accepted("a"), admissions.is_accepted("b")) == (True, False)
    admissions.forget()
    assert admissions.is_accepted("a")  # the batch that is being built keeps its answers
    assert admissions.unknown({"a"}) == ["a"]


def test_a_device_nobody_asked_about_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Admissions().is_accepted("a")


def test_bounded_between_batches() -> None:
    admissions = Admissions(device_count_max=2)
    admissions.note(["a", "b", "c"], ["a"])
    assert admissions.is_accepted("a")
    assert admissions.unknown({"c"}) == ["c"]
