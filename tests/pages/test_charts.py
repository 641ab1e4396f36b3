"""Pictures of numbers: which time a chart shows, how high its bars are, and what it says about itself."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.pages import charts
from sandbox.pages.charts import Chart, Series, Stretch

NOON = 1_704_196_800_000  # 2 Jan 2024, 12:00:00 UTC
S, MIN, H, D = 1000, 60_000, 3_600_000, 86_400_000
KINDS = (Series(name="good", tone="good"), Series(name="bad", tone="bad", style="striped"))


def stretch(moments: Sequence[int], now_ms: int = NOON, *, whole: bool = True) -> Stretch:
    found = charts.stretch_of(moments, now_ms, whole=whole)
    assert found is not None
    return found


def bars(*points: tuple[int, int], now_ms: int = NOON) -> Chart:
    at = stretch([at_ms for at_ms, _ in points], now_ms)
    return charts.stacked(points, KINDS, title="Calls", noun="call", note="", at=at, now_ms=now_ms)


def dots(*points: tuple[int, float], deadline_ms: int = 10_000) -> Chart:
    at = stretch([at_ms for at_ms, _ in points])
    return charts.spread(points, title="Times", noun="answer", note="", at=at, now_ms=NOON, deadline_ms=deadline_ms)


def every(gap_ms: int, count: int, end_ms: int = NOON) -> list[int]:
    return [end_ms - gap_ms * number for number in range(count)]


# Which time is shown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moments", [[], [NOON], [NOON, NOON]])
def test_fewer_than_three_points_are_no_picture(moments: list[int]) -> None:
    assert charts.stretch_of(moments, NOON) is None


@pytest.mark.parametrize(
    ("moments", "bar_ms", "count"),
    [
        (every(0, 3), S, 30),  # all in one millisecond: half a minute with one bar
        (every(100, 100), S, 30),
        (every(S, 31), S, 31),
        (every(10 * S, 80), 15 * S, 54),  # 13 minutes
        (every(20 * S, 100), 20 * S, 46),  # half an hour, of which 15 minutes are enough
        (every(MIN, 100), 2 * MIN, 31),  # of which the last hour is enough
        (every(H, 20), 20 * MIN, 58),
        (every(30 * MIN, 100), 30 * MIN, 49),  # two days, of which the last one is enough
        (every(7 * D, 100), 14 * D, 50),  # two years, none of the shorter ones would hold 30
        ([NOON, NOON - 2000 * D, NOON - 30 * D], 56 * D, 37),
    ],
)
def test_the_stretch_is_full_and_its_bars_are_round(moments: list[int], bar_ms: int, count: int) -> None:
    found = stretch(moments)
    assert (found.bar_ms, found.bars) == (bar_ms, count)
    assert found.first_ms % bar_ms == 0
    assert found.first_ms <= NOON < found.end_ms


def test_the_newest_of_many_may_lie_so_close_that_bars_are_narrower_than_a_second() -> None:
    assert stretch(every(1, 2000), whole=False).bar_ms == 50
    assert stretch(every(1, 2000), whole=True).bar_ms == S


@pytest.mark.parametrize(("later_ms", "to_now"), [(0, True), (MIN, True), (MIN + 1, False), (D, False), (-1, False)])
def test_the_stretch_ends_now_unless_the_last_thing_is_long_ago(later_ms: int, to_now: bool) -> None:
    found = stretch(every(S, 30), NOON + later_ms)
    assert found.to_now is to_now
    assert found.bar_of(NOON + later_ms if to_now else NOON) == found.bars - 1


def test_a_clock_that_jumped_a_week_shows_both_sides_until_the_new_one_is_full() -> None:
    before, after = every(S, 50, NOON - 7 * D), every(S, 5)
    both = stretch([*before, *after])
    assert both.bar_of(before[-1]) == 0
    assert both.bar_of(NOON) == both.bars - 1
    newer = stretch([*before, *every(S, 30)])
    assert newer.bar_of(before[0]) is None
    assert newer.bar_ms == S


@given(
    st.lists(st.integers(0, 10**13), min_size=3, max_size=80),
    st.integers(0, 10**13),
    st.booleans(),
)
@example([0, 0, 160 * 365 * D], 240 * 365 * D, False)
def test_a_picture_has_30_to_60_bars_and_holds_the_newest_points(moments: list[int], now_ms: int, whole: bool) -> None:
    found = stretch(moments, now_ms, whole=whole)
    assert charts.LEAST_BARS <= found.bars <= charts.MOST_BARS
    newest = sorted(moments)[-charts.AMPLE :]
    if found.end_ms - min(moments) < charts.MOST_BARS * 1460 * D:  # else the widest bars are too narrow
        assert all(found.bar_of(each) is not None for each in newest)


# Bars --------------------------------------------------------------------------------------------------------------


def rectangles(chart: Chart, number: int) -> list[tuple[float, float]]:
    """Of one kind: (foot, height) of each, from the picture's foot."""
    path = chart.marks[number].path
    return [
        (charts.HEIGHT - float(foot), float(height)) for foot, height in re.findall(r"M\d+ ([\d.]+)v-([\d.]+)h", path)
    ]


def test_kinds_stand_on_top_of_each_other() -> None:
    chart = bars((NOON, 0), (NOON, 0), (NOON, 1), (NOON - S, 1))
    assert chart.ticks == ["4", "2", "0"]
    assert rectangles(chart, 0) == [(0, 60)]
    assert rectangles(chart, 1) == [(0, 30), (60, 30)]


def test_a_kind_that_did_not_happen_has_an_empty_path_and_stays_in_the_key() -> None:
    chart = bars((NOON, 0), (NOON, 0), (NOON, 0))
    assert [(mark.name, bool(mark.path)) for mark in chart.marks] == [("good", True), ("bad", False)]


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 20), (99, 100), (101, 200), (1999, 2000)],
)
def test_a_scale_ends_at_a_round_number(highest: int, top: int) -> None:
    assert charts.scale(highest) == top


def test_a_scale_has_no_halves() -> None:
    assert bars((NOON, 0), (NOON - S, 0), (NOON - 2 * S, 0)).ticks == ["1", "", "0"]


def test_points_outside_the_stretch_are_not_counted() -> None:
    at = stretch(every(S, 30))
    points = [(NOON, 0), (NOON - H, 0), (NOON + H, 0)]
    chart = charts.stacked(points, KINDS, title="", noun="call", note="", at=at, now_ms=NOON)
    assert chart.sentence.startswith("1 call in")


def test_bars_say_in_a_sentence_what_they_show() -> None:
    chart = bars(*((each, number % 2) for number, each in enumerate(every(20 * S, 37))))
    assert chart.caption == "last 12 minutes, 1 bar = 15 s"
    assert chart.sentence == "37 calls in the last 12 minutes: 19 good, 18 bad. The busiest 15 s had 1."
    assert chart.times == ["11:48:00", "11:54:00", "12:00:15"]


def test_the_table_has_the_numbers_of_every_bar_that_is_not_empty() -> None:
    chart = bars((NOON, 0), (NOON, 1), (NOON - 5 * S, 1))
    assert chart.heads == ["From", "Good", "Bad"]
    assert chart.rows == [["11:59:55", "0", "1"], ["12:00:00", "1", "1"]]


@pytest.mark.parametrize(
    ("moments", "later_ms", "caption"),
    [
        (every(S, 30), 0, "last 30 seconds, 1 bar = 1 s"),
        (every(S, 30), H, "30 seconds until 12:00:01, 1 bar = 1 s"),
        (every(S, 30), D, "30 seconds until 2 Jan 2024 12:00:01, 1 bar = 1 s"),
        (every(MIN, 30), 0, "last 30 minutes, 1 bar = 30 s"),
        (every(H, 40), 0, "last 40 hours, 1 bar = 1 h"),
        (every(7 * D, 30), 0, "last 205 days, 1 bar = 5 d"),
        (every(7 * D, 30), 300 * D, "205 days until 3 Jan 2024, 1 bar = 5 d"),
    ],
)
def test_a_caption_says_how_long_in_plain_words(moments: list[int], later_ms: int, caption: str) -> None:
    now_ms = NOON + later_ms
    assert bars(*((each, 0) for each in moments), now_ms=now_ms).caption == caption


def test_a_caption_says_that_there_were_more() -> None:
    at = stretch(every(1, 2000), whole=False)
    chart = charts.stacked([(NOON, 0)], KINDS, title="", noun="call", note="the newest 2,000", at=at, now_ms=NOON)
    assert chart.caption == "last 2 seconds, 1 bar = 50 ms; the newest 2,000"
    assert chart.times[-1] == "12:00:00.05"


# Answer times ------------------------------------------------------------------------------------------------------


def test_a_dot_is_the_median_and_a_line_ends_at_the_95th_percentile() -> None:
    chart = dots(*((NOON, float(took)) for took in [10] * 10 + [100] * 9 + [9]))
    line, dot = chart.marks
    assert chart.ticks == ["100 ms", "10 ms", "1 ms"]
    assert (dot.style, dot.path) == ("dot", "M295 60h0")
    assert (line.style, line.path) == ("line", "M295 60V0")
    assert chart.rows == [["12:00:00", "20", "10 ms", "100 ms"]]
    assert chart.sentence == "20 answers in the last 30 seconds: half within 10 ms, 95 % within 100 ms."


@pytest.mark.parametrize(
    ("took", "depth"), [(0, 120), (0.4, 120), (1, 120), (10, 90), (100, 60), (1000, 30), (10_000, 0)]
)
def test_a_scale_of_powers_shows_milliseconds_and_time_outs_alike(took: float, depth: float) -> None:
    chart = dots(*((NOON - number * S, each) for number, each in enumerate([took, 10_000, 10_000])))
    assert chart.ticks == ["10 s", "1 s", "100 ms", "10 ms", "1 ms"]
    assert chart.marks[1].path.split("M")[-1] == f"295 {depth:g}h0"


@pytest.mark.parametrize(("took", "near"), [(4999, False), (5000, True), (10_000, True)])
def test_the_deadline_is_drawn_when_half_of_it_is_reached(took: float, near: bool) -> None:
    chart = dots((NOON, took), (NOON, took), (NOON, took))
    assert [mark.name for mark in chart.marks[2:]] == (["deadline, 10 s"] if near else [])
    assert ("The deadline is 10 s." in chart.sentence) is near


@pytest.mark.parametrize(
    ("values", "share", "found"), [([1], 0.95, 1), ([1, 2, 3], 0.5, 2), ([3, 1, 2, 4], 0.5, 2), ([5] * 4, 0.95, 5)]
)
def test_a_percentile_is_one_of_the_values(values: list[float], share: float, found: float) -> None:
    assert charts.percentile(values, share) == found


def test_a_picture_has_a_line_for_each_tick() -> None:
    chart = dots((NOON, 1), (NOON, 1), (NOON, 1))
    assert chart.lines == "M0 0H300M0 60H300M0 120H300"
