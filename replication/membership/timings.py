"""How often nodes are probed, and how long one is suspected before it counts as dead. Pure.

Sources: memberlist's DefaultWANConfig (config.go: SuspicionMult 6, PushPullInterval 60 s, ProbeTimeout 3 s, ProbeInterval
5 s, GossipNodes 4, GossipInterval 500 ms, IndirectChecks 3, RetransmitMult 4), its suspicion.go and util.go for the two
formulas, and Dadgar, Phillips, Currey, Lifeguard (2018) §IV, from which the factors 8 and 6 and the number of
confirmations come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All that is timed.

    Args:
        probe_interval_ms: Between two probes of a node that is well.
        probe_timeout_ms: For the direct answer; then relays are asked.
        relay_count: How many are asked.
        relay_timeout_ms: How long a relay waits before it says that it got no answer: the asker's interval has 2 s left.
            Where answers were seen to take longer on a link, these three are longer (round_trips.py).
        rumour_interval_ms, rumour_peer_count: How often rumours go to how many peers.
        retransmit_factor: A rumour is sent this many times the decimal digits of the number of members.
        suspicion_factor: The shortest suspicion, in probe intervals.
        missed_count: Nobody is called dead by a node that has probed it less often than this since it became suspect.
        unreached_ms: A node that nobody here has a link to is suspect when nothing was heard of it for so long.
        suspicion_spread: The longest suspicion, in shortest ones.
        table_interval_ms: How often tables are compared with a random peer, and a dead member is probed.
        stall_ms: Later than this after it was due, a tick shows that this node itself stood still.
    """

    probe_interval_ms: int = 5_000
    probe_timeout_ms: int = 3_000
    relay_count: int = 3
    relay_timeout_ms: int = 1_500
    rumour_interval_ms: int = 500
    rumour_peer_count: int = 4
    retransmit_factor: int = 4
    suspicion_factor: int = 6
    missed_count: int = 3
    unreached_ms: int = 600_000
    suspicion_spread: int = 6
    table_interval_ms: int = 60_000
    stall_ms: int = 2_000


WAN: Final = Timings()


def retransmit_count(timings: Timings, member_count: int) -> int:
    """How often a rumour is sent before it is taken to be known: 4 × ⌈log₁₀(n + 1)⌉ (memberlist, retransmitLimit)."""
    return timings.retransmit_factor * math.ceil(math.log10(member_count + 1))


def suspicion_min_ms(timings: Timings, member_count: int) -> int:
    """The shortest suspicion: 30 s for up to ten members, 90 s for a thousand (memberlist, suspicionTimeout).

    A node that stands still for 10 s has 20 s left in which to say that it lives.
    """
    scale = max(1.0, math.log10(max(1, member_count)))
    return int(timings.suspicion_factor * scale * timings.probe_interval_ms)


def confirmations_wanted(timings: Timings, member_count: int) -> int:
    """How many other finders make a suspicion as short as it gets; 0 where there are too few to wait for them."""
    wanted = timings.suspicion_factor - 2
    return wanted if member_count - 2 >= wanted else 0


def suspicion_ms(timings: Timings, member_count: int, confirmations: int) -> int:
    """How long a suspicion lasts in all.

    Args:
        member_count: Nodes of the fleet.
        confirmations: Finders beside the first.
    """
    shortest = suspicion_min_ms(timings, member_count)
    wanted = confirmations_wanted(timings, member_count)
    if not wanted:
        return shortest
    longest = shortest * timings.suspicion_spread
    share = math.log(min(confirmations, wanted) + 1) / math.log(wanted + 1)
    return max(shortest, math.floor(longest - share * (longest - shortest)))
