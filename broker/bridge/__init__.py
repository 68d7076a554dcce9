"""Homeport as a client of another broker: what goes out comes from a cursor over the log, what comes in goes into it."""
