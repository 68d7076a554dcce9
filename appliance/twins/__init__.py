"""What devices should be and do: twins and commands. See DESIGN.md."""
