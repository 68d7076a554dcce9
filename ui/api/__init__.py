"""The JSON API, /api/v1; see docs/API.md."""

from ui.api.routes import ENDPOINTS, routes

__all__ = ["ENDPOINTS", "routes"]
