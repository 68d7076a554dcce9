"""What the page of readings shows stands in its URL."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.datastructures import QueryParams

from appliance.core.errors import UsageError
from ui.pages.telemetry_choice import PRESETS, WORDS, Choice
from ui.telemetry_question import AGGREGATIONS, parse_when

NOW_MS = 1_772_000_000_000
DAY_MS = 86_400_000


def choice(query: str) -> Choice:
    return Choice.of(QueryParams(query))


def test_a_choice_goes_into_the_url_and_comes_back() -> None:
    chosen = choice(
        "device=a%26b&device=c&device=c&metric=t&from=-7d&to=-1d&aggregation=max&live=1&view=table"
    )
    assert chosen.devices == ("a&b", "c")
    assert choice(urlsplit(chosen.url()).query) == chosen
    assert choice(urlsplit(choice("").url()).query) == Choice()


def test_what_means_nothing_is_left_out() -> None:
    long = "x" * 300
    assert (
        choice(f"device=&device={long}&metric={long}&aggregation=median&live=yes&view=pie&from=&unknown=1")
        == Choice()
    )


def test_so_many_lines_and_charts_fit_a_page() -> None:
    chosen = choice("&".join([f"device=d{n}" for n in range(9)] + [f"metric=m{n}" for n in range(7)]))
    assert (len(chosen.devices), len(chosen.metrics), chosen.more) == (8, 6, True)
    assert not choice("device=d").more


@pytest.mark.parametrize(
    ("query", "range_ms"),
    [
        ("", (NOW_MS - DAY_MS, NOW_MS)),
        ("from=-2d&to=-1d", (NOW_MS - 2 * DAY_MS, NOW_MS - DAY_MS)),
        ("from=2026-02-24&to=2026-02-25", (1_771_891_200_000, 1_771_977_600_000)),
        ("from=2026-02-24+06:00&to=2026-02-24T07:30", (1_771_912_800_000, 1_771_918_200_000)),
        ("from=2026-02-24T06:00:00.500&to=now", (1_771_912_800_500, NOW_MS)),
        ("from=2026-02-24T07:00:00%2B01:00", (1_771_912_800_000, NOW_MS)),
    ],
)
def test_times_are_utc_where_they_name_no_offset(query: str, range_ms: tuple[int, int]) -> None:
    assert choice(query).range_ms(NOW_MS) == range_ms


@pytest.mark.parametrize("query", ["from=lately", "to=2026-13-01", "from=now", "from=-1d&to=-2d"])
def test_what_is_no_range_is_refused(query: str) -> None:
    with pytest.raises(UsageError):
        choice(query).range_ms(NOW_MS)


def test_a_range_that_ends_now_moves() -> None:
    assert choice("").is_moving
    assert choice("to=now").is_moving
    assert not choice("to=-1h").is_moving
    assert not choice("from=2026-02-24").is_moving


def test_links_to_usual_ranges_keep_the_rest() -> None:
    links = choice("device=a&metric=t&from=-7d&to=&aggregation=min").presets()
    assert [link.label for link in links if link.current] == ["7 days"]
    for link, (text, _) in zip(links, PRESETS, strict=True):
        assert parse_when(text, NOW_MS, name="from") < NOW_MS
        query = parse_qs(urlsplit(link.url).query)
        assert (query["device"], query["aggregation"], query["from"]) == (["a"], ["min"], [text])


def test_an_export_is_of_the_range_that_is_shown() -> None:
    url = urlsplit(choice("device=a&metric=t&aggregation=max").export_url("csv", 5, 9))
    assert url.path == "/api/v1/telemetry/export"
    assert parse_qs(url.query) == {
        "format": ["csv"],
        "device": ["a"],
        "metric": ["t"],
        "from": ["5"],
        "to": ["9"],
    }


def test_a_chart_asks_for_one_metric() -> None:
    assert choice("device=a&metric=t&metric=u&view=table&live=1").of_metric("u") == choice(
        "device=a&metric=u"
    )


def test_each_aggregation_has_words() -> None:
    assert set(WORDS) == set(AGGREGATIONS)
