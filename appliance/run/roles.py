"""The roles of the configuration as the access rules have them."""

from __future__ import annotations

from appliance.core.config import Config
from appliance.core.errors import ConfigError, UsageError
from appliance.management.access import AccessPolicy, Role


def roles_of(config: Config) -> dict[str, Role]:
    """The roles by name.

    Raises:
        ConfigError: a pattern can't be one, or two roles have the same name.
    """
    roles: dict[str, Role] = {}
    for each in config.broker_role:
        if each.name in roles:
            raise ConfigError(
                f"Two tables [[broker_role]] have the name “{each.name}”.",
                hint="Rename one, or make them one.",
            )
        try:
            roles[each.name] = Role.of(publish=each.publish, subscribe=each.subscribe)
        except UsageError as error:
            raise ConfigError(
                f"The broker role “{each.name}” can't be used: {error.message}", hint=error.hint
            ) from error
    return roles


def access_policy(config: Config) -> AccessPolicy:
    """What the configuration's mappings and roles allow.

    Raises:
        ConfigError: as `roles_of`, or a mapping's pattern can't be one.
    """
    try:
        return AccessPolicy([mapping.topic for mapping in config.mapping], roles_of(config))
    except UsageError as error:
        raise ConfigError(error.message, hint=error.hint) from error
