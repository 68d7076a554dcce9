"""Which nodes belong to this box's fleet, as a file that every process reads and the replicator writes. See DESIGN.md."""

from storage.fleet.roster_file import RosterWatch, read_roster, roster_path, write_roster

__all__ = ["RosterWatch", "read_roster", "roster_path", "write_roster"]
