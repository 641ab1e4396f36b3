"""What a call costs does not depend on how much is recorded: its work is counted, and in the long form also timed.

Work is what SQLite's machine does (steps), on every connection of a real server; that of the pages is counted in
tests/pages/test_page_budget.py.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest

from sandbox.api import messages as control_messages
from sandbox.clock import Clock
from sandbox.core import waits
from sandbox.store import messages, newest
from tests.conftest import Bench
from tests.faulty import first_of
from tests.plenty import SHORTCODE, TALKER, Plenty, Steps, fill

FEW = 1_000
BOUND = 300  # rows that one call goes through here, so that it is reached with few as well
BOUNDS = (
    (control_messages, "LOOKED_AT"),
    (waits, "MOST"),
    (messages, "UNREAD"),
    (newest, "_OPEN_COUNTED"),
)
GROWTH = 1.5  # of steps and of times, from few messages to many
SLACK = 500  # steps: a few more levels in a tree
TIMED = 9

Call = Callable[[Bench, Plenty], Any]


def listed(path: str, **query: Any) -> Call:
    """A list of the control API; a value may depend on what there is."""

    def call(bench: Bench, there: Plenty) -> Any:
        asked = {name: value(there) if callable(value) else value for name, value in query.items()}
        return bench.get(path, **asked)

    return call


def page(path: Callable[[Plenty], str]) -> Call:
    def call(bench: Bench, there: Plenty) -> Any:
        answer = bench.sandbox.request("GET", path(there))
        assert answer.status_code == 200
        return answer

    return call


CALLS: Mapping[str, Call] = {
    "the newest page": listed("/messages"),
    "an older page": listed("/messages", next=lambda there: str(there.middle)),
    "the page of conversations": page(lambda there: "/"),
    "the page of a long conversation": page(lambda there: f"/c/{SHORTCODE}/{TALKER}"),
    "the page of a short conversation": page(lambda there: f"/c/{SHORTCODE}/{there.quiet}"),
    "a transcript": page(lambda there: f"/_sandbox/v1/conversations/{there.quiet}/transcript"),
    "what a handset got": listed("/messages", to=TALKER),
    "what a shortcode got": listed("/messages", to=SHORTCODE),
    "a search by handset in vain": listed("/messages", to="2349999999999"),
    "a search by text": listed("/messages", text="*code is*"),
    "a search by text in vain": listed("/messages", text="*nothing like it*"),
    "a search by pattern": listed("/messages", pattern="code is"),
    "a search by pattern in vain": listed("/messages", pattern="nothing like it"),
    "a search by session in vain": listed("/messages", session_id="never"),
    "a wait for the next": lambda bench, there: bench.get("/messages/wait", after=10**12, timeout=0),
    "a wait in vain": lambda bench, there: bench.get("/messages/wait", text="never", timeout=0),
    "requests": listed("/requests"),
    "refused requests": listed("/requests", verdict="refused"),
    "webhook deliveries": listed("/webhook-deliveries"),
    "handsets": listed("/handsets"),
    "sendsms": lambda bench, there: bench.sent(),
    "a refusal": lambda bench, there: bench.submit(to=None),
    "a handset": lambda bench, there: bench.call("PATCH", f"/handsets/{there.quiet}", {"label": "Ada"}),
}


class StepsOfCalls(Steps):
    """The steps that calls of the control API take."""

    def of(self, bench: Bench, call: Call, there: Plenty) -> int:
        """The fewest steps that a call took of three: now and then one trims or takes what is due."""
        counts = []
        for _ in range(3):
            before = self.count
            call(bench, there)
            counts.append(self.count - before)
        return min(counts)


def times_ms(bench: Bench, there: Plenty) -> dict[str, float]:
    def one(call: Call) -> float:
        begun = perf_counter()
        call(bench, there)
        return (perf_counter() - begun) * 1000

    return {name: median(one(call) for _ in range(TIMED)) for name, call in CALLS.items()}


@pytest.mark.proof("T11")
def test_no_call_takes_longer_for_all_that_is_recorded(
    serving: Callable[..., Any],
    sized: Callable[[int, int], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    for module, bound in BOUNDS:
        monkeypatch.setattr(module, bound, BOUND)
    steps = StepsOfCalls(monkeypatch)
    many = sized(50_000, 1_000_000)
    work: dict[int, dict[str, int]] = {}
    took_ms: dict[int, dict[str, float]] = {}
    for size in (FEW, many):
        path = tmp_path / f"{size}.db"
        there = fill(path, size, Clock.system().now_ms())
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("DELETE FROM handsets")  # which people set up by hand: they do not come with the messages
        with serving(db=str(path), max_messages=10 * many, max_age_s=10**9) as running:
            bench = first_of(running)
            bench.get("/messages", pattern="what is imported at first use")
            work[size] = {name: steps.of(bench, call, there) for name, call in CALLS.items()}
            if sized(0, 1):
                took_ms[size] = times_ms(bench, there)
    grown = {name: (work[FEW][name], work[many][name]) for name in CALLS}
    worst = max(after / max(before, SLACK) for before, after in grown.values())
    told = f"{len(CALLS)} kinds of calls at {many:,} messages take at most {worst:.2f} of the steps at {FEW:,}"
    for name in list(CALLS)[:6] if took_ms else ():
        told += f"; {name} {took_ms[many][name]:.1f} ms, was {took_ms[FEW][name]:.1f}"
    record_property("figure", told)
    assert {name: steps for name, steps in grown.items() if steps[1] > GROWTH * steps[0] + SLACK} == {}
