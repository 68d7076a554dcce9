"""QR codes as pictures in the page."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from appliance.core.errors import LimitExceeded
from appliance.core.limits import QR_BYTES_MAX
from ui.pages.qr import qr_data_uri


def test_it_is_a_picture_of_our_own_black_on_white_in_either_scheme() -> None:
    uri = qr_data_uri("mqtts://pump-1:secret@192.0.2.1:8883")
    assert uri.startswith("data:image/svg+xml")
    drawing = unquote(uri)
    assert 'fill="#fff"' in drawing.replace("'", '"')
    assert "secret" not in drawing


def test_what_a_phone_can_t_read_is_refused() -> None:
    assert qr_data_uri("x" * QR_BYTES_MAX)
    with pytest.raises(LimitExceeded) as caught:
        qr_data_uri("x" * (QR_BYTES_MAX + 1))
    assert caught.value.code == "qr_too_long"
