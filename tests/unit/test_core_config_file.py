from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core import config_file
from appliance.core.config import LISTS, SECTIONS
from appliance.core.errors import ConfigError


def _read(path: Path | None, environ: dict[str, str] | None = None) -> config_file.Values:
    return config_file.read(path, environ or {}, sections=SECTIONS, lists=LISTS, item_count_max=2)


@pytest.mark.parametrize(
    ("text", "line", "says", "hint"),
    [
        ("[brokr]\n", 1, "brokr is not a known key.", "Did you mean broker?"),
        ("x = 1\n", 1, "x is not a known key.", "Known here: node, log"),
        (
            "\n[log]\nlinger_ms = 5000\n",
            3,
            "log.linger_ms must be from 0 to 1000 ms, not 5000.",
            "Set it to 0 to 1000 ms.",
        ),
        ("[log]\n\nlinger_ms = '1'\n", 3, "log.linger_ms must be a whole number, not a text.", "Set it to"),
        ("log = 3\n", 1, "log must be a table.", "Write [log] above its keys."),
        ("[mapping]\ntopic = 'x'\n", 1, "mapping must be tables.", "Write [[mapping]]"),
        (
            "[[mapping]]\ntopic='a/{device}'\n[[mapping]]\ntopic='b'\n",
            4,
            "mapping[1].topic must be a topic with",
            "Set it",
        ),
        (
            "[[mapping]]\n[[mapping]]\n\n[[mapping]]\n",
            4,
            "mapping[2] is one more than 2 of them.",
            "Remove some.",
        ),
        (
            "[log]\nlinger_ms = 1\nlinger_ms = 2\n",
            3,
            "isn't TOML: Cannot overwrite a value.",
            "Correct that line.",
        ),
        ("[log]\nlinger_ms = \n", 2, "isn't TOML: Invalid value.", "Correct that line."),
        ("[node]\nname = '''", 2, "isn't TOML:", "Correct that line."),
        (
            "[log]\ncompression = [\n 1,\n 2,\n]\n",
            2,
            "log.compression must be a text in quotes, not a list.",
            "Set it",
        ),
        ("broker.tcp_bind = 'x'\n", 1, "broker.tcp_bind must be", "Set it to host:port"),
        ("node = { name = 'a',\tnme = 'b' }\n", 1, "node.nme is not a known key.", "Did you mean name?"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, says: str, hint: str) -> None:
    path = tmp_path / "homeport.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        _read(path)
    assert raised.value.message.startswith(f"{path}:{line}: {says}")
    assert raised.value.hint.startswith(hint)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        _read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        _read(tmp_path)


def test_a_file_that_is_not_text_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "homeport.toml"
    path.write_bytes(b"[log]\n\xff\n")
    with pytest.raises(ConfigError, match="toml:2: isn't UTF-8"):
        _read(path)


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "homeport.toml"
    path.write_bytes(b"#" * (config_file.FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than"):
        _read(path)


@pytest.mark.parametrize(
    ("variable", "value", "says", "hint"),
    [
        ("HOMEPORT_BROKR__TCP_BIND", "x", "names no section", "Did you mean broker?"),
        ("HOMEPORT_BROKER__TCP_BND", "x", r"names no key of \[broker\]", "Did you mean tcp_bind?"),
        ("HOMEPORT_BROKER__TCP_BIND", "x", "must be .host:port", "Set it to host:port"),
        ("HOMEPORT_LOG__LINGER_MS", "soon", "must be a whole number", "Set it to 0 to 1000 ms, or unset it."),
        ("HOMEPORT_MAPPING__TOPIC", "x", "names no section", "Known here"),
    ],
)
def test_a_bad_variable_is_refused(variable: str, value: str, says: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        _read(None, {variable: value})
    assert raised.value.hint.startswith(hint)
    assert variable in raised.value.message


def test_variables_of_others_are_left_alone() -> None:
    values = _read(None, {"HOMEPORT_CONFIG": "x", "HOMEPORT_SUPERVISOR_FD": "3", "PYTEST__X": "1"})
    assert all(found == {} for found in values.sections.values())


@given(st.text())
def test_any_text_at_all_is_a_configuration_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        _read(path)
    except ConfigError as error:
        assert error.hint
