"""What nodes say of each other, and which of two claims counts. Pure.

A claim is (node, incarnation, condition). Only the node itself raises its incarnation, so a later one is always the
node's own word that it lives; within one incarnation dead beats suspect beats alive. That order is total, so nodes that
know the same claims hold the same view, in whatever order they came.
Source: Das, Gupta, Motivala, SWIM (DSN 2002) §4.2.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

from appliance.core.limits_replication import INCARNATION_MAX
from storage.replicas.streams import NodeId

Incarnation = Annotated[int, msgspec.Meta(ge=0, le=INCARNATION_MAX)]


class Condition(IntEnum):
    """A node as another one sees it. A view, never a removal: only a signed decommission forgets a node."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """One node's condition, as somebody says.

    Args:
        node: Of whom it is said.
        incarnation: The node's own counter.
        condition: What is said.
        by: Who found it out; suspicions of different finders confirm each other.
    """

    node: NodeId
    incarnation: Incarnation
    condition: Condition
    by: NodeId


def supersedes(new: Claim, incarnation: int, condition: Condition | None) -> bool:
    """Whether a claim counts against what is known.

    Args:
        new: The claim.
        incarnation, condition: What is known; None: nothing was ever heard of the node.
    """
    return condition is None or (new.incarnation, new.condition) > (incarnation, condition)
