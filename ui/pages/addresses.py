"""Addresses of pages that are about one thing. Every character that means something in a URL is escaped, "/" too."""

from __future__ import annotations

from urllib.parse import quote


def device_url(device_id: str) -> str:
    """The device's page."""
    return "/devices/" + quote(device_id, safe="")


def rollout_url(rollout_id: str) -> str:
    """The rollout's page."""
    return "/firmware/rollouts/" + quote(rollout_id, safe="")


def artifact_url(artifact_id: str) -> str:
    """The artifact's page."""
    return "/firmware/artifacts/" + quote(artifact_id, safe="")


def alarm_url(alarm_id: str) -> str:
    """The alarm's page."""
    return "/alarms/" + quote(alarm_id, safe="")


def rule_url(rule_id: str) -> str:
    """The rule's page."""
    return "/alarms/rules/" + quote(rule_id, safe="")
