"""What devices ask over MQTT, and what is told them. See DESIGN.md."""
