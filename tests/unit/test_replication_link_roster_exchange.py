"""Two rosters become one by what is said on a link."""

from __future__ import annotations

import msgspec
import pytest

from appliance.core.errors import NotAuthorized, RemoteProtocolError
from appliance.management.fleet import NodeEntry, SignedEntry, entry_of
from replication.link.roster_exchange import digest_of, messages_of, newer_than, verified
from tests.unit.test_management_fleet import A, B, C, entry, roster


def test_each_end_is_told_what_is_newer_at_the_other() -> None:
    ours = roster(entry(A, version=2), entry(B), entry(C, gone=True))
    theirs = roster(entry(A), entry(B, version=5), entry(C))
    told = newer_than(ours, digest_of(theirs))
    assert [node.node_id for node in told] == [A, C]
    for message in messages_of(told):
        theirs, _ = theirs.merged(verified(theirs, message, entry_of))
    for message in messages_of(newer_than(theirs, digest_of(ours))):
        ours, _ = ours.merged(verified(ours, message, entry_of))
    assert list(ours) == list(theirs)
    assert newer_than(ours, digest_of(theirs)) == []


def test_what_is_known_already_is_not_verified_again() -> None:
    def verify(signed: SignedEntry) -> NodeEntry:
        raise AssertionError

    (message,) = messages_of([entry(A)])
    assert verified(roster(entry(A)), message, verify) == []


def test_what_can_t_be_believed_is_the_peer_s_mistake() -> None:
    def verify(signed: SignedEntry) -> NodeEntry:
        raise NotAuthorized("It is not signed.")

    (message,) = messages_of([entry(A)])
    with pytest.raises(RemoteProtocolError, match="not signed"):
        verified(roster(), message, verify)
    other = msgspec.structs.replace(entry(A, version=9).signed, card="{}")
    with pytest.raises(RemoteProtocolError):
        verified(roster(), type(message)((other,)), entry_of)
