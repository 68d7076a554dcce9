"""Backups of everything that must survive, to a folder or a USB disk: made, listed, verified, pruned, restored. DESIGN.md here."""
