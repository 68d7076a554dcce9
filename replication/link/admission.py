"""Who may have a link, and why not. Pure: certificate, first message, roster and the time are arguments.

TLS has seen to it before that the certificate is this fleet's authority's and that the other end has its key. Its end is judged
here and not by TLS, so that it is told, and by a clock that a box without a battery can't have wrong by decades: where the clock says what
can't be, the time is that of the newest certificate in the roster. Nowhere else: a certificate that a box made in 2099 would end all others'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from appliance.core.believed_time import is_known_wrong
from appliance.management.fleet import Roster
from replication.link.messages import LINK_VERSION, Hello, Welcome

STRANGER: Final = "stranger"
IDENTITY: Final = "identity"
VERSION: Final = "version"
EXPIRED: Final = "expired"
DECOMMISSIONED: Final = "decommissioned"
CLONE: Final = "clone"
SELF: Final = "self"
DUPLICATE: Final = "duplicate"
FULL: Final = "full"
OVERSIZE: Final = "oversize"
PROTOCOL: Final = "protocol"
SLOW: Final = "slow"
SILENT: Final = "silent"
STOPPING: Final = "stopping"
UNREACHABLE: Final = "unreachable"
WORDS: Final = {
    STRANGER: "Its certificate is not of this fleet's authority.",
    IDENTITY: "It says to be somebody else than its certificate does.",
    VERSION: "It speaks another version of the protocol: update the older box.",
    EXPIRED: "Its certificate is over: see that the clocks of both boxes are right, or have it join again by a new invitation.",
    DECOMMISSIONED: "It was decommissioned, which is for good: it can come back as a new node only.",
    CLONE: "Another copy of this node is known: one of the two was cloned, or came back from a backup. Have the one that is to go on join again.",
    SELF: "It says to be this very node.",
    DUPLICATE: "There is a link already.",
    FULL: "As many links are open as may be.",
    OVERSIZE: "A message was larger than any may be.",
    PROTOCOL: "It said something that is not of the protocol.",
    SLOW: "It took nothing for too long, or said too late who it is.",
    SILENT: "Nothing was heard of it for too long.",
    STOPPING: "This process ends.",
}
"""For people: what is wrong with the one who is refused, and what to do."""


class PeerCertificate(Protocol):
    """What a link's certificate says (appliance/identity/fleet_certificates.py)."""

    @property
    def node_id(self) -> str: ...

    @property
    def site_id(self) -> str: ...

    @property
    def instance(self) -> str: ...

    @property
    def issued_at_ms(self) -> int: ...

    @property
    def ends_at_ms(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no link, or none any more.

    Attributes:
        is_ours: We refused; else the other end did.
    """

    reason: str
    message: str
    is_ours: bool = True


def refusal(reason: str, more: str = "") -> Refusal:
    """A refusal of ours in words."""
    return Refusal(reason=reason, message=f"{WORDS[reason]} {more}".strip())


def trusted_now_ms(now_ms: int, roster: Roster) -> int:
    """The time by which certificates are judged."""
    if not is_known_wrong(now_ms):
        return now_ms
    return max(now_ms, max((node.issued_at_ms for node in roster), default=0))


def judge(
    said: Hello | Welcome, certificate: PeerCertificate, roster: Roster, own_node_id: str, now_ms: int
) -> Refusal | None:
    """Whether this peer may have a link; None if so.

    Args:
        roster: As it is before what the peer says of itself is taken in.
    """
    if said.version != LINK_VERSION:
        return refusal(
            VERSION, f"It speaks {said.version}, this box {LINK_VERSION}; it runs {said.release!r}."
        )
    if (said.node_id, said.site_id, said.instance) != (
        certificate.node_id,
        certificate.site_id,
        certificate.instance,
    ) or said.entry.node_id != said.node_id:
        return refusal(IDENTITY)
    if said.node_id == own_node_id:
        return refusal(SELF)
    known = roster.get(said.node_id)
    if known is not None and known.decommission is not None:
        return refusal(DECOMMISSIONED)
    if trusted_now_ms(now_ms, roster) > certificate.ends_at_ms:
        return refusal(EXPIRED)
    # Whoever joined again has a later certificate for another instance: that one counts, and not the one before.
    if (
        known is not None
        and known.instance != certificate.instance
        and known.issued_at_ms >= certificate.issued_at_ms
    ):
        return refusal(CLONE)
    return None


def wins(*, dialler_id: str, other_id: str) -> bool:
    """Of two links between the same two processes, whether this one stays: the one that the smaller id dialled."""
    return dialler_id < other_id
