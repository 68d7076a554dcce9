"""Small programs that stand in for real ones, started by tests as processes."""
