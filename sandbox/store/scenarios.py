"""Scenarios that accounts wrote, and the runs in which scenarios are played: all SQL about them.

Functions run inside `database.write` (they take a Tx) or `database.read` (they take Queries). What a run does next is
decided in scenario/engine.py and carried out by core/scenario_runner.py; here it is only written down.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from sandbox.model import Msisdn, RunState, Timer, TimerKind
from sandbox.rules.matching import Difference
from sandbox.scenario.steps import ChangeHandset, Cursor, MakeFault, Miss
from sandbox.store import outbox
from sandbox.store.database import Queries, Tx
from sandbox.store.rows import Table, decoded, from_json, to_json

MISSES_KEPT = 50  # of a run, the newest
CURSORS_KEPT = 10_000  # of a run, those that moved last: a persona has one for each handset
CURSORS_SHOWN = 100  # of a run, those that moved last
ENDED_KEPT = 100  # runs of an account, the newest
_PRUNE_EVERY = 127  # numbers; a prime, so that no regular pattern of entries steps over it for ever

FREE_NUMBERS = range(2348030000000, 2348040000000)
"""From where a script gets a handset that has to text first and that nobody named: the lowest number that its account
has not seen [S]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnScenario:
    """A scenario of an account's own, as somebody wrote it."""

    account: str
    name: str
    source: str
    changed_ms: int


class Playing(NamedTuple):
    """Where a run stands for one handset; None: it has no handset yet."""

    msisdn: Msisdn | None
    cursor: Cursor


class Missed(NamedTuple):
    """A message that a run did not know what to do with."""

    message_seq: int
    miss: Miss


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A scenario that is or was played. One with steps is a script, and plays one handset; one without is a persona."""

    seq: int
    account: str
    scenario: str
    source: str
    steps: int
    msisdn: Msisdn | None  # None: a persona that plays every handset, or a script that has none yet
    started_ms: int
    ended_ms: int | None = None
    state: RunState = RunState.RUNNING
    listening: bool = True  # messages are offered to it: it runs, or it has ended and goes on with its rules
    reason: str = ""  # of a failure, in words
    cursors: tuple[Playing, ...] = ()  # those that moved last, the latest first
    misses: tuple[Missed, ...] = ()  # the newest first

    @property
    def id(self) -> str:
        return f"s{self.seq}"

    @property
    def is_script(self) -> bool:
        return self.steps > 0


SCENARIOS = Table("scenarios", OwnScenario, key=("account", "name"))
RUNS = Table("runs", Run, elsewhere=("cursors", "misses"))


# Scenarios ---------------------------------------------------------------------------------------------------------


def put(tx: Tx, scenario: OwnScenario) -> None:
    """Write a scenario down, in place of the account's one of that name if there is one."""
    SCENARIOS.put(tx, scenario)


def remove(tx: Tx, account: str, name: str) -> bool:
    """Remove a scenario of the account's own; False if there was none of that name. Its runs go on."""
    gone = tx.execute(
        "DELETE FROM scenarios WHERE account = :account AND name = :name", {"account": account, "name": name}
    )
    return gone.rowcount > 0


def own(db: Queries, account: str) -> Sequence[OwnScenario]:
    """The scenarios of the account's own, by name."""
    return SCENARIOS.all(db, "WHERE account = :account ORDER BY name", account=account)


def get_own(db: Queries, account: str, name: str) -> OwnScenario | None:
    return SCENARIOS.get(db, account, name)


# Runs --------------------------------------------------------------------------------------------------------------


def insert(tx: Tx, run: Run) -> None:
    """Write a run down that begins; of the account's runs that have ended, only the newest are kept."""
    RUNS.insert(tx, run)
    old = tx.execute(
        "SELECT seq FROM runs WHERE account = :account AND listening = 0 ORDER BY seq DESC LIMIT -1 OFFSET :kept",
        {"account": run.account, "kept": ENDED_KEPT},
    ).fetchall()
    for (seq,) in old:
        for statement in (
            "DELETE FROM run_cursors WHERE run_seq = :seq",
            "DELETE FROM run_misses WHERE run_seq = :seq",
            "DELETE FROM runs WHERE seq = :seq",
        ):
            tx.execute(statement, {"seq": seq})


def bind(tx: Tx, run: Run, msisdn: Msisdn) -> Run:
    """The script has found its handset, and what it knows so far belongs to that one."""
    scope = {"run": run.seq, "msisdn": msisdn}
    tx.execute("UPDATE runs SET msisdn = :msisdn WHERE seq = :run", scope)
    tx.execute("UPDATE run_cursors SET msisdn = :msisdn WHERE run_seq = :run AND msisdn = ''", scope)
    return replace(run, msisdn=msisdn)


def end(tx: Tx, run: Run, state: RunState, reason: str, at_ms: int, *, listening: bool) -> None:
    """The run has ended; `listening`: its rules go on."""
    RUNS.update(tx, run.seq, state=state, listening=listening, reason=reason, ended_ms=at_ms)


def get(db: Queries, seq: int) -> Run | None:
    """A run without its cursors and misses."""
    return RUNS.get(db, seq)


def get_whole(db: Queries, seq: int) -> Run | None:
    """A run with the cursors that moved last and the newest misses."""
    run = get(db, seq)
    return None if run is None else _whole(db, run)


def page(
    db: Queries,
    *,
    account: str,
    scenario: str | None = None,
    state: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[Run]:
    """Runs of an account that match everything given, newest first, each whole as far as it is shown."""
    only = {"scenario": scenario, "state": state}
    found = RUNS.page(db, "account = :account", account=account, only=only, before=before, limit=limit)
    return [_whole(db, run) for run in found]


def latest_of(db: Queries, account: str, msisdn: Msisdn) -> Run | None:
    """The latest run that plays, or played, this one handset, whole."""
    where = "WHERE account = :account AND msisdn = :msisdn ORDER BY seq DESC LIMIT 1"
    run = RUNS.first(db, where, account=account, msisdn=msisdn)
    return None if run is None else _whole(db, run)


def listening(db: Queries, account: str | None = None) -> Sequence[Run]:
    """The runs of an account, or of all, that messages are offered to, oldest first, without cursors and misses."""
    mine = "" if account is None else "account = :account AND "
    return RUNS.all(db, f"WHERE {mine}listening = 1 ORDER BY seq", account=account)


def _whole(db: Queries, run: Run) -> Run:
    cursors = db.execute(
        "SELECT msisdn, cursor FROM run_cursors WHERE run_seq = :run ORDER BY moved DESC LIMIT :most",
        {"run": run.seq, "most": CURSORS_SHOWN},
    )
    misses = db.execute(
        "SELECT message_seq, about, differences FROM run_misses WHERE run_seq = :run ORDER BY seq DESC",
        {"run": run.seq},
    )
    return replace(
        run,
        cursors=tuple(Playing(Msisdn(row[0]) if row[0] else None, from_json(Cursor, row[1])) for row in cursors),
        misses=tuple(
            Missed(row[0], Miss(about=row[1], differences=from_json(tuple[Difference, ...], row[2]))) for row in misses
        ),
    )


def unseen_number(db: Queries, account: str) -> Msisdn:
    """The lowest of FREE_NUMBERS that the account has not seen."""
    scope: Mapping[str, str | int] = {
        "account": account,
        "first": str(FREE_NUMBERS[0]),
        "last": str(FREE_NUMBERS[-1]),
    }
    seen = {
        row[0]
        for row in db.execute(
            " UNION ".join(
                f"SELECT msisdn FROM {table} WHERE account = :account AND msisdn BETWEEN :first AND :last"
                for table in ("handsets", "conversations", "runs")
            ),
            scope,
        )
    }
    return Msisdn(next(str(number) for number in FREE_NUMBERS if str(number) not in seen))


def delete_runs(tx: Tx, account: str | None) -> None:
    """Remove the runs of an account, or of all. Scenarios stay: somebody wrote them, nobody recorded them."""
    mine = "" if account is None else " WHERE account = :account"
    scope = {"account": account}
    for table in ("run_cursors", "run_misses"):
        tx.execute(f"DELETE FROM {table} WHERE run_seq IN (SELECT seq FROM runs{mine})", scope)
    tx.execute(f"DELETE FROM runs{mine}", scope)


def delete_own(tx: Tx, account: str) -> None:
    """Remove the scenarios that an account wrote."""
    tx.execute("DELETE FROM scenarios WHERE account = :account", {"account": account})


# Cursors and misses ------------------------------------------------------------------------------------------------


def cursor(db: Queries, run: Run, msisdn: Msisdn | None) -> Cursor | None:
    """Where a run stands for a handset; None if it has none for it yet."""
    row = db.execute(
        "SELECT cursor FROM run_cursors WHERE run_seq = :run AND msisdn = :msisdn",
        {"run": run.seq, "msisdn": msisdn or ""},
    ).fetchone()
    return from_json(Cursor, row[0]) if row else None


def put_cursor(tx: Tx, run: Run, msisdn: Msisdn | None, cursor: Cursor, *, moved: int) -> None:
    """A run stands here for a handset since the entry `moved`. Of very many handsets, those that moved last stay."""
    tx.execute(
        "INSERT INTO run_cursors (run_seq, msisdn, moved, cursor) VALUES (:run, :msisdn, :moved, :cursor) "
        "ON CONFLICT (run_seq, msisdn) DO UPDATE SET moved = excluded.moved, cursor = excluded.cursor",
        {
            "run": run.seq,
            "msisdn": msisdn or "",
            "moved": moved,
            "cursor": to_json(cursor),
        },
    )
    if moved % _PRUNE_EVERY == 0:
        tx.execute(
            "DELETE FROM run_cursors WHERE run_seq = :run AND moved <= (SELECT moved FROM run_cursors "
            "WHERE run_seq = :run ORDER BY moved DESC LIMIT 1 OFFSET :kept)",
            {"run": run.seq, "kept": CURSORS_KEPT},
        )


def insert_miss(tx: Tx, run: Run, seq: int, missed: Missed) -> None:
    """Write down under the number `seq` what a message was not; of a run's misses the newest are kept."""
    tx.execute(
        "INSERT INTO run_misses (seq, run_seq, message_seq, about, differences) "
        "VALUES (:seq, :run, :message, :about, :differences)",
        {
            "seq": seq,
            "run": run.seq,
            "message": missed.message_seq,
            "about": missed.miss.about,
            "differences": to_json(missed.miss.differences),
        },
    )
    tx.execute(
        "DELETE FROM run_misses WHERE run_seq = :run AND seq <= (SELECT seq FROM run_misses WHERE run_seq = :run "
        "ORDER BY seq DESC LIMIT 1 OFFSET :kept)",
        {"run": run.seq, "kept": MISSES_KEPT},
    )


# What is planned ---------------------------------------------------------------------------------------------------


def set_window(tx: Tx, run: Run, step: int, *, due_ms: int) -> None:
    """Plan the end of the time that a step has; the timer's data is the step's index."""
    _set_timer(tx, run, TimerKind.WINDOW, str(step), due_ms)


def set_later(tx: Tx, run: Run, msisdn: Msisdn | None, what: MakeFault | ChangeHandset, *, due_ms: int) -> None:
    """Plan a fault, or a change of the handset."""
    data = {"msisdn": msisdn, "kind": type(what).__name__, **asdict(what)}
    _set_timer(tx, run, TimerKind.LATER, to_json(data), due_ms)


def later_of(timer: Timer) -> tuple[Msisdn | None, MakeFault | ChangeHandset]:
    """The handset and what is planned for it, of a timer of `set_later`."""
    values: dict[str, Any] = json.loads(timer.data)
    msisdn, kind = values.pop("msisdn"), values.pop("kind")
    noun = ChangeHandset if kind == ChangeHandset.__name__ else MakeFault
    return msisdn, noun(**decoded(noun, values))


def drop_planned(tx: Tx, run: Run, *kinds: TimerKind) -> None:
    """What was planned for the run does not happen."""
    for kind in kinds:
        outbox.drop_timers(tx, run.seq, kind)


def _set_timer(tx: Tx, run: Run, kind: TimerKind, data: str, due_ms: int) -> None:
    queue, account = outbox.NETWORK_QUEUE, run.account
    outbox.set_timer(tx, Timer(due_ms=due_ms, kind=kind, queue=queue, account=account, subject=run.seq, data=data))
