"""How many requests one may make in a minute, so that nobody's program slows down everybody else's pages.

Theory of operation. Whoever asks is a `Subject`: a user (all their browsers and access tokens together), an API token
(a machine, with a bucket of its own beside its owner's), or, without an identity, an address. A request is a read, a
write, a bulk operation or the opening of a live stream, and takes one token from the bucket of its subject and kind, and one from a total: there is
one for those who are known and a smaller one for strangers, so that strangers, who can have any number of addresses,
never use up what users need. The last RATE_LIMIT_RESERVE_RATIO of the total is for those who have half of their own
left: who hammers is refused before who doesn't. What was refused takes nothing from anybody.

Guarantees: memory is bounded (RATE_LIMIT_SUBJECT_COUNT_MAX of each kind of subject, in tables apart, so that strangers
can't have users forgotten); a decision costs some microseconds and never waits.

Must not know: HTTP. ui/rate_limiting.py finds out who asks for what, and answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final, Literal, get_args

from appliance.core.clock import Clock
from appliance.core.config import ApiConfig
from appliance.core.limits import (
    RATE_LIMIT_RESERVE_RATIO,
    RATE_LIMIT_STRANGER_RATIO,
    RATE_LIMIT_SUBJECT_COUNT_MAX,
    STREAM_OPENS_PER_MIN_MAX,
)
from appliance.core.token_bucket import Bucket, BucketTable, Quota

Kind = Literal["reads", "writes", "bulk", "streams"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SubjectKind = Literal["user", "token", "address"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is counted.

    Attributes:
        name: User id, token id, or address (an IPv6 one as its /64 network).
    """

    kind: SubjectKind
    name: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """A quota and what is left of it.

    Attributes:
        remaining: Tokens, whole ones.
        reset_s: Seconds until it is full, or, if it is why a request was refused, until one may come.
    """

    quota: Quota
    remaining: int
    reset_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What became of a request.

    Attributes:
        retry_after_s: 0: it is let in; else when it may come again, seconds.
        own: The subject's; None without a limit.
        total: Of all together; None without a limit.
        refused_by: Which of the two refused it.
    """

    retry_after_s: int
    own: Allowance | None
    total: Allowance | None
    refused_by: Allowance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitStatistics:
    """Numbers since the start, by "subject.kind" such as "user.reads".

    Attributes:
        subjects: Remembered now, by kind of subject.
        allowed_total: Requests let in.
        refused_total: Requests refused by the subject's own limit.
        refused_by_total: Requests refused by the limit on all together.
    """

    subjects: dict[str, int]
    allowed_total: dict[str, int]
    refused_total: dict[str, int]
    refused_by_total: dict[str, int]


class RateLimits:
    """See the module's docstring. Used from one event loop."""

    def __init__(self, config: ApiConfig, *, clock: Clock) -> None:
        self._clock = clock
        opened = STREAM_OPENS_PER_MIN_MAX
        own: dict[SubjectKind, tuple[int, int, int, int]] = {
            "user": (config.reads_per_min_max, config.writes_per_min_max, config.bulk_per_min_max, opened),
            "token": (
                config.token_reads_per_min_max,
                config.token_writes_per_min_max,
                config.token_bulk_per_min_max,
                opened,
            ),
            # A stranger has no bulk operation to call; what it asks for there is refused for want of an identity.
            "address": (
                config.address_reads_per_min_max,
                config.address_writes_per_min_max,
                config.address_writes_per_min_max,
                opened,
            ),
        }
        total = (
            config.total_reads_per_min_max,
            config.total_writes_per_min_max,
            config.total_bulk_per_min_max,
            0,  # of streams the places of all together are the limit
        )
        self._tables: dict[tuple[SubjectKind, Kind], BucketTable] = {}
        self._totals: dict[tuple[bool, Kind], Bucket] = {}
        now_ms = clock.mono_ms()
        for subject_kind, counts in own.items():
            for kind, count_max in zip(KINDS, counts, strict=True):
                if count_max:
                    quota = Quota(f"{subject_kind}-{kind}", count_max)
                    self._tables[subject_kind, kind] = BucketTable(
                        quota, count_max=RATE_LIMIT_SUBJECT_COUNT_MAX
                    )
        for kind, count_max in zip(KINDS, total, strict=True):
            if count_max:
                strangers = ceil(count_max * RATE_LIMIT_STRANGER_RATIO)
                self._totals[True, kind] = Bucket(Quota(f"all-{kind}", count_max), now_ms)
                self._totals[False, kind] = Bucket(Quota(f"strangers-{kind}", strangers), now_ms)
        self._allowed: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._refused_by_total: dict[str, int] = {}

    def take(self, subject: Subject, kind: Kind) -> Standing:
        """Count a request, or refuse it."""
        now_ms = self._clock.mono_ms()
        table = self._tables.get((subject.kind, kind))
        own = table.bucket(subject.name, now_ms) if table is not None else None
        total = self._totals.get((subject.kind != "address", kind))
        name = f"{subject.kind}.{kind}"
        own_wait_ms = own.wait_ms(now_ms) if own is not None else 0.0
        if own is not None and own_wait_ms > 0:
            return self._refusal(self._refused, name, own, total, own_wait_ms, now_ms)
        total_wait_ms = total.wait_ms(now_ms, floor=_floor(own, total, now_ms)) if total is not None else 0.0
        if total is not None and total_wait_ms > 0:
            return self._refusal(self._refused_by_total, name, total, own, total_wait_ms, now_ms)
        for bucket in (own, total):
            if bucket is not None:
                bucket.take()
        self._allowed[name] = self._allowed.get(name, 0) + 1
        return Standing(retry_after_s=0, own=_allowance(own, now_ms), total=_allowance(total, now_ms))

    def _refusal(
        self,
        counts: dict[str, int],
        name: str,
        refusing: Bucket,
        other: Bucket | None,
        wait_ms: float,
        now_ms: int,
    ) -> Standing:
        counts[name] = counts.get(name, 0) + 1
        retry_after_s = max(1, ceil(wait_ms / 1000))
        why = Allowance(refusing.quota, 0, retry_after_s)
        rest = _allowance(other, now_ms)
        is_own = counts is self._refused
        return Standing(
            retry_after_s=retry_after_s,
            own=why if is_own else rest,
            total=rest if is_own else why,
            refused_by=why,
        )

    def statistics(self) -> RateLimitStatistics:
        subjects: dict[str, int] = {}
        for (subject_kind, _kind), table in self._tables.items():
            subjects[subject_kind] = max(subjects.get(subject_kind, 0), len(table))
        return RateLimitStatistics(
            subjects=subjects,
            allowed_total=dict(self._allowed),
            refused_total=dict(self._refused),
            refused_by_total=dict(self._refused_by_total),
        )


def _floor(own: Bucket | None, total: Bucket | None, now_ms: int) -> float:
    """Tokens of the total that this subject has to leave for those who ask for less."""
    if own is None or total is None or own.level(now_ms) * 2 >= own.quota.count_max:
        return 0.0
    return total.quota.count_max * RATE_LIMIT_RESERVE_RATIO


def _allowance(bucket: Bucket | None, now_ms: int) -> Allowance | None:
    if bucket is None:
        return None
    return Allowance(bucket.quota, int(bucket.level(now_ms)), bucket.full_in_s(now_ms))
