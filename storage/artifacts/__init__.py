"""Firmware as bytes on disk, by their sha256. See DESIGN.md."""
