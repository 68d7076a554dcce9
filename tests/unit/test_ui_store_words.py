"""The store's state in words."""

from __future__ import annotations

import pytest

from tests.node_kit import PipelineNumbers, lag_of
from ui.pages.looks import STORE
from ui.store_words import store_state, store_text


@pytest.mark.parametrize(
    ("pipeline", "word"),
    [
        (PipelineNumbers(), "closed"),
        (PipelineNumbers(lag_s=0.0), "closed"),
        (PipelineNumbers(lag_s=6.0), "behind"),
        (
            PipelineNumbers(lag_s=0.0, pipeline_lag=lag_of([600_000] * 20)),
            "closed",
        ),  # It was; now all is there.
        (PipelineNumbers(state="starting"), "behind"),
        (PipelineNumbers(ingestion_lag=lag_of([3_600_000]), lag_p95_s=3_600.0), "closed"),
        (PipelineNumbers(breaker="open"), "open"),
        (PipelineNumbers(breaker="half_open"), "half_open"),
        (PipelineNumbers(state="rebuilding"), "behind"),
        (PipelineNumbers(state="catching_up"), "behind"),
        (PipelineNumbers(state="stopped"), "behind"),
    ],
)
def test_the_store_has_a_state_and_each_has_a_look(pipeline: PipelineNumbers, word: str) -> None:
    assert store_state(pipeline) == word
    assert STORE[word].word


def test_readings_are_safe_whatever_the_store_does() -> None:
    assert store_text("closed", 0) == "up to date"
    assert store_text("open", 1_234) == "readings are safe, not yet searchable, 1\u202f234 behind"
    assert store_text("behind", 0) == "readings are safe, not all of them searchable yet"
