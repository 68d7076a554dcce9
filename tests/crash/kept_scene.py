"""Clients with sessions that are kept, through a broker that crashes again and again; and what must be true in the end.

Every message whose publish() completed has arrived at each subscriber: where either side is QoS 1 at least once, and in the order
of first arrival, where both are QoS 2 exactly once, in order. Retained messages are those that were published last. The will of
a client that is gone comes after its delay, once, and that of one that came back never.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash.kept_clients import (
    DEADLINE_S,
    Broker,
    KeptClient,
    MosquittoListener,
    PublishedMessage,
    Publisher,
    Subscriber,
)
from tests.crash.rig import wait_for

MESSAGES = "kept/t/#"
RETAINED_TOPIC_COUNT = 8
WILL_DELAY_S = 5


class Scene:
    """See the module's docstring.

    Args:
        folder: For what clients write; not on a disk whose power is cut.
        crash: Lets the broker crash, and start again; returns when it listens.
        drain: Has the broker stop properly, which writes its checkpoint, and start again.
    """

    def __init__(
        self,
        broker: Broker,
        folder: Path,
        choices: random.Random,
        crash: Callable[[], None],
        drain: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._choices = choices
        self._crash = crash
        self._drain = drain
        with contextlib.ExitStack() as stack:
            self.subscribers = [
                stack.enter_context(
                    contextlib.closing(
                        Subscriber(broker, f"subscriber-{version}-{qos}", version, MESSAGES, qos)
                    )
                )
                for version in (4, 5)
                for qos in (1, 2)
            ]
            self.listeners = [
                stack.enter_context(
                    contextlib.closing(
                        MosquittoListener(broker, f"mosquitto-{qos}", version, MESSAGES, qos, folder)
                    )
                )
                for version, qos in ((4, 1), (5, 2))
            ]
            self.publishers = [
                stack.enter_context(
                    contextlib.closing(
                        Publisher(broker, f"publisher-{version}", version, _numbered(f"kept/t/{version}"))
                    )
                )
                for version in (4, 5)
            ]
            self.retaining = stack.enter_context(
                contextlib.closing(Publisher(broker, "retaining", 5, _retained))
            )
            self._open = stack.pop_all()

    def close(self) -> None:
        self._open.close()

    def play(self, rounds: int) -> None:
        """Crash so often under load, and check what must be true."""
        for each in (*self.publishers, self.retaining):
            each.resume()
        for number in range(1, rounds):
            self._run_for_a_while()
            self._crash()
            if number % 4 == 2:
                self._run_for_a_while()
                self._drain()
            self._come_and_go()
        self._wills()
        self._quiet()
        for listener in self.listeners:
            if not listener.is_running:
                listener.start()
        self._everything_arrives()
        self._check_messages(rounds)
        self._check_retained()

    def _run_for_a_while(self) -> None:
        """How long the load runs is the experiment; but it does run."""
        before = [each.done_count for each in self.publishers]
        time.sleep(self._choices.uniform(0.05, 1.5))
        wait_for(
            lambda: all(each.done_count > n for each, n in zip(self.publishers, before, strict=True)),
            DEADLINE_S,
            "messages are published",
        )

    # --- mosquitto_sub --------------------------------------------------------------------------------------

    def _come_and_go(self) -> None:
        """Now and then one comes, or goes when it has everything: what it has half of would be lost with its process.

        At QoS 2 it is never there at a crash. libmosquitto 2.0 keeps a QoS 2 message that comes again beside itself, and hands out
        the old one when its packet identifier is used again.
        """
        chosen = self._choices.choice(self.listeners)
        if not chosen.is_running:
            chosen.start()
            if chosen.qos == 1:
                return
        self._quiet()
        self._everything_arrives()
        chosen.stop()
        for each in (*self.publishers, self.retaining):
            each.resume()

    def _quiet(self) -> None:
        for each in (*self.publishers, self.retaining):
            each.pause()

    def _everything_arrives(self) -> None:
        expected = self._published()
        for each in self._receivers():
            try:
                wait_for(lambda each=each: _has_all(each.numbers(), expected), DEADLINE_S, "all messages")  # type: ignore[misc]
            except AssertionError:
                found = each.numbers()
                missing = {t: sorted(set(n) - set(found.get(t, [])))[:10] for t, n in expected.items()}
                raise AssertionError(f"{each!r}, QoS {each.qos}, never got {missing}") from None

    def _receivers(self) -> list[Subscriber | MosquittoListener]:
        """Who is there."""
        return [*self.subscribers, *(each for each in self.listeners if each.is_running)]

    def _published(self) -> dict[str, list[int]]:
        """What was published and is done, by topic; nothing is in flight."""
        expected: dict[str, list[int]] = {}
        for publisher in self.publishers:
            assert publisher.done_count == len(publisher.sent)
            for message in publisher.sent:
                expected.setdefault(message.topic, []).append(int(message.payload))
        return expected

    # --- what must be true ----------------------------------------------------------------------------------

    def _check_messages(self, rounds: int) -> None:
        expected = self._published()
        assert all(len(numbers) > 5 * rounds for numbers in expected.values())
        faults = [
            fault
            for client in (*self.subscribers, *self.publishers, self.retaining)
            for fault in client.faults
        ]
        assert not faults, f"{faults}"
        assert all(each.connect_count > rounds for each in self.subscribers)
        for subscriber in self._receivers():
            found = subscriber.numbers()
            assert found.keys() == expected.keys()
            for topic, published in expected.items():
                got = found[topic]
                assert list(dict.fromkeys(got)) == published, f"{topic} at QoS {subscriber.qos}: order"
                if topic.endswith("/q2") and subscriber.qos == 2:
                    twice = sorted({number for number in got if got.count(number) > 1})
                    assert len(got) == len(published), f"{topic}: {subscriber!r} got twice: {twice[:20]}"

    def _check_retained(self) -> None:
        expected: dict[str, bytes] = {}
        for message in self.retaining.sent:
            expected[message.topic] = message.payload
        expected = {topic: payload for topic, payload in expected.items() if payload}
        assert expected
        with contextlib.closing(
            Subscriber(self._broker, "late", 5, "kept/retained/#", 2, is_kept=False)
        ) as late:
            # What is published now comes behind what was retained; at QoS 2, as the last of it comes.
            late.client.publish("kept/retained/end", b"end", 2)
            wait_for(
                lambda: any(each.payload == b"end" for each in late.arrived), DEADLINE_S, "the end arrives"
            )
            found = {m.topic: m.payload for m in late.arrived if m.retain}
            assert found == expected, f"retained are {found}, should be {expected}"
            assert len(late.arrived) == len(expected) + 1, f"{late.arrived}"

    def _wills(self) -> None:
        """The last crash: of two clients that were connected one comes back."""
        with contextlib.ExitStack() as stack:
            watcher = stack.enter_context(
                contextlib.closing(Subscriber(self._broker, "watcher", 5, "kept/will/#", 2))
            )
            back, _gone = (
                stack.enter_context(
                    contextlib.closing(
                        KeptClient(
                            self._broker,
                            name,
                            5,
                            comes_back=name == "back",
                            will=(f"kept/will/{name}", WILL_DELAY_S),
                        )
                    )
                )
                for name in ("back", "gone")
            )
            crashed_at_s = time.monotonic()
            self._crash()
            back.wait_for_connect(2)
            wait_for(lambda: bool(watcher.arrived), DEADLINE_S, "the will of the client that is gone")
            watcher.client.publish("kept/will/end", b"end", 2)
            wait_for(
                lambda: any(each.payload == b"end" for each in watcher.arrived), DEADLINE_S, "the end arrives"
            )
            assert [each.payload for each in watcher.arrived] == [b"gone", b"end"], f"{watcher.arrived}"
            assert watcher.arrived[0].at_mono_s - crashed_at_s >= WILL_DELAY_S
            assert not watcher.faults + back.faults, f"{watcher.faults + back.faults}"


def _numbered(topic: str) -> Callable[[int], PublishedMessage]:
    """Numbers at QoS 1 and QoS 2 in turns, each in a topic of its own."""

    def message(number: int) -> PublishedMessage:
        qos = 1 + number % 2
        return PublishedMessage(f"{topic}/q{qos}", b"%d" % number, qos)

    return message


def _retained(number: int) -> PublishedMessage:
    """Some topics over and over; one message in five clears its topic."""
    payload = b"" if number % 5 == 4 else b"%d" % number
    topic = f"kept/retained/{number % RETAINED_TOPIC_COUNT}"
    return PublishedMessage(topic, payload, 1 + number % 2, retain=True)


def _has_all(found: dict[str, list[int]], expected: dict[str, list[int]]) -> bool:
    return all(set(numbers) <= set(found.get(topic, [])) for topic, numbers in expected.items())
