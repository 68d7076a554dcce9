"""The response fields that tell a client how many requests it has left. Pure.

Source: draft-ietf-httpapi-ratelimit-headers, "RateLimit header fields for HTTP": `RateLimit-Policy` and `RateLimit`,
lists of strings with parameters (RFC 9651). `q` is the quota, `w` its window in seconds, `r` what remains, `t` the
seconds until the quota is whole again; on a refusal `t` is what Retry-After says, as the draft asks for.
"""

from __future__ import annotations

from typing import Final

from ui.rate_limit import Allowance, Standing

POLICY: Final = "ratelimit-policy"
LIMIT: Final = "ratelimit"
RETRY_AFTER: Final = "retry-after"


def fields_of(standing: Standing) -> dict[str, str]:
    """Names and values of the fields; none where nothing is limited."""
    fields: dict[str, str] = {}
    limited = [each for each in (standing.own, standing.total) if each is not None]
    if limited:
        fields[POLICY] = ", ".join(_policy(each) for each in limited)
        fields[LIMIT] = _limit(_tightest(standing, limited))
    if standing.retry_after_s:
        fields[RETRY_AFTER] = str(standing.retry_after_s)
    return fields


def _tightest(standing: Standing, limited: list[Allowance]) -> Allowance:
    """The one that the client meets first: of several policies the one with less remaining, as the draft asks for."""
    return standing.refused_by or min(limited, key=lambda each: each.remaining)


def _policy(allowance: Allowance) -> str:
    quota = allowance.quota
    return f'"{quota.name}";q={quota.count_max};w={quota.window_s}'


def _limit(allowance: Allowance) -> str:
    return f'"{allowance.quota.name}";r={allowance.remaining};t={allowance.reset_s}'
