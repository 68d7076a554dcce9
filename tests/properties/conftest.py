"""Hypothesis without its deadline per example: on a busy machine that measures the neighbours, not the code.

And with a share of its examples but in the long run (tests/sampling.py).
"""

from __future__ import annotations

from hypothesis import settings

from tests.sampling import examples

settings.register_profile("homeport", deadline=None, max_examples=examples(100))
settings.load_profile("homeport")
