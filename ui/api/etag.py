"""Entity tags: asking again only for what changed, and changing only what one has seen (RFC 9110 §8.8.3, §13).

A tag is `"version-digest"`. The digest is of the whole answer, and If-None-Match compares the whole tag. The version is of what
the catalog keeps, and If-Match compares it alone: of a device, that it was seen a second ago is in the answer too, and must
not void a change of its name. An answer without a version has a tag of its digest, and nothing to change under it.

A handler of an endpoint that takes If-Match calls `Call.expect` within its transaction, so that nothing comes in between.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import Conflict, UsageError
from appliance.core.limits import ETAG_HEADER_BYTES_MAX

DIGEST_BYTES: Final = 12
"""96 bits: that two answers of one address share a digest is beyond chance."""
_TAG: Final = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"')
_BETWEEN_TAGS: Final = re.compile(r"[ \t,]*")


@dataclass(slots=True)
class Precondition:
    """What If-Match asks: None for nothing, "*" in it for anything that is there.

    Attributes:
        checked: Whether the handler asked; changing something although it didn't would be a lie.
    """

    tags: tuple[str, ...]
    checked: bool = field(default=False)

    def expect(self, version: str) -> None:
        """Refuse unless the version is one of those asked for.

        Raises:
            Conflict: `version_differs`.
        """
        self.checked = True
        if "*" in self.tags or any(tag.rpartition("-")[0] == version for tag in self.tags):
            return
        raise Conflict(
            "It was changed since you read it.",
            hint="Read it again, look at what is different, and send your change with the new ETag as If-Match.",
            code="version_differs",
        )


def precondition_of(request: Request) -> Precondition | None:
    """The request's If-Match, None without one. A weak tag matches nothing (§13.1.1).

    Raises:
        UsageError: `etag_invalid`.
    """
    values = request.headers.getlist("if-match")
    return Precondition(tags=tuple(_tags(values, strong=True))) if values else None


def tag_of(body: bytes, version: str | None) -> str:
    """The entity tag of an answer.

    Args:
        version: Of what is kept, without quotes and control characters; None where nothing has one.
    """
    digest = hashlib.blake2b(body, digest_size=DIGEST_BYTES).hexdigest()
    return f'"{digest}"' if version is None else f'"{version}-{digest}"'


def answered(request: Request, response: Response, version: str | None) -> Response:
    """A successful answer with its tag; 304 without a body if the asker has it (only for GET)."""
    tag = tag_of(bytes(response.body), version)
    response.headers["etag"] = tag
    if request.method != "GET":
        return response
    known = list(_tags(request.headers.getlist("if-none-match"), strong=False))
    if "*" not in known and tag[1:-1] not in known:
        return response
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag})


def _tags(values: list[str], *, strong: bool) -> list[str]:
    """The opaque parts of the tags in a header, or "*"."""
    text = ",".join(values)
    if len(text) > ETAG_HEADER_BYTES_MAX:
        raise _invalid(f"it has more than {ETAG_HEADER_BYTES_MAX} characters")
    if text.strip() == "*":
        return ["*"]
    if not _BETWEEN_TAGS.fullmatch(_TAG.sub("", text)):
        raise _invalid("it is no list of entity tags")
    return [found["opaque"] for found in _TAG.finditer(text) if not (strong and found["weak"])]


def _invalid(why: str) -> UsageError:
    return UsageError(
        f"If-Match or If-None-Match can't be used: {why}.",
        hint='Send the ETag of an earlier answer as it is, with its quotes, such as "17-5f2c".',
        code="etag_invalid",
    )
