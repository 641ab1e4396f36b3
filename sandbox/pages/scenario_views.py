"""View models of the scenario pages: sources as read, and the state of runs step by step.

`gather` runs inside `database.read` and reads rows only. Reading sources takes longer than a database can wait, and is
done by the other functions.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sandbox.model import Message, Msisdn, RunState, Timer, TimerKind
from sandbox.pages import scenario_formatting
from sandbox.pages.formatting import Status
from sandbox.pages.scenario_formatting import Line
from sandbox.scenario import catalogue
from sandbox.scenario.steps import Scenario, Send, Step
from sandbox.store import messages, outbox, scenarios
from sandbox.store.database import Queries
from sandbox.store.scenarios import Missed, Playing, Run

if TYPE_CHECKING:
    from sandbox.scenario.script import SourceError

RUNS = 10
STEPS = 30  # of a run, around the one that has its turn
MISSES = 5  # of a run, the newest
CURSORS = 20  # of a persona, those that moved last
LINES = 2_000  # of a source
_TIMERS = 200  # among which a run's own are looked for


def known(db: Queries, account: str) -> Mapping[str, tuple[str, bool]]:
    """The scenarios that the account can play: name -> source, and whether it is the account's own; an own one stands
    in place of a built-in one."""
    built_in = {name: (source, False) for name, source in catalogue.built_in().items()}
    return built_in | {each.name: (each.source, True) for each in scenarios.own(db, account)}


# All scenarios -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A scenario in the list. One whose source can no longer be read has no description, steps and rules."""

    name: str
    own: bool
    replaces: bool  # whether it stands in place of a built-in one
    scenario: Scenario | None
    running: int


def listed(sources: Mapping[str, tuple[str, bool]], running: Sequence[Run]) -> Sequence[Listed]:
    """The account's own first, each kind by name."""
    counts = Counter(run.scenario for run in running)
    return [
        Listed(
            name=name,
            own=own,
            replaces=own and name in catalogue.built_in(),
            scenario=found if isinstance(found := catalogue.read(source), Scenario) else None,
            running=counts[name],
        )
        for name, (source, own) in sorted(sources.items(), key=lambda each: (not each[1][1], each[0]))
    ]


# One scenario ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRows:
    """The rows of a scenario's page: its source (None if there is no such scenario any more), and its runs."""

    source: str | None
    own: bool
    runs: Sequence[Run]
    timers: Mapping[int, Sequence[Timer]]  # by run: what it has planned
    messages: Mapping[int, Message]  # that runs did not know what to do with, as far as they are shown


def gather(db: Queries, account: str, name: str, before: int | None) -> RunRows:
    source, own = known(db, account).get(name, (None, False))
    runs = scenarios.page(db, account=account, scenario=name, before=before, limit=RUNS)
    due = outbox.timers(db, limit=_TIMERS) if any(run.listening for run in runs) else ()
    numbers = {each.message_seq for run in runs for each in run.misses[:MISSES]}
    return RunRows(
        source=source,
        own=own,
        runs=runs,
        timers={run.seq: [each for each in due if _is_of(each, run)] for run in runs},
        messages={seq: message for seq in numbers if (message := messages.get(db, seq)) is not None},
    )


def _is_of(timer: Timer, run: Run) -> bool:
    return timer.subject == run.seq and timer.kind in (TimerKind.ORIGINATE, TimerKind.WINDOW, TimerKind.LATER)


At = Literal["done", "planned", "turn", "failed", "ahead"]
"""`planned`: the run has gone on, but a text of the step has not left the handset yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A step of a run, with its number, words and state."""

    number: int
    line: Line
    at: At


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    due_ms: int
    words: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissView:
    missed: Missed
    message: Message | None  # None: it is no longer kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A run with its steps in words, as many as are shown around its cursor."""

    run: Run
    status: Status
    places: Sequence[Place]
    skipped: int  # steps before the first that is shown
    following: int  # steps after the last that is shown
    cursors: Sequence[Playing]  # of a persona
    more_cursors: int
    planned: Sequence[Planned]
    misses: Sequence[MissView]
    more_misses: int

    @property
    def saved(self) -> Mapping[str, str]:
        """The values that a script has saved from messages."""
        return self.run.cursors[0].cursor.saved if self.run.is_script and self.run.cursors else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """View model of a scenario's page."""

    name: str
    own: bool
    replaces: bool
    source: str | None
    lines: Sequence[str]
    more_lines: int
    scenario: Scenario | None
    errors: Sequence["Marked"]  # about a source that can no longer be read
    runs: Sequence[Played]
    older: int | None

    @property
    def msisdn(self) -> Msisdn | None:
        """The handset that the scenario names."""
        return None if self.scenario is None else self.scenario.handset.msisdn


def shown(name: str, rows: RunRows) -> Shown:
    found = () if rows.source is None else catalogue.read(rows.source)
    lines = () if rows.source is None else rows.source.removesuffix("\n").split("\n")
    return Shown(
        name=name,
        own=rows.own,
        replaces=rows.own and name in catalogue.built_in(),
        source=rows.source,
        lines=lines[:LINES],
        more_lines=max(0, len(lines) - LINES),
        scenario=found if isinstance(found, Scenario) else None,
        errors=() if isinstance(found, Scenario) or rows.source is None else marked(rows.source, found),
        runs=[_played(run, rows) for run in rows.runs],
        older=rows.runs[-1].seq if len(rows.runs) == RUNS else None,
    )


def _played(run: Run, rows: RunRows) -> Played:
    found = catalogue.read(run.source)
    steps = found.steps if isinstance(found, Scenario) else ()
    here = run.cursors[0].cursor.step if run.is_script and run.cursors else 0
    first = max(0, min(here - STEPS // 3, len(steps) - STEPS))
    timers = rows.timers[run.seq]
    waiting = _waiting(steps[:here], sum(each.kind is TimerKind.ORIGINATE for each in timers))
    return Played(
        run=run,
        status=scenario_formatting.run_status(run),
        places=[
            Place(number=index + 1, line=scenario_formatting.step_line(steps[index]), at=_at(run, index, here, waiting))
            for index in range(first, min(first + STEPS, len(steps)))
        ],
        skipped=first,
        following=max(0, len(steps) - first - STEPS),
        cursors=() if run.is_script else run.cursors[:CURSORS],
        more_cursors=0 if run.is_script else max(0, len(run.cursors) - CURSORS),
        planned=[_planned(each) for each in timers],
        misses=[MissView(missed=each, message=rows.messages.get(each.message_seq)) for each in run.misses[:MISSES]],
        more_misses=max(0, len(run.misses) - MISSES),
    )


def _waiting(passed: Sequence[Step], texts: int) -> Collection[int]:
    """Of the steps that a run has passed, the last ones whose texts are still to be sent, `texts` altogether."""
    waiting = set()
    for index in reversed(range(len(passed))):
        step = passed[index]
        if texts <= 0:
            break
        if isinstance(step, Send):
            waiting.add(index)
            texts -= len(step.texts)
    return waiting


def _at(run: Run, index: int, here: int, waiting: Collection[int]) -> At:
    if index < here:
        return "planned" if index in waiting else "done"
    if index > here or run.state not in (RunState.RUNNING, RunState.FAILED):
        return "ahead"
    return "turn" if run.state is RunState.RUNNING else "failed"


def _planned(timer: Timer) -> Planned:
    if timer.kind is TimerKind.ORIGINATE:
        return Planned(due_ms=timer.due_ms, words="the handset texts", text=outbox.texting_of(timer).text)
    if timer.kind is TimerKind.WINDOW:
        return Planned(due_ms=timer.due_ms, words="the time of the step is over", text=None)
    return Planned(due_ms=timer.due_ms, words="a fault, or a change of the handset", text=None)


# The editor --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """An error with the line that it is about: what stands before the place, at it, and after it."""

    line: int
    column: int
    message: str
    before: str
    here: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """View model of the editor; `was` is the name under which it is kept already, if it is."""

    source: str
    was: str
    errors: Sequence[Marked]


def marked(source: str, errors: Sequence["SourceError"]) -> Sequence[Marked]:
    lines = source.split("\n")
    made = []
    for each in errors:
        text = lines[each.line - 1] if each.line <= len(lines) else ""
        at = each.column - 1
        made.append(
            Marked(
                line=each.line,
                column=each.column,
                message=each.message,
                before=("…" if at > 40 else "") + text[max(0, at - 40) : at],
                here=text[at : at + 1],
                after=text[at + 1 : at + 41] + ("…" if len(text) > at + 41 else ""),
            )
        )
    return made


NEW = """\
scenario: my-scenario
description: What does it find out?
handset: {msisdn: any}
steps:
  - expect: {text: "*", within: 10s}
  - reply: {text: "yes", after: 1s}
  - expect_none: {within: 2s}
"""


def copy_of(name: str, source: str, taken: Mapping[str, object]) -> str:
    """A source to begin with, under a name that nothing has yet."""
    stem = f"my-{name}"[:60]
    free = next(each for each in (stem, *(f"{stem}-{number}" for number in range(2, 1000))) if each not in taken)
    return re.sub(r"(?m)^(scenario:\s*)\S+", lambda found: f"{found[1]}{free}", source, count=1)
