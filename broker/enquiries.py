"""Who are they? All who wait to be identified are asked about together, in one thread at a time.

A thread for each CONNECT costs the event loop a third of all that a CONNECT does (DESIGN.md, "Measured"): a
site that comes back after a power cut sends ten thousand of them at once. The catalog's reader answers one at a time
anyway, so nothing waits longer: a lone CONNECT is asked about at once, and whoever comes while a thread is away
goes with the next. Whoever is first in the queue sends the thread off, on its own deadline; if it gives up, the thread's
answers count for nothing and the next in the queue asks anew.

It knows no socket and no packet but CONNECT.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from appliance.core.errors import HomeportError
from appliance.core.limits import ENQUIRY_TIMEOUT_MS
from appliance.management.access import Principal

from .identity import DeviceAuthenticator, Proof, identify
from .mqtt.packets import Connect

TOGETHER_MAX: Final = 64
"""Asked about by one thread: at 15 to 30 µs each, 1 to 2 ms. The queue itself is as long as `handshakes_max` lets it be."""


@dataclass(slots=True, eq=False)
class _Enquiry:
    """One CONNECT that waits; `answer` is there when `woken` is set, or it is this one's turn to ask."""

    connect: Connect
    address: str
    proof: Proof
    answer: Principal | HomeportError | None = None
    woken: trio.Event = field(default_factory=trio.Event)


class Enquiries:
    """See the module's docstring.

    Args:
        authenticator: Asked from a thread.
        limiter: Bounds the threads that ask the catalog, whoever starts them.
    """

    def __init__(self, authenticator: DeviceAuthenticator, limiter: trio.CapacityLimiter) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._waiting: deque[_Enquiry] = deque()
        self._is_asking = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def identify(self, connect: Connect, address: str, proof: Proof) -> Principal:
        """Who this is.

        Raises:
            NotAuthorized, Unavailable: as `identity.identify`.
        """
        enquiry = _Enquiry(connect, address, proof)
        self._waiting.append(enquiry)
        try:
            while enquiry.answer is None:
                if self._is_asking:
                    await enquiry.woken.wait()
                    enquiry.woken = trio.Event()
                else:
                    await self._ask()
        finally:
            if enquiry.answer is None:
                self._waiting.remove(enquiry)
            self._wake_first()
        if isinstance(enquiry.answer, HomeportError):
            raise enquiry.answer
        return enquiry.answer

    async def _ask(self) -> None:
        """Ask about the first in the queue; they stay in it until there are answers."""
        asked = [self._waiting[index] for index in range(min(len(self._waiting), TOGETHER_MAX))]
        self._is_asking = True
        try:
            with trio.move_on_after(ENQUIRY_TIMEOUT_MS / 1000) as asking:
                answers = await trio.to_thread.run_sync(
                    self._answer, asked, limiter=self._limiter, abandon_on_cancel=True
                )
        finally:
            self._is_asking = False
        if asking.cancelled_caught:
            # The catalog's file holds that thread up; asked again, its reader answers from memory.
            return
        for enquiry, answer in zip(asked, answers, strict=True):
            # Who has given up meanwhile is not in the queue any more.
            enquiry.answer = answer
            enquiry.woken.set()
        while self._waiting and self._waiting[0].answer is not None:
            self._waiting.popleft()

    def _answer(self, asked: Sequence[_Enquiry]) -> list[Principal | HomeportError]:
        """In a thread; an error that is not one of ours goes to whoever asks, and ends the broker as it always has."""
        answers: list[Principal | HomeportError] = []
        for enquiry in asked:
            try:
                answers.append(identify(self._authenticator, enquiry.connect, enquiry.address, enquiry.proof))
            except HomeportError as error:
                answers.append(error)
        return answers

    def _wake_first(self) -> None:
        """Somebody has to send off the next thread."""
        if self._waiting and not self._is_asking:
            self._waiting[0].woken.set()
