"""Debian's changelog of the package, with one entry: what changed stands in CHANGELOG.md, which lies beside it."""

from __future__ import annotations

import os
import sys
from email.utils import formatdate


def main(version: str) -> None:
    date = formatdate(int(os.environ["SOURCE_DATE_EPOCH"]))
    sys.stdout.write(
        f"homeport ({version}) bookworm; urgency=medium\n\n"
        "  * What changed is told by CHANGELOG.md, in this folder.\n\n"
        f" -- Homeport maintainers <maintainers@homeport.invalid>  {date}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1])
