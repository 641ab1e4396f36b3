"""The charts above the lists: the newest calls and attempts, read in bounded time.

Every function runs inside `database.read`, or turns what it read into a chart. See charts.py for how one is drawn.
"""

from collections.abc import Sequence

from sandbox.model import OutcomeKind
from sandbox.pages import charts
from sandbox.pages.charts import Chart, Series
from sandbox.store import newest
from sandbox.store.newest import AttemptPoint, CallPoint

_CALLS = (Series(name="accepted", tone="good"), Series(name="refused", tone="bad", style="striped"))
_ATTEMPTS = (
    Series(name="delivered", tone="good"),
    Series(name="to be retried", tone="warn", style="striped"),
    Series(name="failed", tone="bad", style="hollow"),
)
_TIMED = (OutcomeKind.ANSWERED, OutcomeKind.TIMED_OUT)  # how long the others took says nothing about the application


def _note(points: Sequence[object]) -> str:
    return f"the newest {newest.POINTS:,}" if len(points) == newest.POINTS else ""


def of_calls(found: Sequence[CallPoint], now_ms: int) -> Chart | None:
    """Calls to the gateway over time; None if there are too few for a picture."""
    at = charts.stretch_of((each.at_ms for each in found), now_ms, whole=len(found) < newest.POINTS)
    if at is None:
        return None
    points = ((each.at_ms, 0 if each.accepted else 1) for each in found)
    return charts.stacked(points, _CALLS, title="Calls", noun="call", note=_note(found), at=at, now_ms=now_ms)


def of_attempts(found: Sequence[AttemptPoint], now_ms: int) -> Chart | None:
    """Attempts over time, by what came of them."""
    at = charts.stretch_of((each.started_ms for each in found), now_ms, whole=len(found) < newest.POINTS)
    if at is None:
        return None
    points = ((each.started_ms, _fate(each)) for each in found)
    return charts.stacked(points, _ATTEMPTS, title="Attempts", noun="attempt", note=_note(found), at=at, now_ms=now_ms)


def of_answer_times(found: Sequence[AttemptPoint], now_ms: int, deadline_ms: int) -> Chart | None:
    """Answer times of the application, time-outs included."""
    timed = [each for each in found if each.outcome in _TIMED]
    at = charts.stretch_of((each.started_ms for each in timed), now_ms, whole=len(found) < newest.POINTS)
    if at is None:
        return None
    return charts.spread(
        ((each.started_ms, each.duration_ms) for each in timed),
        title="Answer times",
        noun="answer",
        note=_note(found),
        at=at,
        now_ms=now_ms,
        deadline_ms=deadline_ms,
    )


def _fate(made: AttemptPoint) -> int:
    """The series in _ATTEMPTS to which an attempt belongs."""
    if made.outcome == OutcomeKind.ANSWERED and made.status_code is not None and 200 <= made.status_code < 300:
        return 0
    return 2 if made.last else 1
