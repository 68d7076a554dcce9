"""Rules as arithmetic over columns of readings."""
