"""Reading settings out of a TOML file and the environment, and saying exactly where one is wrong.

tomllib doesn't keep line numbers, so when an error is to be reported the line is found by parsing ever longer
beginnings of the file until the key appears: exact, without a second TOML grammar, and only done on errors.

Must not know: which sections and keys there are; they come in as dataclasses of settings.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import ConfigError
from appliance.core.settings import BadValueError, Setting, settings_of

FILE_BYTES_MAX: Final = 256 * 1024
"""Far above any real file (the commented one has 8 KiB); finding a line parses up to this much per line."""
PREFIX: Final = "HOMEPORT_"
_PLACE_IN_MESSAGE: Final = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)")

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Checked values: of each section by key, and of each list's items."""

    sections: Mapping[str, dict[str, Any]]
    lists: Mapping[str, list[dict[str, Any]]]


def read(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    sections: Mapping[str, type],
    lists: Mapping[str, type],
    item_count_max: int,
) -> Values:
    """Read and check everything; keys not given are left out (the dataclass has the default).

    Args:
        path: The TOML file, None for none.
        environ: Where `HOMEPORT_<SECTION>__<KEY>` is looked for.
        sections: Tables of the file, name → dataclass of settings.
        lists: Arrays of tables of the file, name → dataclass of settings of one item.
        item_count_max: Most items in one list.
    Raises:
        ConfigError: with file, line and the operator's next step.
    """
    document = _Document(path)
    known = [*sections, *lists]
    for name in document.tree:
        if name not in known:
            raise document.unknown((name,), known)
    found = {name: document.table((name,), settings_of(kind)) for name, kind in sections.items()}
    items = {name: document.array(name, settings_of(kind), item_count_max) for name, kind in lists.items()}
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and "__" in variable:
            section, key, setting = _variable(variable, sections)
            try:
                found[section][key] = setting.check_text(environ[variable], relative_to=Path.cwd())
            except BadValueError as error:
                raise ConfigError(
                    f"environment: {variable} {error}.",
                    hint=f"Set it to {setting.bounds_in_words()}, or unset it.",
                ) from None
    return Values(sections=found, lists=items)


class _Document:
    """The parsed file, which can say on which line a key stands."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._text = ""
        self.tree: dict[str, Any] = {}
        if path is None:
            return
        try:
            with path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigError(
                f"{path}: can't be read: {error.strerror}.", hint="Check the path and its permissions."
            ) from error
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes.", hint="Is it the right file?")
        try:
            self._text = data.decode()
            self.tree = tomllib.loads(self._text)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{path}:{line}: isn't UTF-8.", hint="Save the file as UTF-8.") from None
        except tomllib.TOMLDecodeError as error:
            raise self._syntax(str(error)) from None

    def table(self, key: Key, settings: Mapping[str, Setting]) -> dict[str, Any]:
        """The checked values of the table at `key`, which may be missing."""
        table: Any = self.tree
        for step in key:
            table = table.get(step, {}) if isinstance(table, dict) else table[step]
        if not isinstance(table, dict):
            raise self._wrong(key, "must be a table.", f"Write [{key[0]}] above its keys.")
        values = {}
        for name, raw in table.items():
            if name not in settings:
                raise self.unknown((*key, name), list(settings))
            try:
                values[name] = settings[name].check(raw, relative_to=self._folder())
            except BadValueError as error:
                hint = f"Set it to {settings[name].bounds_in_words()}."
                raise self._wrong((*key, name), f"{error}.", hint) from None
        return values

    def array(self, name: str, settings: Mapping[str, Setting], count_max: int) -> list[dict[str, Any]]:
        """The checked values of each table of an array of tables, which may be missing."""
        items = self.tree.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._wrong((name,), "must be tables.", f"Write [[{name}]] above the keys of each.")
        if len(items) > count_max:
            raise self._wrong((name, count_max), f"is one more than {count_max} of them.", "Remove some.")
        return [self.table((name, index), settings) for index in range(len(items))]

    def unknown(self, key: Key, known: list[str]) -> ConfigError:
        """The error for a key that nobody knows, with the nearest one that exists."""
        return self._wrong(key, "is not a known key.", nearest(str(key[-1]), known))

    def _wrong(self, key: Key, what: str, hint: str) -> ConfigError:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).lstrip(".")
        return ConfigError(f"{self._path}:{self._line_of(key)}: {name} {what}", hint=hint)

    def _syntax(self, message: str) -> ConfigError:
        place = _PLACE_IN_MESSAGE.search(message)
        line = int(place["line"]) if place and place["line"] else self._text.count("\n") + 1
        what = _PLACE_IN_MESSAGE.sub("", message)
        return ConfigError(f"{self._path}:{line}: isn't TOML: {what}.", hint="Correct that line.")

    def _folder(self) -> Path:
        return self._path.absolute().parent if self._path else Path.cwd()

    def _line_of(self, key: Key) -> int:
        """The line, from 1, on which the key's value begins."""
        lines = self._text.splitlines(keepends=True)
        whole = 0
        for count in range(1, len(lines) + 1):
            try:
                tree = tomllib.loads("".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue  # The line ends inside a value of several lines: it belongs to what follows.
            if _has(tree, key):
                return whole + 1
            whole = count
        return max(1, whole)


def nearest(word: str, known: list[str]) -> str:
    """A hint: the known word most like this one, or all of them."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    # A short word is like many long ones without being meant: "mapping" holds the letters of "api".
    if close and 2 * len(close[0]) > len(word):
        return f"Did you mean {close[0]}?"
    return f"Known here: {', '.join(known)}."


def _variable(variable: str, sections: Mapping[str, type]) -> tuple[str, str, Setting]:
    """Section, key and setting that an environment variable names."""
    section, _, key = variable.removeprefix(PREFIX).lower().partition("__")
    if section not in sections:
        raise ConfigError(f"environment: {variable} names no section.", hint=nearest(section, list(sections)))
    settings = settings_of(sections[section])
    if key not in settings:
        raise ConfigError(
            f"environment: {variable} names no key of [{section}].", hint=nearest(key, list(settings))
        )
    return section, key, settings[key]


def _has(tree: Any, key: Key) -> bool:
    for step in key:
        if isinstance(step, int):
            if not isinstance(tree, list) or step >= len(tree):
                return False
        elif not isinstance(tree, dict) or step not in tree:
            return False
        tree = tree[step]
    return True
