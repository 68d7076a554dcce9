"""The addresses of the pages about people: one's own account, and everybody's for admins."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import Route

from ui.pages import account, people, person
from ui.pages.shell import Endpoint


def people_routes(page: Callable[..., Endpoint]) -> list[Route]:
    """All of them.

    Args:
        page: Shell.page.
    """
    own = (
        ("/account/name", account.change_name),
        ("/account/password", account.change_password),
        ("/account/totp/begin", account.begin_totp),
        ("/account/totp", account.confirm_totp),
        ("/account/totp/remove", account.remove_totp),
        ("/account/sessions/end", account.end_session),
        ("/account/sessions/end-others", account.end_others),
        ("/account/tokens", account.create_token),
        ("/account/tokens/revoke", account.revoke_token),
    )
    of_others = (
        ("/people/new", people.new),
        ("/people/tokens/revoke", people.revoke_token),
        ("/people/user/change", person.change),
        ("/people/user/password", person.set_password),
        ("/people/user/reset-totp", person.reset_totp),
        ("/people/user/standing", person.set_standing),
        ("/people/user/sign-out", person.sign_out),
        ("/people/user/end-session", person.end_session),
        ("/people/user/revoke-token", person.revoke_token),
        ("/people/user/remove", person.remove),
    )
    return [
        Route("/account", page(account.show, needs="account.own"), methods=["GET"]),
        *(Route(path, page(handler, needs="account.own"), methods=["POST"]) for path, handler in own),
        Route("/people", page(people.show, needs="users.manage"), methods=["GET"]),
        Route("/people/new", page(people.show_new, needs="users.manage"), methods=["GET"]),
        Route("/people/user", page(person.show, needs="users.manage"), methods=["GET"]),
        *(Route(path, page(handler, needs="users.manage"), methods=["POST"]) for path, handler in of_others),
        Route("/people/end-everything", page(people.pull_brake, needs="keys.manage"), methods=["POST"]),
    ]
