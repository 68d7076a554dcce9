"""QR codes as pictures inside the page: nothing is fetched, and nothing of what they hold is in an address or a log."""

from __future__ import annotations

import segno

from appliance.core.errors import LimitExceeded
from appliance.core.limits import QR_BYTES_MAX

BORDER_MODULES = 4
"""The quiet zone that readers need (ISO/IEC 18004)."""


def qr_data_uri(text: str) -> str:
    """A QR code as a `data:` address for `<img src>`: black on white in either colour scheme, since readers need that.

    Raises:
        LimitExceeded: `qr_too_long`: more than QR_BYTES_MAX bytes, which a phone can't read off a screen.
    """
    if len(text.encode()) > QR_BYTES_MAX:
        raise LimitExceeded(
            f"A QR code holds {QR_BYTES_MAX} bytes here.", hint="Copy the text instead.", code="qr_too_long"
        )
    code = segno.make_qr(text, error="m", boost_error=True)
    return str(
        code.svg_data_uri(border=BORDER_MODULES, dark="#000", light="#fff", svgclass=None, lineclass=None)
    )
