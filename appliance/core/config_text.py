"""The configuration as text: the commented homeport.toml and the tables of docs/CONFIGURATION.md.

`python -m appliance.core.config_text toml|markdown` writes them to standard output.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Final

from appliance.core.config import LISTS, SECTIONS
from appliance.core.settings import Setting, settings_of

_HEAD: Final = """\
# Homeport's configuration. Every key is here with its default; take the "# " off a line to change it.
# A relative folder is relative to this file. HOMEPORT_<SECTION>__<KEY> in the environment wins over the file.
# An unknown key or a value out of bounds is refused at start, with its line.
"""
_WIDTH: Final = 108


def as_toml() -> str:
    """The commented homeport.toml: every key, each commented out at its default."""
    parts = [_HEAD]
    for name, kind in SECTIONS.items():
        parts.append(f"\n# {_doc(kind)}\n[{name}]\n")
        parts.extend(_toml_key(key, setting) for key, setting in settings_of(kind).items())
    for name, kind in LISTS.items():
        parts.append(f"\n# {_doc(kind)} Any number of these.\n# [[{name}]]\n")
        parts.extend(_toml_key(key, setting) for key, setting in settings_of(kind).items())
    return "".join(parts)


def as_markdown() -> str:
    """One table per section: key, default, bounds with unit, environment variable, meaning."""
    parts = []
    for name, kind in SECTIONS.items():
        parts.append(
            f"### [{name}]\n{_doc(kind)}\n\n| Key | Default | Allowed | Meaning |\n| --- | --- | --- | --- |\n"
        )
        parts.extend(_markdown_row(key, setting) for key, setting in settings_of(kind).items())
        parts.append("\n")
    for name, kind in LISTS.items():
        parts.append(f"### [[{name}]]\n{_doc(kind)} Any number of these.\n\n")
        parts.append("| Key | Default | Allowed | Meaning |\n| --- | --- | --- | --- |\n")
        parts.extend(_markdown_row(key, setting) for key, setting in settings_of(kind).items())
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _toml_key(key: str, setting: Setting) -> str:
    words = f"{setting.help} Allowed: {setting.bounds_in_words()}."
    comment = "".join(f"# {line}\n" for line in textwrap.wrap(words, _WIDTH - 2))
    return f"{comment}# {key} = {setting.default_as_toml()}\n"


def _markdown_row(key: str, setting: Setting) -> str:
    allowed = setting.bounds_in_words().replace("|", "\\|")
    return f"| `{key}` | `{setting.default_as_toml()}` | {allowed} | {setting.help} |\n"


def _doc(kind: type) -> str:
    return (kind.__doc__ or "").strip()


if __name__ == "__main__":
    sys.stdout.write({"toml": as_toml, "markdown": as_markdown}[sys.argv[1]]())
