"""Who lacks what, and how it gets there: digests, pushes, pulls, what is stored where. Sans-IO."""
