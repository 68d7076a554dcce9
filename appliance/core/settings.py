"""One setting: its kind, default, unit, bounds and help, and how a raw value becomes a checked one.

A configuration class declares its settings as dataclass fields made by the functions below (`whole`, `flag`,
`choice`, `text`, `texts`, `listing`, `folder`, `file_or_off`, `bind`), so that one line holds everything that is known about a
key; the commented homeport.toml and docs/CONFIGURATION.md are rendered from the same lines.

Must not know: which sections exist, where values come from (file or environment).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

Kind = Literal["whole", "ratio", "flag", "choice", "text", "texts", "folder", "file", "bind"]

_Item = TypeVar("_Item")
_METADATA_KEY: Final = "homeport.setting"
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_BIND: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]]+)):(?P<port>\d{1,5})\Z")


class BadValueError(ValueError):
    """A value is not what its setting allows; the message goes on from "broker.tcp_bind …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Where a listener listens: a host name or address, and a TCP port (0: the kernel chooses)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @staticmethod
    def parse(value: str) -> Bind:
        """Read `host:port` or `[ipv6]:port`.

        Raises:
            BadValueError: it is neither, or the port is above 65535; the message says what was expected.
        """
        found = _BIND.match(value)
        if found is None:
            raise BadValueError('must be "host:port" or "[ipv6]:port"')
        port = int(found["port"])
        if port > 65_535:
            raise BadValueError("has a port above 65535")
        return Bind(host=found["v6"] or found["host"], port=port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known about one key.

    Attributes:
        unit: The unit of a number ("ms", "MiB", "connections" …), empty for the other kinds.
        low, high: Bounds of a number, both included; of a text (of each of a list), its length in characters.
        choices: The words allowed, for a choice.
        may_be_off: The word "off" is allowed and becomes None (binds and files).
        pattern: A regular expression that a text must match as a whole, and what it says in words.
        count_max: Most texts of a list.
        item: Makes the value of a text of a list (raises BadValueError), and what it is in words.
    """

    kind: Kind
    default: Any
    help: str
    unit: str = ""
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    may_be_off: bool = False
    pattern: tuple[str, str] | None = None
    count_max: int = 1
    item: tuple[Callable[[str], Any], str] | None = None

    def check(self, raw: object, *, relative_to: Path) -> Any:
        """Turn a value as TOML gives it into the checked one.

        Args:
            raw: The value from the file.
            relative_to: What a relative folder is relative to.
        Raises:
            BadValueError: wrong type or out of bounds.
        """
        match self.kind:
            case "whole":
                if isinstance(raw, bool) or not isinstance(raw, int):
                    raise BadValueError(f"must be a whole number, not {_type_name(raw)}")
                return self._bounded(raw)
            case "ratio":
                if isinstance(raw, bool) or not isinstance(raw, int | float):
                    raise BadValueError(f"must be a number from 0 to 1, not {_type_name(raw)}")
                return _ratio(raw)
            case "flag":
                if not isinstance(raw, bool):
                    raise BadValueError(f"must be true or false, not {_type_name(raw)}")
                return raw
            case "texts":
                return self._check_list(raw, relative_to)
        if not isinstance(raw, str):
            raise BadValueError(f"must be a text in quotes, not {_type_name(raw)}")
        return self._check_text(raw, relative_to)

    def check_text(self, raw: str, *, relative_to: Path) -> Any:
        """The same for a value that comes as text, from the environment.

        Raises:
            BadValueError: as `check`.
        """
        match self.kind:
            case "whole":
                try:
                    number = int(raw)
                except ValueError:
                    raise BadValueError(f'must be a whole number, not "{raw}"') from None
                return self._bounded(number)
            case "ratio":
                try:
                    return _ratio(float(raw))
                except ValueError:
                    raise BadValueError(f'must be a number from 0 to 1, not "{raw}"') from None
            case "flag":
                word = raw.lower()
                if word not in _TRUE | _FALSE:
                    raise BadValueError(f'must be true or false, not "{raw}"')
                return word in _TRUE
            case "texts":
                return self._check_list([part for part in raw.split(",") if part], relative_to)
        return self._check_text(raw, relative_to)

    def _check_list(self, raw: object, relative_to: Path) -> tuple[str, ...]:
        if not isinstance(raw, list) or not all(isinstance(part, str) for part in raw):
            raise BadValueError(f"must be a list of texts in quotes, not {_type_name(raw)}")
        if len(raw) > self.count_max:
            raise BadValueError(f"must have at most {self.count_max} texts, not {len(raw)}")
        read = self.item[0] if self.item is not None else lambda part: part
        return tuple(read(self._check_text(part, relative_to)) for part in raw)

    def _check_text(self, raw: str, relative_to: Path) -> Any:
        match self.kind:
            case "choice":
                if raw not in self.choices:
                    raise BadValueError(f'must be one of {", ".join(self.choices)}, not "{raw}"')
                return raw
            case "bind":
                if self.may_be_off and raw == "off":
                    return None
                return Bind.parse(raw)
            case "folder" | "file":
                if self.may_be_off and raw == "off":
                    return None
                self._length(raw)
                path = relative_to / raw
                if len(bytes(path)) > (self.high or 4096):
                    raise BadValueError(f"is longer than {self.high} bytes once made absolute: {path}")
                return path
        self._length(raw)
        if self.pattern is not None and re.fullmatch(self.pattern[0], raw) is None:
            raise BadValueError(f'must be {self.pattern[1]}, not "{raw}"')
        return raw

    def _bounded(self, number: int) -> int:
        low, high = self.low, self.high
        if (low is not None and number < low) or (high is not None and number > high):
            raise BadValueError(f"must be from {low} to {high} {self.unit}, not {number}")
        return number

    def _length(self, raw: str) -> None:
        if not (self.low or 0) <= len(raw) <= (self.high or 4096):
            raise BadValueError(
                f"must have {self.low or 0} to {self.high or 4096} characters, not {len(raw)}"
            )

    def default_as_toml(self) -> str:
        """The default the way it is written in homeport.toml."""
        if self.kind == "flag":
            return "true" if self.default else "false"
        if self.kind == "whole":
            return f"{self.default:_}" if self.default >= 10_000 else str(self.default)
        if self.kind == "ratio":
            return f"{self.default:.9f}".rstrip("0").ljust(3, "0")
        if self.kind == "texts":
            return "[" + ", ".join(f'"{part}"' for part in self.default) + "]"
        return f'"{"off" if self.default is None else self.default}"'

    def as_toml(self, value: Any) -> str:
        """A value of this setting the way it is written in homeport.toml."""
        return dataclasses.replace(self, default=value).default_as_toml()

    def bounds_in_words(self) -> str:
        """ "0 to 1000 ms", "auto, none or zstd", "host:port, or off" …, for people."""
        match self.kind:
            case "whole":
                return f"{self.low} to {self.high} {self.unit}".strip()
            case "ratio":
                return "0 to 1"
            case "flag":
                return "true or false"
            case "choice":
                return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
            case "bind":
                return "host:port or [ipv6]:port" + (", or off" if self.may_be_off else "")
            case "folder":
                return f"a folder, up to {self.high} bytes as an absolute path"
            case "file":
                return f"a file, up to {self.high} bytes as an absolute path" + (
                    ", or off" if self.may_be_off else ""
                )
        words = f"{self.low or 0} to {self.high} characters"
        if self.kind == "texts" and self.item is not None:
            return f"a list of up to {self.count_max}: {self.item[1]}"
        if self.kind == "texts":
            words = f"a list of up to {self.count_max} texts of {words}"
        return f"{words}: {self.pattern[1]}" if self.pattern else words


def whole(default: int, *, unit: str, low: int, high: int, help: str) -> int:
    """Declare a whole number with its unit and bounds (both included)."""
    declared: int = _field(Setting(kind="whole", default=default, unit=unit, low=low, high=high, help=help))
    return declared


def ratio(default: float, *, help: str) -> float:
    """Declare a share, from 0 for none to 1 for all."""
    declared: float = _field(Setting(kind="ratio", default=default, low=0, high=1, help=help))
    return declared


def flag(default: bool, *, help: str) -> bool:
    """Declare a setting that is true or false."""
    declared: bool = _field(Setting(kind="flag", default=default, help=help))
    return declared


def choice(default: str, choices: tuple[str, ...], *, help: str) -> str:
    """Declare a setting that is one of a few words."""
    declared: str = _field(Setting(kind="choice", default=default, choices=choices, help=help))
    return declared


def text(default: str, *, low: int = 0, high: int, help: str, pattern: tuple[str, str] | None = None) -> str:
    """Declare a text of `low` to `high` characters, with a pattern and its meaning in words."""
    declared: str = _field(
        Setting(kind="text", default=default, low=low, high=high, help=help, pattern=pattern)
    )
    return declared


def texts(
    default: tuple[str, ...] = (), *, low: int = 1, high: int, count_max: int, help: str
) -> tuple[str, ...]:
    """Declare a list of at most `count_max` texts of `low` to `high` characters."""
    declared: tuple[str, ...] = _field(
        Setting(kind="texts", default=default, low=low, high=high, count_max=count_max, help=help)
    )
    return declared


def folder(default: str, *, high: int, help: str) -> Path:
    """Declare a folder; a relative one is relative to the configuration file."""
    declared: Path = _field(Setting(kind="folder", default=Path(default), low=1, high=high, help=help))
    return declared


def file_or_off(default: str = "off", *, high: int, help: str) -> Path | None:
    """Declare a file; a relative one is relative to the configuration file, and "off" means that there is none."""
    value = None if default == "off" else Path(default)
    setting = Setting(kind="file", default=value, low=1, high=high, may_be_off=True, help=help)
    declared: Path | None = _field(setting)
    return declared


def listing(
    read: Callable[[str], _Item],
    *,
    of: str,
    high: int,
    count_max: int,
    help: str,
    default: tuple[_Item, ...] = (),
) -> tuple[_Item, ...]:
    """Declare a list of values that are written as texts of up to `high` characters.

    Args:
        read: Makes the value of a text; raises BadValueError.
        of: What a value is, in words.
    """
    declared: tuple[_Item, ...] = _field(
        Setting(
            kind="texts", default=default, low=1, high=high, count_max=count_max, item=(read, of), help=help
        )
    )
    return declared


def bind(default: str, *, help: str) -> Bind:
    """Declare where a listener listens."""
    declared: Bind = _field(Setting(kind="bind", default=Bind.parse(default), help=help))
    return declared


def bind_or_off(default: str, *, help: str) -> Bind | None:
    """Declare where a listener listens; "off" means that there is none."""
    value = None if default == "off" else Bind.parse(default)
    declared: Bind | None = _field(Setting(kind="bind", default=value, may_be_off=True, help=help))
    return declared


def settings_of(section: type[Any]) -> dict[str, Setting]:
    """The settings that a configuration class declares, by key, in order."""
    return {
        field.name: field.metadata[_METADATA_KEY]
        for field in dataclasses.fields(section)
        if _METADATA_KEY in field.metadata
    }


def _field(setting: Setting) -> Any:
    return dataclasses.field(default=setting.default, metadata={_METADATA_KEY: setting})


def _ratio(number: float) -> float:
    if not 0 <= number <= 1:  # not a number is neither
        raise BadValueError(f"must be from 0 to 1, not {number}")
    return float(number)


def _type_name(raw: object) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a fraction",
        str: "a text",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(raw), "a date or time")
