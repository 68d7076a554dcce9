"""A new rollout's form: what stands in the address, what is read from it, what is refused."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from appliance.core.errors import UsageError
from appliance.core.limits_update_pages import ROLLOUT_FORM_BYTES_MAX
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.windows import Window
from ui.pages.rollout_form import CHECKS, STEPS, Wish

USUAL = Wish(group=("north",))


def read(url: str) -> Wish:
    return Wish.of(QueryParams(parse_qsl(urlsplit(url).query, keep_blank_values=True)))


def test_what_is_usual_is_not_in_the_address() -> None:
    assert Wish().url("targets") == "/firmware/rollouts/new?step=targets"
    wish = Wish(artifact="a1", group=("north", "süd & west"), health="0", from_="22:00")
    assert wish.pairs(without=("artifact",)) == [
        ("group", "north"),
        ("group", "süd & west"),
        ("health", "0"),
        ("from", "22:00"),
    ]
    assert read(wish.url("waves")) == wish


@given(
    st.builds(
        Wish, devices=st.text(max_size=50), group=st.tuples(st.text(max_size=9)), waves=st.text(max_size=20)
    )
)
def test_the_address_holds_all_of_it(wish: Wish) -> None:
    try:
        url = wish.url("review")
    except UnicodeEncodeError:
        return  # Half a character comes from no form.
    assert read(url) == wish


def test_the_usual_form_is_the_usual_plan() -> None:
    assert USUAL.plan() == Plan()
    assert USUAL.policy() == Policy()
    assert USUAL.targets() == Targets(groups=("north",))
    for check in CHECKS.values():
        check(replace(USUAL, name="spring"))
    assert set(CHECKS) <= set(STEPS)


def test_a_draft_comes_back_as_it_was() -> None:
    plan = replace(
        Plan(),
        window=Window.of(("sat", "sun"), "22:00", "04:30"),
        bandwidth_bytes_s=1000,
        start_spread_s=90,
        canaries=("a b", "c,d"),
        on_stop="rollback_all",
    )
    targets = Targets(devices=("a b", "c,d"), hw=("pump-2",), except_=("x",))
    policy = Policy(confirm_s=45)
    wish = Wish.of_rollout(
        rollout_id="r1", name="n", artifact_id="a1", targets=targets, plan=plan, policy=policy
    )
    again = read(wish.url("review"))
    assert (again.targets(), again.plan(), again.policy()) == (targets, plan, policy)
    assert again.clean_name() == "n"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"group": ()}, "targets_invalid"),
        ({"all": "1"}, "targets_invalid"),
        ({"waves": "2, 1, 100%"}, "wave_invalid"),
        ({"waves": "1, 5%"}, "wave_invalid"),
        ({"success": "0"}, "plan_invalid"),
        ({"soak_min": "soon"}, "plan_invalid"),
        ({"soak_min": "."}, "plan_invalid"),
        ({"soak_min": "٣"}, "plan_invalid"),
        ({"kib_s": "9" * 40}, "plan_invalid"),
        ({"day": ("mon",)}, "window_invalid"),
        ({"from_": "22:00"}, "window_invalid"),
        ({"from_": "22:00", "to": "22:00"}, "window_invalid"),
        ({"confirm_min": "0"}, "plan_invalid"),
        ({"name": " "}, "name_invalid"),
        ({"name": "n" * 101}, "name_invalid"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, object], code: str) -> None:
    wish = replace(USUAL, **{"name": "n", **changes})  # type: ignore[arg-type]
    with pytest.raises(UsageError) as refused:
        _check_all(wish)
    assert refused.value.code == code
    assert refused.value.hint


def test_more_than_an_address_holds_is_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError) as refused:
        Wish.of(QueryParams([("devices", "d" * (ROLLOUT_FORM_BYTES_MAX + 1))]))
    assert "tag" in refused.value.hint


def test_a_choice_that_there_is_not_is_the_usual_one() -> None:
    assert replace(USUAL, on_stop="explode").plan().on_stop == "pause"


def _check_all(wish: Wish) -> None:
    for check in CHECKS.values():
        check(wish)
