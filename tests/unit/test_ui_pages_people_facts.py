"""How people and what they are signed in with read."""

from __future__ import annotations

import pytest

from storage.catalog.rows import ApiToken
from ui.pages.people_facts import agent_text, chosen_scope, person_url, roles_up_to, scope_text, token_look

ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0"


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        (ANDROID, "Chrome on Android"),
        (IPHONE, "Safari on iPhone"),
        (EDGE, "Edge on Windows"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "says nothing of itself"),
        ("evil\u202eagent", "evil\\u202eagent"),
        ("x" * 300, "x" * 40),
    ],
)
def test_a_browser_is_named_as_people_name_it(agent: str, text: str) -> None:
    assert agent_text(agent) == text


def test_a_scope_in_words_and_back() -> None:
    assert scope_text(None) == "whole site"
    assert scope_text(frozenset({"b", "a"})) == "a, b"
    assert "no device" in scope_text(frozenset())
    assert chosen_scope("site", ["a"]) is None
    assert chosen_scope("groups", ["a"]) == frozenset({"a"})
    assert chosen_scope("", []) == frozenset(), "what is not understood is no device at all"


def test_nobody_is_offered_more_than_they_are() -> None:
    assert [each.role for each in roles_up_to("operator")] == ["viewer", "operator"]


def test_a_name_can_t_change_the_address() -> None:
    assert person_url("../x&done=a") == "/people/user?id=..%2Fx%26done%3Da"


def test_a_token_s_state() -> None:
    token = ApiToken(
        token_id="t", token_hash="", user_id="u", name="n", role="viewer", scope=None, created_at_ms=0,
        expires_at_ms=10, revoked_at_ms=None, last_used_at_ms=None, last_address="",
    )  # fmt: skip
    assert token_look(token, 9).word == "active"
    assert token_look(token, 10).word == "ended"
