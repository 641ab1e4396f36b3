"""Charts as SVG paths: which stretch of time one shows, how high its bars are, and what it says in a sentence.

Pure, without templates or database. Paths are in units of the picture, which is stretched to the page's width: so text
stands in HTML around it, and nothing in it relies on a right angle or a round dot.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from statistics import median
from typing import Literal

from sandbox.pages.formatting import counted, day, hm, hms

FEWEST = 3  # points of which a chart is drawn
HEIGHT = 120  # units
SLOT = 10  # units from one bar to the next
BAR = 8  # units of it that are filled
LEAST_BARS, MOST_BARS = 30, 60
AMPLE = 30  # points that fill a picture

_S, _MIN, _H, _D = 1000, 60_000, 3_600_000, 86_400_000
REACHES = (15 * _MIN, _H, _D)
"""How far a chart reaches back, in ms: the shortest of these in which there is enough to see, else all of it."""

# Widths of a bar in ms. None is more than twice the one before, so that 30 to 60 of them fill any stretch of time.
_WIDTHS = (
    *(10, 20, 30, 50, 100, 200, 300, 500),
    *(each * _S for each in (1, 2, 3, 5, 10, 15, 20, 30)),
    *(each * _MIN for each in (1, 2, 3, 5, 10, 15, 20, 30)),
    *(each * _H for each in (1, 2, 3, 4, 6, 8, 12)),
    *(each * _D for each in (1, 2, 3, 5, 7, 14, 28, 56, 112, 224, 365, 730, 1460)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The time that a chart shows, cut into bars of equal width that begin at round moments."""

    first_ms: int
    bar_ms: int
    bars: int
    to_now: bool  # False: the last thing happened long ago, and the stretch ends with it

    @property
    def end_ms(self) -> int:
        return self.first_ms + self.bars * self.bar_ms

    @property
    def width(self) -> int:
        """In units of the picture."""
        return self.bars * SLOT

    def bar_of(self, at_ms: int) -> int | None:
        """The bar that a moment belongs to; None if it lies outside."""
        index = (at_ms - self.first_ms) // self.bar_ms
        return index if 0 <= index < self.bars else None

    def begin_of(self, bar: int) -> int:
        return self.first_ms + bar * self.bar_ms


def stretch_of(moments: Iterable[int], now_ms: int, *, whole: bool = True) -> Stretch | None:
    """The stretch of time in which `moments` (`_ms`) make a full picture; None if there are too few of them.

    `whole` is False if they are only the newest of many: then bars may be narrower than a second.
    """
    known = sorted(moments)
    if len(known) < FEWEST:
        return None
    newest = known[-1]
    enough = min(len(known), AMPLE)
    reach = next((each for each in REACHES if known[-enough] >= newest - each), newest - known[0])
    oldest = next(each for each in known if each >= newest - reach)
    length = newest - oldest
    to_now = 0 <= now_ms - newest <= max(length // 2, _MIN)
    end_ms = now_ms if to_now else newest
    least = _S if whole else _WIDTHS[0]
    fitting = (each for each in _WIDTHS if each >= least and _bars(oldest, end_ms, each) <= MOST_BARS)
    bar_ms = next(fitting, _WIDTHS[-1])
    bars = min(max(_bars(oldest, end_ms, bar_ms), LEAST_BARS), MOST_BARS)
    return Stretch(first_ms=(end_ms // bar_ms + 1 - bars) * bar_ms, bar_ms=bar_ms, bars=bars, to_now=to_now)


def _bars(oldest_ms: int, newest_ms: int, bar_ms: int) -> int:
    return newest_ms // bar_ms - oldest_ms // bar_ms + 1


# Pictures ----------------------------------------------------------------------------------------------------------

Style = Literal["bar", "striped", "hollow", "line", "dot", "dashed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One series in the picture: all of its shapes as one path, and its name in the legend."""

    name: str
    style: Style
    tone: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with the words around it. `rows` are the same numbers as a table: each bar that is not empty."""

    title: str
    caption: str
    sentence: str
    width: int
    ticks: Sequence[str]  # from the top of the scale to its foot, at equal distances; "" is a line without a number
    times: Sequence[str]  # of the left edge, the middle and the right edge
    marks: Sequence[Drawing]
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def lines(self) -> str:
        """A line across the picture for each tick."""
        last = len(self.ticks) - 1
        return "".join(f"M0 {HEIGHT * number / last:g}H{self.width}" for number in range(last + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series of a stacked bar chart: what it stands for, and how it is drawn."""

    name: str
    tone: str
    style: Style = "bar"


def stacked(
    points: Iterable[tuple[int, int]],
    kinds: Sequence[Series],
    *,
    title: str,
    noun: str,
    note: str,
    at: Stretch,
    now_ms: int,
) -> Chart:
    """A stacked bar chart of counts. A point is its moment in `_ms` and the number of its
    kind; `noun` is what one of them is called, `note` ends the caption."""
    counts = [[0] * len(kinds) for _ in range(at.bars)]
    for at_ms, kind in points:
        bar = at.bar_of(at_ms)
        if bar is not None:
            counts[bar][kind] += 1
    sums = [sum(each) for each in counts]
    top = scale(max(sums))
    totals = [sum(each[kind] for each in counts) for kind in range(len(kinds))]
    said = ", ".join(f"{total:,} {kind.name}" for total, kind in zip(totals, kinds, strict=True))
    return Chart(
        title=title,
        caption=_caption(at, now_ms, note),
        sentence=f"{counted(sum(sums), noun)} in the {_stretch_words(at, now_ms)}: {said}. The busiest "
        f"{_length(at.bar_ms)} had {max(sums):,}.",
        width=at.width,
        ticks=[f"{top:,}", f"{top // 2:,}" if top > 1 else "", "0"],
        times=_times(at),
        marks=[
            Drawing(name=kind.name, style=kind.style, tone=kind.tone, path=_bars_path(counts, number, top))
            for number, kind in enumerate(kinds)
        ],
        heads=["From", *(kind.name.capitalize() for kind in kinds)],
        rows=[
            [_moment(at.begin_of(bar), at), *(f"{each:,}" for each in found)]
            for bar, found in enumerate(counts)
            if sums[bar]
        ],
    )


def _bars_path(counts: Sequence[Sequence[int]], kind: int, top: int) -> str:
    made = []
    for bar, found in enumerate(counts):
        if found[kind]:
            below = _height(sum(found[:kind]), top)
            height = _height(sum(found[: kind + 1]), top) - below
            made.append(f"M{bar * SLOT + 1} {HEIGHT - below:g}v{-height:g}h{BAR}v{height:g}z")
    return "".join(made)


def _height(value: float, top: int) -> float:
    return round(value * HEIGHT / top, 1)


def spread(
    points: Iterable[tuple[int, float]],
    *,
    title: str,
    noun: str,
    note: str,
    at: Stretch,
    now_ms: int,
    deadline_ms: int,
) -> Chart:
    """A chart of durations: for each bar a dot at the median, and a line up to the 95th percentile.

    A point is its moment in `_ms` and its length in ms. Each line of the scale is ten times the one below, so that
    milliseconds and time-outs are seen alike. The deadline is drawn when half of it is reached.
    """
    found: Mapping[int, list[float]] = {bar: [] for bar in range(at.bars)}
    for at_ms, took_ms in points:
        bar = at.bar_of(at_ms)
        if bar is not None:
            found[bar].append(took_ms)
    middles = {bar: median(each) for bar, each in found.items() if each}
    highs = {bar: percentile(each, 0.95) for bar, each in found.items() if each}
    everything = [each for some in found.values() for each in some]
    near = max(highs.values(), default=0) >= deadline_ms / 2
    decades = decades_of(max(*highs.values(), deadline_ms if near else 0, 0))
    tops = {bar: min(_depth(high, decades), _depth(middles[bar], decades)) for bar, high in highs.items()}
    marks = [
        Drawing(
            name="up to the 95th percentile",
            style="line",
            tone="calm",
            path="".join(f"M{_centre(bar)} {_depth(middles[bar], decades):g}V{top:g}" for bar, top in tops.items()),
        ),
        Drawing(
            name="median",
            style="dot",
            tone="accent",
            path="".join(f"M{_centre(bar)} {_depth(each, decades):g}h0" for bar, each in middles.items()),
        ),
    ]
    if near:
        line = f"M0 {_depth(deadline_ms, decades):g}H{at.width}"
        marks.append(Drawing(name=f"deadline, {_took(deadline_ms)}", style="dashed", tone="bad", path=line))
    said = ""
    if everything:
        said = f": half within {_took(median(everything))}, 95 % within {_took(percentile(everything, 0.95))}"
    return Chart(
        title=title,
        caption=_caption(at, now_ms, note),
        sentence=f"{counted(len(everything), noun)} in the {_stretch_words(at, now_ms)}{said}."
        f"{f' The deadline is {_took(deadline_ms)}.' if near else ''}",
        width=at.width,
        ticks=[_took(10**each) for each in range(decades, -1, -1)],
        times=_times(at),
        marks=marks,
        heads=["From", f"{noun.capitalize()}s", "Median", "95th percentile"],
        rows=[
            [_moment(at.begin_of(bar), at), f"{len(found[bar]):,}", _took(middles[bar]), _took(highs[bar])]
            for bar in middles
        ],
    )


def decades_of(highest_ms: float) -> int:
    """Powers of ten from 1 ms to the top of a scale that holds `highest_ms`; at least 2, to 100 ms."""
    return next(each for each in range(2, 12) if 10**each >= highest_ms)


def _depth(ms: float, decades: int) -> float:
    """How far below the top of the picture a length stands; all up to 1 ms stand at its foot."""
    return round(HEIGHT * (1 - min(log10(max(ms, 1)) / decades, 1)), 1)


def _centre(bar: int) -> int:
    return bar * SLOT + SLOT // 2


def scale(highest: int) -> int:
    """The round number at the top of a scale from 0: the next 1, 2, 4, 6 or 8 with zeros behind it."""
    power = 1
    while True:
        for step in (1, 2, 4, 6, 8):
            if step * power >= highest:
                return step * power
        power *= 10


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that `share` of them do not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


# Words -------------------------------------------------------------------------------------------------------------


def _caption(at: Stretch, now_ms: int, note: str) -> str:
    return f"{_stretch_words(at, now_ms)}, 1 bar = {_length(at.bar_ms)}{f'; {note}' if note else ''}"


def _stretch_words(at: Stretch, now_ms: int) -> str:
    """`last 12 minutes`, or `12 minutes until 14:05:10` if that is long ago."""
    length = at.bars * at.bar_ms
    size, unit = next(
        ((size, unit) for size, unit in ((_D, "day"), (_H, "hour"), (_MIN, "minute")) if length >= 2 * size),
        (_S, "second"),
    )
    number = length / size
    words = counted(round(number), unit) if number >= 2 else f"{number:.1f} {unit}s"
    if at.to_now:
        return f"last {words}"
    end = hms(at.end_ms) if at.bar_ms < _D else day(at.end_ms)
    return f"{words} until {end if at.bar_ms >= _D or at.end_ms // _D == now_ms // _D else f'{day(at.end_ms)} {end}'}"


def _length(ms: int) -> str:
    """`20 s`: the width of a bar, which is a round number of some unit."""
    size, unit = next(
        (size, unit) for size, unit in ((_D, "d"), (_H, "h"), (_MIN, "min"), (_S, "s"), (1, "ms")) if ms >= size
    )
    return f"{ms // size} {unit}"


def _took(ms: float) -> str:
    return f"{ms / 1000:.3g} s" if ms >= 1000 else f"{ms:.3g} ms"


def _times(at: Stretch) -> Sequence[str]:
    return [_moment(each, at) for each in (at.first_ms, at.begin_of(at.bars // 2), at.end_ms)]


def _moment(at_ms: int, at: Stretch) -> str:
    """As exact as the chart's bars are."""
    if at.bar_ms >= _D:
        return day(at_ms)
    if at.end_ms - at.first_ms >= _D:
        return f"{day(at_ms)[:-5]} {hm(at_ms)}"
    if at.bar_ms >= _MIN:
        return hm(at_ms)
    return hms(at_ms) if at.bar_ms >= _S else f"{hms(at_ms)}.{at_ms % _S // 10:02d}"
