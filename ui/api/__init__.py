"""The JSON API, /api/v1; see docs/API.md. All of it is in `routes`; a verb that answers as one endpoint does imports that one."""
