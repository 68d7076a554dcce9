"""Spans: where did this reading spend its 340 ms."""
