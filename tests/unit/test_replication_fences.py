"""An epoch has one writer: two bodies of a node never get the same one, whatever is lost and whoever is away."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from replication.effects import Effect, KeepVote, Send
from replication.fences import ASK_INTERVAL_MS, EPOCH_MAX, Claim, Fence, Promise, Voter
from replication.messages import ClaimAnswer, ClaimEpoch

NODE, B, C, D = "aa" * 16, "bb" * 16, "cc" * 16, "dd" * 16
ONE, TWO = "01" * 16, "02" * 16


def claim(instance: str = ONE, *, others: list[str], known_epoch: int = 1, seed: int = 1) -> Claim:
    return Claim(NODE, instance, known_epoch=known_epoch, others=others, rng=random.Random(seed), now_ms=0)


def sent(effect: Effect) -> ClaimEpoch | ClaimAnswer:
    send = effect.then if isinstance(effect, KeepVote) else effect
    assert isinstance(send, Send)
    assert isinstance(send.message, ClaimEpoch | ClaimAnswer)
    return send.message


def ask(claiming: Claim, peer: str, voter: Voter, *, held_epoch: int = 0) -> ClaimAnswer:
    (effect,) = claiming.connected(peer)
    question = sent(effect)
    assert isinstance(question, ClaimEpoch)
    answer = sent(voter.asked(NODE, question, held_epoch=held_epoch))
    assert isinstance(answer, ClaimAnswer)
    return answer


def test_a_node_without_a_fleet_asks_nobody() -> None:
    assert claim(others=[]).status.state == "claimed"
    assert claim(others=[NODE]).status.epoch == 2


def test_a_majority_of_the_others_makes_it_good() -> None:
    claiming = claim(others=[B, C, D])
    assert (claiming.status.state, claiming.status.needed_count) == ("asking", 2)
    for peer in (B, C):
        assert claiming.status.state == "asking"
        assert claiming.answered(peer, ask(claiming, peer, Voter())) == []
    assert (claiming.status.state, claiming.status.epoch) == ("claimed", 2)
    assert claiming.next_at_ms() is None
    assert claiming.connected(D) == []


def test_an_epoch_that_was_promised_to_another_body_is_passed_over() -> None:
    voter = Voter({NODE: Promise(4, TWO)})
    claiming = claim(others=[B])
    again = claiming.answered(B, ask(claiming, B, voter))
    assert [type(effect) for effect in again] == [Send]
    question = sent(again[0])
    assert isinstance(question, ClaimEpoch)
    assert question.epoch == 5
    answer = sent(voter.asked(NODE, question, held_epoch=0))
    assert isinstance(answer, ClaimAnswer)
    claiming.answered(B, answer)
    assert (claiming.status.state, claiming.status.epoch) == ("claimed", 5)


def test_an_epoch_that_was_written_is_nobodys() -> None:
    claiming = claim(others=[B])
    answer = ask(claiming, B, Voter(), held_epoch=7)
    assert not answer.is_granted
    claiming.answered(B, answer)
    assert claiming.status.epoch == 8


def test_a_promise_is_kept_on_the_disk_first_and_said_again_when_it_is_asked_again() -> None:
    voter = Voter()
    question = ClaimEpoch(9, NODE, 2, ONE)
    first = voter.asked(NODE, question, held_epoch=0)
    assert isinstance(first, KeepVote)
    assert (first.node_id, first.epoch, first.instance) == (NODE, 2, ONE)
    assert voter.asked(NODE, question, held_epoch=0) == first  # nobody said yet that it is on the disk
    voter.kept(first)
    assert voter.asked(NODE, question, held_epoch=0) == first.then
    assert voter.promises == {NODE: Promise(2, ONE)}
    voter.forget([B])
    assert voter.promises == {}


def test_nobody_claims_for_somebody_else() -> None:
    answer = sent(Voter().asked(B, ClaimEpoch(9, NODE, 2, ONE), held_epoch=0))
    assert isinstance(answer, ClaimAnswer)
    assert not answer.is_granted


def test_answers_that_are_none_are_passed_over() -> None:
    claiming = claim(others=[B, C])
    good = ask(claiming, B, Voter())
    claiming.answered("ee" * 16, good)  # a stranger
    claiming.answered(B, ClaimAnswer(good.request + 1, NODE, 2, True, 2))
    claiming.answered(B, ClaimAnswer(good.request, NODE, 3, True, 3))
    claiming.answered(C, ClaimAnswer(good.request, NODE, 2, False, 0))
    claiming.answered(C, ClaimAnswer(good.request, NODE, 2, False, EPOCH_MAX))
    assert claiming.status.voters == frozenset()
    assert claiming.status.epoch == 2


def test_who_did_not_answer_is_asked_again() -> None:
    claiming = claim(others=[B, C, D])
    assert claiming.connected("ee" * 16) == []
    claiming.connected(B)
    claiming.connected(C)
    claiming.disconnected(C)
    assert claiming.tick(ASK_INTERVAL_MS - 1) == []
    assert [effect.peer for effect in claiming.tick(ASK_INTERVAL_MS) if isinstance(effect, Send)] == [B]
    assert claiming.next_at_ms() == 2 * ASK_INTERVAL_MS


@given(
    size=st.integers(1, 6),
    bodies=st.integers(2, 4),
    order=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=80),
)
@settings(max_examples=200)
def test_two_bodies_never_get_the_same_epoch(
    size: int, bodies: int, order: list[tuple[int, int, bool]]
) -> None:
    voters = {f"{n + 10:032x}": Voter() for n in range(size)}
    claims = [claim(f"{body:032x}", others=list(voters), seed=body) for body in range(bodies)]
    for body, peer, is_answer_lost in order:
        if body >= bodies:
            continue
        claiming, name = claims[body], list(voters)[peer % size]
        for effect in claiming.connected(name):
            question = sent(effect)
            assert isinstance(question, ClaimEpoch)
            answer = sent(voters[name].asked(NODE, question, held_epoch=0))
            assert isinstance(answer, ClaimAnswer)
            if not is_answer_lost:
                claiming.answered(name, answer)
    won = [one.status.epoch for one in claims if one.status.state == "claimed"]
    assert len(won) == len(set(won))


def test_fences_have_an_order_and_no_two_nodes_make_the_same() -> None:
    fence = Fence(3, B)
    assert fence < fence.above(NODE) < fence.above(C)
    assert fence.above(NODE) != fence.above(B)
