"""What rules find becomes alarms that people see once."""
