"""Addresses of firmware that need nothing but themselves, until they end: for clients that know no certificate and no token.

    /dl/{sha256}?d={device}&e={ends, UTC s}&s={signature}

The signature is HMAC-SHA256 under a key of this purpose over all three, so an address is good for one device, one content and one time. It opens nothing
beyond what the device itself could have: what an update of it names is looked at all the same (delivery.py).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Final
from urllib.parse import parse_qs, quote

from appliance.core.clock import Clock
from appliance.core.errors import NotAuthorized
from appliance.core.limits_delivery import DOWNLOAD_URL_MS
from appliance.identity.keys import SiteKeys

PREFIX: Final = "/dl/"
KEY_LABEL: Final = "download-url/1"


class SignedUrls:
    """See the module's docstring.

    Args:
        base: What an address begins with where nobody says how the device has reached this box, such as https://homeport:8444.
    """

    def __init__(self, keys: SiteKeys, *, clock: Clock, base: str) -> None:
        self._key = keys.derive(KEY_LABEL)
        self._clock = clock
        self._base = base

    def url(self, device_id: str, sha256: str, *, base: str | None = None) -> str:
        """An address for one device."""
        # To the hour, so that a document that is made again reads the same.
        hour_ms = 3_600_000
        ends_s = (self._clock.now_ms() // hour_ms * hour_ms + hour_ms + DOWNLOAD_URL_MS) // 1000
        query = f"d={quote(device_id, safe='')}&e={ends_s}&s={self._signature(device_id, sha256, ends_s)}"
        return f"{self._base if base is None else base}{PREFIX}{sha256}?{query}"

    def device_of(self, query: str, sha256: str) -> str | None:
        """The device that an address is for; None for one that is not signed.

        Args:
            query: Of the address, without its question mark.
        Raises:
            NotAuthorized: `url_invalid`, `url_ended`.
        """
        fields = parse_qs(query, max_num_fields=8, keep_blank_values=True) if query.count("&") < 8 else {}
        if "s" not in fields:
            return None
        device_id, ends, signature = (fields.get(name, [""])[0] for name in "des")
        ends_s = int(ends) if ends.isascii() and ends.isdigit() and len(ends) <= 12 else 0
        wanted = self._signature(device_id, sha256, ends_s)
        if not hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")):
            raise NotAuthorized(
                "This address was not made here, or was changed.",
                hint="Ask for the job anew; its document has the address.",
                code="url_invalid",
            )
        if self._clock.now_ms() >= ends_s * 1000:
            raise NotAuthorized(
                "This address has ended.",
                hint="Ask for the job anew; its document has one that is good.",
                code="url_ended",
            )
        return device_id

    def _signature(self, device_id: str, sha256: str, ends_s: int) -> str:
        signed = "\n".join((device_id, sha256, str(ends_s))).encode(errors="replace")
        return urlsafe_b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode().rstrip("=")
