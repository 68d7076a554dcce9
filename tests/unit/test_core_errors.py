from __future__ import annotations

import inspect

import pytest

from appliance.core import errors
from appliance.core.errors import HomeportError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HomeportError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_drawn_tree_under_its_parent(kind: type[HomeportError]) -> None:
    assert errors.__doc__ is not None
    drawn = [line for line in errors.__doc__.splitlines() if kind.__name__ in line.split()]
    assert drawn, f"{kind.__name__} isn't drawn"


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind.default_code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


def test_an_error_reads_as_message_and_hint() -> None:
    error = HomeportError("The disk is full.", hint="Free some space.", code="disk_full")
    assert str(error) == "The disk is full. Free some space."
    assert (error.message, error.hint, error.code) == ("The disk is full.", "Free some space.", "disk_full")
    assert HomeportError("x").code == "error"
    assert errors.RemoteProtocolError("x").reason_code == 0x82
