"""Debian's copyright file: our licence, and those of everything bundled, word for word.

Licence texts come from the installed distributions themselves; one that brings none must be known here, or the build
ends. A text that several bring stands once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

LICENCE_FILE = re.compile(r"(?i)(licen[cs]e|copying|notice|authors)")
WITHOUT_TEXT = {
    "nanoarrow": "Apache License 2.0, see /usr/share/common-licenses/Apache-2.0. Copyright The Apache Software Foundation.",
    "obstore": """MIT License. Copyright Development Seed, https://developmentseed.org/obstore

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.""",
}
"""Distributions whose wheel has no licence text, and what their source says."""
RULE = "=" * 78


def licence_of(distribution: Distribution) -> str:
    """In the distribution's own words: an SPDX expression, a name, or a classifier."""
    metadata = distribution.metadata
    for key in ("License-Expression", "License"):
        found = metadata.get(key)
        if found and "\n" not in found:
            return str(found)
    classifiers = [each for each in metadata.get_all("Classifier", []) if each.startswith("License ::")]
    if classifiers:
        return str(classifiers[0].rpartition(" :: ")[2])
    return "see the text below"


def bundled(site: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Name with version, licence and texts of each distribution, in the order of names."""
    for folder in sorted(site.glob("*.dist-info"), key=lambda path: path.name.lower()):
        (distribution,) = distributions(path=[str(site)], name=folder.name.split("-")[0].replace("_", "-"))
        name = distribution.metadata["Name"]
        files = sorted(path for path in folder.rglob("*") if path.is_file() and LICENCE_FILE.match(path.name))
        texts = [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]
        if not texts:
            if name not in WITHOUT_TEXT:
                sys.exit(f"{name} brings no licence text: add it to WITHOUT_TEXT of {__file__}")
            texts = [WITHOUT_TEXT[name]]
        yield f"{name} {distribution.version}", licence_of(distribution), texts
    for file in sorted(site.glob("ui/static/vendor/*.LICENSE.txt")):
        name = file.name.removesuffix(".LICENSE.txt").replace("-", " ")
        yield (
            f"{name} (in ui/static/vendor)",
            "see the text below",
            [file.read_text(encoding="utf-8").strip()],
        )


def copyright_file(site: Path, ours: str) -> Iterator[str]:
    parts = list(bundled(site))
    yield "Homeport\nCopyright: the Homeport authors\nLicence: Apache License 2.0, as below"
    yield "The environment in /usr/lib/homeport bundles the following. Their texts come after ours."
    yield "\n".join(f"  {name}: {licence}" for name, licence, _ in parts)
    yield f"{RULE}\nHomeport\n{RULE}\n{ours.strip()}"
    said: dict[str, str] = {ours.strip(): "Homeport"}
    for name, _licence, texts in parts:
        lines = [f"{RULE}\n{name}\n{RULE}"]
        for text in texts:
            lines.append(f"(the same text as for {said[text]})" if text in said else text)
            said.setdefault(text, name)
        yield "\n\n".join(lines)


def main(site: str, licence: str) -> None:
    ours = Path(licence).read_text(encoding="utf-8")
    sys.stdout.write("\n\n".join(copyright_file(Path(site), ours)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
