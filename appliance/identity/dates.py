"""Dates that certificates go by."""

from __future__ import annotations

import datetime as dt
from typing import Final

CLOCK_WRONG_BEFORE: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
"""Boxes without a battery start in 1970: then a certificate is dated from here."""
NO_END: Final = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
"""RFC 5280 §4.1.2.5: no end that is known."""
