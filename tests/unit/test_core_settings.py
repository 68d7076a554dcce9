from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.settings import BadValueError, Bind, Setting

HERE = Path("/etc/homeport")

WHOLE = Setting(kind="whole", default=10, unit="ms", low=1, high=20, help="")
RATIO = Setting(kind="ratio", default=0.001, low=0, high=1, help="")
FLAG = Setting(kind="flag", default=True, help="")
CHOICE = Setting(kind="choice", default="a", choices=("a", "b", "c"), help="")
TEXT = Setting(kind="text", default="x", low=1, high=3, pattern=("[a-z]+", "small letters"), help="")
TEXTS = Setting(kind="texts", default=("x", "y"), low=1, high=3, count_max=2, help="")
FOLDER = Setting(kind="folder", default=Path("/x"), low=1, high=30, help="")
BIND = Setting(kind="bind", default=Bind(host="::1", port=1), help="")
BIND_OR_OFF = Setting(kind="bind", default=None, may_be_off=True, help="")
FILE = Setting(kind="file", default=None, low=1, high=30, may_be_off=True, help="")


def _even(text: str) -> int:
    if not text.isdecimal() or int(text) % 2:
        raise BadValueError(f'must be even numbers, not "{text}"')
    return int(text)


LISTING = Setting(kind="texts", default=(), low=1, high=3, count_max=2, item=(_even, "even numbers"), help="")


@pytest.mark.parametrize(
    ("setting", "raw", "value"),
    [
        (WHOLE, 1, 1),
        (WHOLE, 20, 20),
        (RATIO, 0, 0.0),
        (RATIO, 0.25, 0.25),
        (RATIO, 1, 1.0),
        (FLAG, False, False),
        (CHOICE, "b", "b"),
        (TEXT, "abc", "abc"),
        (TEXTS, ["a", "bc"], ("a", "bc")),
        (TEXTS, [], ()),
        (FOLDER, "var", Path("/etc/homeport/var")),
        (FOLDER, "/srv", Path("/srv")),
        (BIND, "0.0.0.0:0", Bind(host="0.0.0.0", port=0)),
        (BIND, "[::1]:8883", Bind(host="::1", port=8883)),
        (BIND_OR_OFF, "off", None),
        (FILE, "off", None),
        (FILE, "ca.pem", Path("/etc/homeport/ca.pem")),
        (LISTING, [], ()),
        (LISTING, ["2", "4"], (2, 4)),
    ],
)
def test_a_value_within_bounds_is_taken(setting: Setting, raw: object, value: object) -> None:
    assert setting.check(raw, relative_to=HERE) == value


@pytest.mark.parametrize(
    ("setting", "raw", "says"),
    [
        (WHOLE, 0, "from 1 to 20 ms, not 0"),
        (WHOLE, 21, "from 1 to 20 ms, not 21"),
        (WHOLE, True, "a whole number, not true or false"),
        (WHOLE, 1.5, "a whole number, not a fraction"),
        (WHOLE, "5", "a whole number, not a text"),
        (FLAG, 1, "true or false, not a whole number"),
        (CHOICE, "d", 'one of a, b, c, not "d"'),
        (CHOICE, ["a"], "a text in quotes, not a list"),
        (TEXT, "", "1 to 3 characters, not 0"),
        (TEXT, "abcd", "1 to 3 characters, not 4"),
        (TEXT, "A", 'small letters, not "A"'),
        (TEXTS, "a", "a list of texts in quotes, not a text"),
        (TEXTS, ["a", 1], "a list of texts in quotes, not a list"),
        (TEXTS, ["a", "b", "c"], "at most 2 texts, not 3"),
        (TEXTS, ["abcd"], "1 to 3 characters, not 4"),
        (FOLDER, "much/too/long/for/a/socket", "longer than 30 bytes"),
        (FOLDER, "", "characters"),
        (FILE, "much/too/long/for/this/setting", "longer than 30 bytes"),
        (LISTING, "2", "a list of texts"),
        (LISTING, [2], "a list of texts"),
        (LISTING, ["3"], 'even numbers, not "3"'),
        (LISTING, ["2", "2", "2"], "at most 2 texts, not 3"),
        (BIND, "off", "host:port"),
        (BIND, "8883", "host:port"),
        (BIND, "::1:8883", "host:port"),
        (BIND, "localhost:65536", "above 65535"),
    ],
)
def test_a_value_out_of_bounds_is_refused_in_words(setting: Setting, raw: object, says: str) -> None:
    with pytest.raises(BadValueError, match=says.replace(".", r"\.")):
        setting.check(raw, relative_to=HERE)


@pytest.mark.parametrize(
    ("setting", "raw", "value"),
    [
        (WHOLE, "7", 7),
        (FLAG, "YES", True),
        (FLAG, "0", False),
        (CHOICE, "c", "c"),
        (BIND_OR_OFF, "off", None),
        (TEXTS, "a,bc", ("a", "bc")),
        (TEXTS, "", ()),
        (FILE, "off", None),
        (LISTING, "2,4", (2, 4)),
        (LISTING, "", ()),
    ],
)
def test_text_from_the_environment_is_read(setting: Setting, raw: str, value: Any) -> None:
    assert setting.check_text(raw, relative_to=HERE) == value


@pytest.mark.parametrize(
    ("setting", "raw"), [(WHOLE, "x"), (WHOLE, "99"), (FLAG, "maybe"), (BIND, "x"), (LISTING, "1")]
)
def test_bad_text_from_the_environment_is_refused(setting: Setting, raw: str) -> None:
    with pytest.raises(BadValueError):
        setting.check_text(raw, relative_to=HERE)


def test_a_bind_prints_as_it_was_written() -> None:
    for written in ("127.0.0.1:1883", "[::1]:8883", "localhost:0"):
        assert str(Bind.parse(written)) == written


def test_bounds_and_defaults_are_told_in_words() -> None:
    assert WHOLE.bounds_in_words() == "1 to 20 ms"
    assert FLAG.bounds_in_words() == "true or false"
    assert FLAG.default_as_toml() == "true"
    assert CHOICE.bounds_in_words() == "a, b or c"
    assert TEXT.bounds_in_words() == "1 to 3 characters: small letters"
    assert TEXTS.bounds_in_words() == "a list of up to 2 texts of 1 to 3 characters"
    assert TEXTS.default_as_toml() == '["x", "y"]'
    assert BIND.default_as_toml() == '"[::1]:1"'
    assert BIND_OR_OFF.default_as_toml() == '"off"'
    assert BIND_OR_OFF.bounds_in_words() == "host:port or [ipv6]:port, or off"
    assert FILE.default_as_toml() == '"off"'
    assert FILE.bounds_in_words() == "a file, up to 30 bytes as an absolute path, or off"
    assert LISTING.default_as_toml() == "[]"
    assert LISTING.bounds_in_words() == "a list of up to 2: even numbers"


@pytest.mark.parametrize("raw", [True, "0.5", -0.1, 1.1, float("nan"), float("inf"), [0.5]])
def test_what_is_no_share(raw: Any) -> None:
    with pytest.raises(BadValueError, match="from 0 to 1"):
        RATIO.check(raw, relative_to=HERE)


def test_a_share_as_text() -> None:
    assert RATIO.check_text("1e-2", relative_to=HERE) == 0.01
    for raw in ("much", "2", "-1", "nan", ""):
        with pytest.raises(BadValueError, match="from 0 to 1"):
            RATIO.check_text(raw, relative_to=HERE)
    assert [RATIO.as_toml(value) for value in (0.0, 0.001, 0.5, 1.0)] == ["0.0", "0.001", "0.5", "1.0"]
    assert RATIO.bounds_in_words() == "0 to 1"
