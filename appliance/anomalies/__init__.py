"""What is usual for a series, and how far from it a value is."""
