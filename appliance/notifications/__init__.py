"""Who is told of an alarm, by which way, and that it is done once."""
