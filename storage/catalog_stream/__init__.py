"""The stream `catalog`: changes of rows, from the outbox into a log, and out of it again."""
