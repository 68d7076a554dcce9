"""Firmware: executions and rollouts, and the bytes on their way to devices. See DESIGN.md."""
