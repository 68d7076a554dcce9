"""Answers to requests that carried an idempotency key, so that the same request again is answered and not carried out.

A key is taken in the transaction of the change itself, and its answer is put in afterwards: after a crash in between, it is
known that the request was carried out, and it never is twice. Answers are sealed before they get here; they go after
a day, or when there are too many of them. Of this node only, and no subject of the audit.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.errors import Conflict
from appliance.core.limits import (
    IDEMPOTENT_ANSWER_COUNT_MAX,
    IDEMPOTENT_ANSWER_LIFETIME_MS,
    IDEMPOTENT_ANSWER_TOTAL_BYTES_MAX,
)
from storage.catalog.database import CatalogDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentAnswer:
    """What a key was used for.

    Attributes:
        request_hash: Of the request, 32 bytes.
        status: Of the answer; 0 while there is none.
        sealed: The answer, sealed.
    """

    request_hash: bytes
    status: int
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentNumbers:
    """How many answers there are, and how many bytes they have."""

    count: int
    size_bytes: int


class IdempotentAnswerTable(CatalogDatabase):
    """Methods of the catalog about such answers."""

    def idempotent_answer(self, key_hash: bytes) -> IdempotentAnswer | None:
        """What the key was used for within the last 24 hours, or None.

        Args:
            key_hash: Of who asked and the key, 32 bytes.
        """
        found = self.row(
            "SELECT request_hash, status, answer_sealed FROM idempotent_answers WHERE key_hash = ? AND created_at_ms > ?",
            (key_hash.hex(), self._clock.now_ms() - IDEMPOTENT_ANSWER_LIFETIME_MS),
        )
        if found is None:
            return None
        return IdempotentAnswer(
            request_hash=bytes.fromhex(found["request_hash"]),
            status=found["status"],
            sealed=found["answer_sealed"],
        )

    def take_idempotency_key(self, key_hash: bytes, request_hash: bytes) -> None:
        """Remember that a request is carried out, in the transaction that does so; forgets what is too old or too much.

        Raises:
            Conflict: `idempotency_key_in_use`: it was taken since it was looked up.
        """
        now_ms = self._clock.now_ms()
        with self.transaction():
            self.execute(
                "DELETE FROM idempotent_answers WHERE created_at_ms <= ?",
                (now_ms - IDEMPOTENT_ANSWER_LIFETIME_MS,),
            )
            numbers = self.idempotent_numbers()
            if (
                numbers.count >= IDEMPOTENT_ANSWER_COUNT_MAX
                or numbers.size_bytes >= IDEMPOTENT_ANSWER_TOTAL_BYTES_MAX
            ):
                # A hundredth at a time, so that a full table costs its look-up once in a hundred requests.
                self.execute(
                    "DELETE FROM idempotent_answers WHERE key_hash IN "
                    "(SELECT key_hash FROM idempotent_answers ORDER BY created_at_ms LIMIT ?)",
                    (max(1, numbers.count // 100),),
                )
            if self.idempotent_answer(key_hash) is not None:
                raise Conflict(
                    "The idempotency key was used in the meantime.",
                    hint="Send the request again for its answer.",
                    code="idempotency_key_in_use",
                )
            self.execute(
                "INSERT INTO idempotent_answers (key_hash, request_hash, status, answer_sealed, created_at_ms) "
                "VALUES (?, ?, 0, x'', ?)",
                (key_hash.hex(), request_hash.hex(), now_ms),
            )

    def keep_idempotent_answer(self, key_hash: bytes, status: int, sealed: bytes) -> None:
        """Put the answer to what was carried out beside its key; nothing happens if that is forgotten already."""
        assert status
        with self.transaction():
            self.execute(
                "UPDATE idempotent_answers SET status = ?, answer_sealed = ? WHERE key_hash = ?",
                (status, sealed, key_hash.hex()),
            )

    def idempotent_numbers(self) -> IdempotentNumbers:
        """How many there are; the length of a blob is read without the blob."""
        found = self.row("SELECT count(*), coalesce(sum(length(answer_sealed)), 0) FROM idempotent_answers")
        assert found
        return IdempotentNumbers(count=found[0], size_bytes=found[1])
