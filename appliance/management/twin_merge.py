"""How a change is put on top of a twin's section, what is then different from the other one, and when each value was set. Pure.

A section is a JSON object. A change is one too, in which null deletes; arrays are values, replaced as a whole. So `merged` is JSON Merge
Patch (RFC 7386), and these hold for any section s and changes p (tests/properties/test_twins.py):

    merged(merged(s, p), p) == merged(s, p)            saying it again changes nothing
    difference(d, merged(r, difference(d, r))) == {}   who does what the delta says has no delta any more
    merged(s, change_between(s, t)) == t

Times are of each value, whole seconds UTC, in a tree of the section's shape with one number for an array.
"""

from __future__ import annotations

from typing import Any

Section = dict[str, Any]
Times = dict[str, Any]
"""{"a": 1700000000, "b": {"c": 1700000001}} for {"a": [1, 2], "b": {"c": true}}."""


def merged(section: Section, change: Section) -> Section:
    """The section with a change on top; neither of them is touched. Source: RFC 7386 §2."""
    result = dict(section)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def times_merged(times: Times, section: Section, change: Section, at_s: int) -> Times:
    """The times of `merged(section, change)`: what the change names was set at `at_s`, also where the value is the same.

    Args:
        times: Of the section before.
    """
    result = dict(times)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = section.get(key)
            is_object = isinstance(below, dict)
            result[key] = times_merged(
                result[key] if is_object else {}, below if isinstance(below, dict) else {}, value, at_s
            )
        else:
            result[key] = at_s
    return result


def difference(desired: Section, reported: Section) -> Section:
    """What of the desired the reported lacks or has otherwise; what is reported beyond it doesn't matter."""
    result: Section = {}
    for key, value in desired.items():
        if key not in reported:
            result[key] = value
            continue
        other = reported[key]
        if isinstance(value, dict) and isinstance(other, dict):
            below = difference(value, other)
            if below:
                result[key] = below
        elif not same(value, other):
            result[key] = value
    return result


def change_between(before: Section, after: Section) -> Section:
    """The smallest change that makes one section of another: `merged(before, change_between(before, after)) == after`.

    Args:
        after: Without nulls outside of arrays (`without_nulls`).
    """
    change: Section = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if key not in before:
            change[key] = value
        elif isinstance(value, dict) and isinstance(old, dict):
            if below := change_between(old, value):
                change[key] = below
        elif not same(old, value):
            change[key] = value
    return change


def same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are equal: true is not 1, but 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def metadata(section: Section, times: Times | int) -> dict[str, Any]:
    """A section's times as they are told: {"timestamp": s} in the place of each value, of an array's values one by one.

    Args:
        section: The whole section, or a part of it (a difference, a change without its nulls).
    """
    return {
        key: _told(value, times if isinstance(times, int) else times.get(key, {}))
        for key, value in section.items()
    }


def _told(value: Any, times: Any) -> Any:
    if isinstance(value, dict):
        return metadata(value, times)
    at_s = times if isinstance(times, int) else 0
    if isinstance(value, list):
        return [_told(each, at_s) for each in value]
    return {"timestamp": at_s}


def without_nulls(change: Section) -> Section:
    """What of a change is there after it: its values, without what it deletes."""
    return merged({}, change)
