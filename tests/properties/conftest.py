"""Hypothesis without its deadline per example: on a busy machine that measures the neighbours, not the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("homeport", deadline=None)
settings.load_profile("homeport")
