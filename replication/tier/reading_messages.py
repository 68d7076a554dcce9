"""What a cloud node asks a site, and what it is answered: msgpack, whole; in parts on the link (gateway_messages.ReadingPart). Pure."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.core.errors import RemoteProtocolError, UsageError
from appliance.core.limits_site_reading import (
    READING_ANSWER_BYTES_MAX,
    READING_NAME_LENGTH_MAX,
    READING_PERSON_LENGTH_MAX,
    READING_QUERY_LENGTH_MAX,
    READING_QUESTION_BYTES_MAX,
)

PART_LENGTH_MAX: Final = 32


class ReadingQuestion(msgspec.Struct, frozen=True, array_like=True):
    """A read of the site's API (appliance/management/site_reading.py).

    Args:
        part: What is read.
        device_id: Of which device; "" for all.
        query: As it stands in an address, behind the question mark.
        person: Who asks at the cloud node, for the site's log.
    """

    part: Annotated[str, Meta(max_length=PART_LENGTH_MAX)]
    device_id: Annotated[str, Meta(max_length=READING_NAME_LENGTH_MAX)]
    query: Annotated[str, Meta(max_length=READING_QUERY_LENGTH_MAX)]
    person: Annotated[str, Meta(max_length=READING_PERSON_LENGTH_MAX)]


class ReadingAnswer(msgspec.Struct, frozen=True, array_like=True):
    """As the site's API answered: JSON, problem details where the status is one of an error."""

    status: Annotated[int, Meta(ge=200, le=599)]
    body: Annotated[bytes, Meta(max_length=READING_ANSWER_BYTES_MAX)]


_encoder: Final = msgspec.msgpack.Encoder()
_questions: Final = msgspec.msgpack.Decoder(ReadingQuestion)
_answers: Final = msgspec.msgpack.Decoder(ReadingAnswer)


def encode_question(question: ReadingQuestion) -> bytes:
    """The question, whole.

    Raises:
        UsageError: `reading_too_long`.
    """
    data = _encoder.encode(question)
    if len(data) > READING_QUESTION_BYTES_MAX or len(question.query) > READING_QUERY_LENGTH_MAX:
        raise UsageError(
            f"A question to a site has {READING_QUESTION_BYTES_MAX} bytes at most, and its query {READING_QUERY_LENGTH_MAX}.",
            hint="Ask for fewer things at once.",
            code="reading_too_long",
        )
    return data


def decode_question(data: bytes) -> ReadingQuestion:
    """Raises RemoteProtocolError."""
    try:
        return _questions.decode(data)
    except msgspec.DecodeError as error:
        raise _not_understood(error) from error


def encode_answer(answer: ReadingAnswer) -> bytes:
    """The answer, whole."""
    assert len(answer.body) <= READING_ANSWER_BYTES_MAX
    return _encoder.encode(answer)


def decode_answer(data: bytes) -> ReadingAnswer:
    """Raises RemoteProtocolError."""
    try:
        return _answers.decode(data)
    except msgspec.DecodeError as error:
        raise _not_understood(error) from error


def _not_understood(error: msgspec.DecodeError) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"What a peer says about reading a site is not understood: {error}.",
        hint="It runs another release, or another program: look at its version.",
    )
