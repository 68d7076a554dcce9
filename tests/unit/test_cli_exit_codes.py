from __future__ import annotations

from appliance.cli.exit_codes import EXIT_CODES, exit_code
from appliance.core import errors


def test_each_code_is_used_once() -> None:
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)


def test_a_class_without_a_code_has_its_nearest_ancestors() -> None:
    assert exit_code(errors.LogLocked("x")) == EXIT_CODES[errors.StorageError]
    assert exit_code(errors.LogDamaged("x")) == EXIT_CODES[errors.LogDamaged]
    assert exit_code(errors.RemoteProtocolError("x")) == EXIT_CODES[errors.ProtocolError]
    assert exit_code(errors.HomeportError("x")) == 1
