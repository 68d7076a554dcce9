"""Copies of streams, byte for byte: this node's of others, and what others ask of its own."""
