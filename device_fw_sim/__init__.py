"""A simulated device, fleets of them, recordings played back, and a load generator.

Nothing in here knows Homeport: it speaks MQTT to any broker. Of ours it imports only `broker.mqtt`, the codec that fleets
use; a single device runs on amqtt's client instead, so that the broker meets a protocol stack nobody here wrote.
"""
