"""Which format a firmware image has, and whether it is what somebody says it is. Pure.

Guarantees: any bytes at all give a format or a refusal with the reason, after bounded work. What an image is said to be it must
be: its header, its structure, and its own version and hardware where it names them.

Must not know: where the bytes lie, signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from appliance.core.errors import UsageError
from appliance.management import (
    artifact_format_esp32,
    artifact_format_mcuboot,
    artifact_format_mender,
    artifact_format_raucb,
    artifact_format_swu,
)
from appliance.management.artifact_image import (
    ARTIFACT_FORMATS,
    FORMAT_WORDS,
    ArtifactFormat,
    Found,
    Image,
    NotThis,
    Reader,
)

Recognizer = Callable[[Image], Found]
RECOGNIZERS: Final[dict[ArtifactFormat, Recognizer]] = {
    "swu": artifact_format_swu.recognize,
    "raucb": artifact_format_raucb.recognize,
    "mender": artifact_format_mender.recognize,
    "mcuboot": artifact_format_mcuboot.recognize,
    "esp32": artifact_format_esp32.recognize,
}
"""No two can recognise the same bytes: their first four differ (a tar's first bytes are a name)."""


def recognize(size_bytes: int, read: Reader, said: ArtifactFormat | None = None) -> Found:
    """What an image is.

    Args:
        read: Gives bytes of the image.
        said: What somebody says it is; None takes what it turns out to be, plain bytes if nothing else.
    Raises:
        UsageError: `artifact_empty`; `artifact_format`: it is not what it is said to be, and why not.
    """
    if size_bytes <= 0:
        raise UsageError("The image is empty.", hint="Choose the file again.", code="artifact_empty")
    refusals: dict[ArtifactFormat, str] = {}
    for name, recognizer in RECOGNIZERS.items():
        try:
            found = recognizer(Image(size_bytes, read))
        except NotThis as refusal:
            refusals[name] = refusal.reason
            continue
        if said is None or said == name:
            return found
        raise _is_another(said, name)
    if said is None or said == "raw":
        return Found(format="raw")
    raise UsageError(
        f"This is not {FORMAT_WORDS[said]}: it {refusals[said]}.",
        hint="Choose the right file, or say that it is raw if devices take these bytes as they are.",
        code="artifact_format",
    )


def check_said(found: Found, *, version: str, compat: Collection[str], epoch: int | None) -> None:
    """Refuse what somebody says of an image where the image says something else.

    Args:
        version, compat, epoch: As they were typed; "" , none and None leave it to the image.
    Raises:
        UsageError: `artifact_version_differs`, `artifact_compat_differs`, `artifact_epoch_differs`.
    """
    word = FORMAT_WORDS[found.format]
    if version and found.version and version != found.version:
        raise UsageError(
            f"The image says that it is version {found.version}, not {version}.",
            hint="Use the image's own version, or choose the right file.",
            code="artifact_version_differs",
        )
    strangers = [each for each in compat if each not in found.compat]
    if found.compat and strangers:
        raise UsageError(
            f"{word[0].upper()}{word[1:]} for {', '.join(found.compat)} is not for {', '.join(sorted(strangers))}.",
            hint="Use the image's own names of hardware, or choose the right file.",
            code="artifact_compat_differs",
        )
    if epoch is not None and found.epoch is not None and epoch != found.epoch:
        raise UsageError(
            f"The image has the security counter {found.epoch}, and its epoch was said to be {epoch}.",
            hint="Use the image's own counter as the epoch.",
            code="artifact_epoch_differs",
        )


def format_of(word: str) -> ArtifactFormat:
    """The format of that name. Raises UsageError: `artifact_format`."""
    for each in ARTIFACT_FORMATS:
        if each == word:
            return each
    raise UsageError(
        f"There is no format “{word[:40]}”.",
        hint=f"Say one of: {', '.join(ARTIFACT_FORMATS)}.",
        code="artifact_format",
    )


def _is_another(said: ArtifactFormat, name: ArtifactFormat) -> UsageError:
    return UsageError(
        f"This is not {FORMAT_WORDS[said]}, but {FORMAT_WORDS[name]}.",
        hint=f"Say that it is {name}, or choose the right file.",
        code="artifact_format",
    )
