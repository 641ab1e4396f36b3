"""Scenarios and their runs, as they are written and found: what is kept, what is dropped, and whose it is."""

from dataclasses import replace
from typing import Any

import pytest

from sandbox.model import Drop, FaultEffect, FaultOn, Handset, HandsetState, Msisdn, RunState, Shortcode, TimerKind
from sandbox.rules.matching import Difference
from sandbox.scenario.steps import ChangeHandset, Cursor, MakeFault, Miss
from sandbox.store import messages, outbox, scenarios
from sandbox.store.database import Tx
from sandbox.store.scenarios import FREE_NUMBERS, Missed, OwnScenario, Playing, Run

ADA, BEN = Msisdn("2348020000000"), Msisdn("2347030000000")

OWN = OwnScenario(account="default", name="survey", source="scenario: survey\n", changed_ms=1_704_239_437_000)
RUN = Run(
    seq=1,
    account="default",
    scenario="survey",
    source="scenario: survey\nsteps: []\n",
    steps=3,
    msisdn=ADA,
    started_ms=1_704_239_437_000,
)
ENDED = sorted(set(RunState) - {RunState.RUNNING})


def begin(tx: Tx, seq: int, **given: Any) -> Run:
    run = replace(RUN, seq=seq, **given)
    scenarios.insert(tx, run)
    return run


def whole(tx: Tx, run: Run) -> Run:
    found = scenarios.get_whole(tx, run.seq)
    assert found is not None
    return found


# Scenarios ---------------------------------------------------------------------------------------------------------


def test_a_scenario_is_read_as_it_was_written(tx: Tx) -> None:
    scenarios.put(tx, OWN)
    assert scenarios.get_own(tx, "default", "survey") == OWN


def test_a_scenario_replaces_the_one_of_its_name(tx: Tx) -> None:
    changed = replace(OWN, source="scenario: survey\nsteps: []\n", changed_ms=OWN.changed_ms + 1)
    scenarios.put(tx, OWN)
    scenarios.put(tx, changed)
    assert scenarios.own(tx, "default") == [changed]


def test_scenarios_come_by_name(tx: Tx) -> None:
    for name in ("c", "a", "b"):
        scenarios.put(tx, replace(OWN, name=name))
    assert [each.name for each in scenarios.own(tx, "default")] == ["a", "b", "c"]


def test_a_scenario_belongs_to_its_account(tx: Tx) -> None:
    scenarios.put(tx, OWN)
    assert (scenarios.get_own(tx, "other", "survey"), scenarios.own(tx, "other")) == (None, [])


def test_removing_says_whether_there_was_one(tx: Tx) -> None:
    scenarios.put(tx, OWN)
    assert [scenarios.remove(tx, "default", "survey") for _ in range(2)] == [True, False]


# Runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("msisdn", [ADA, None])
def test_a_run_is_read_as_it_was_written(tx: Tx, msisdn: Msisdn | None) -> None:
    run = begin(tx, 5, msisdn=msisdn)
    assert scenarios.get(tx, 5) == run


def test_a_run_that_ended_says_when_how_and_why(tx: Tx) -> None:
    run = begin(tx, 5)
    scenarios.end(tx, run, RunState.FAILED, "Step 1 expected a message.", 1_704_239_438_000, listening=False)
    assert scenarios.get(tx, 5) == replace(
        run, state=RunState.FAILED, listening=False, reason="Step 1 expected a message.", ended_ms=1_704_239_438_000
    )


@pytest.mark.parametrize("state", ENDED)
def test_a_run_that_ended_listens_no_more(tx: Tx, state: RunState) -> None:
    run, other = begin(tx, 5), begin(tx, 6)
    scenarios.end(tx, run, state, "", 0, listening=False)
    assert scenarios.listening(tx) == [other]


def test_a_run_that_ended_listens_on_if_its_rules_do(tx: Tx) -> None:
    scenarios.end(tx, begin(tx, 5), RunState.FINISHED, "", 0, listening=True)
    assert [(run.seq, run.state) for run in scenarios.listening(tx)] == [(5, RunState.FINISHED)]


def test_running_runs_come_oldest_first_of_one_account_or_of_all(tx: Tx) -> None:
    for seq, account in ((5, "default"), (3, "other"), (4, "default")):
        begin(tx, seq, account=account)
    assert [run.seq for run in scenarios.listening(tx, "default")] == [4, 5]
    assert [run.seq for run in scenarios.listening(tx)] == [3, 4, 5]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param({}, [9, 7, 6], id="all of the account, newest first"),
        pytest.param({"scenario": "survey"}, [9, 6], id="of a scenario"),
        pytest.param({"state": "stopped"}, [7], id="in a state"),
        pytest.param({"before": 9}, [7, 6], id="from a cursor on"),
        pytest.param({"limit": 1}, [9], id="so many"),
        pytest.param({"scenario": "survey", "state": "stopped"}, [], id="all of it has to fit"),
    ],
)
def test_a_page_of_runs(tx: Tx, wanted: dict[str, Any], found: list[int]) -> None:
    begin(tx, 6)
    scenarios.end(tx, begin(tx, 7, scenario="persona"), RunState.STOPPED, "", 0, listening=False)
    begin(tx, 8, account="other")
    begin(tx, 9)
    assert [run.seq for run in scenarios.page(tx, account="default", **wanted)] == found


def test_of_the_runs_that_ended_the_newest_are_kept(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "ENDED_KEPT", 2)
    going_on, elsewhere = begin(tx, 1), begin(tx, 2, account="other")
    scenarios.end(tx, elsewhere, RunState.STOPPED, "", 0, listening=False)
    for seq in range(3, 7):
        run = begin(tx, seq)
        scenarios.put_cursor(tx, run, ADA, Cursor(), moved=seq)
        scenarios.insert_miss(tx, run, seq, Missed(seq, Miss(about="step 1", differences=())))
        scenarios.end(tx, run, RunState.FINISHED, "", 0, listening=False)
    begin(tx, 7)
    assert [run.seq for run in scenarios.page(tx, account="default")] == [7, 6, 5, going_on.seq]
    assert scenarios.get(tx, elsewhere.seq) is not None
    left = [tx.execute(f"SELECT run_seq FROM {table}").fetchall() for table in ("run_cursors", "run_misses")]
    assert left == [[(5,), (6,)]] * 2


def test_a_bound_run_takes_what_it_knows_to_its_handset(tx: Tx) -> None:
    run = begin(tx, 5, msisdn=None)
    scenarios.put_cursor(tx, run, None, Cursor(step=1), moved=5)
    bound = scenarios.bind(tx, run, ADA)
    assert whole(tx, run) == replace(bound, cursors=(Playing(ADA, Cursor(step=1)),))
    assert bound.msisdn == ADA


def test_forgetting_takes_the_runs_of_one_account_and_leaves_scenarios(tx: Tx) -> None:
    scenarios.put(tx, OWN)
    for seq, account in ((5, "default"), (6, "other")):
        run = begin(tx, seq, account=account)
        scenarios.put_cursor(tx, run, ADA, Cursor(), moved=seq)
        scenarios.insert_miss(tx, run, seq, Missed(1, Miss(about="step 1", differences=())))
    scenarios.delete_runs(tx, "default")
    left = [tx.execute(f"SELECT {column} FROM {table}").fetchall() for table, column in TABLES]
    assert left == [[(6,)]] * 3
    assert scenarios.own(tx, "default") == [OWN]


def test_forgetting_takes_all_runs(tx: Tx) -> None:
    for seq, account in ((5, "default"), (6, "other")):
        scenarios.put_cursor(tx, begin(tx, seq, account=account), ADA, Cursor(), moved=seq)
    scenarios.delete_runs(tx, None)
    assert [tx.execute(f"SELECT {column} FROM {table}").fetchall() for table, column in TABLES] == [[]] * 3


TABLES = (("runs", "seq"), ("run_cursors", "run_seq"), ("run_misses", "run_seq"))


def test_the_scenarios_of_an_account_that_goes_go_with_it(tx: Tx) -> None:
    theirs = replace(OWN, account="other")
    scenarios.put(tx, OWN)
    scenarios.put(tx, theirs)
    scenarios.delete_own(tx, "default")
    assert (scenarios.own(tx, "default"), scenarios.own(tx, "other")) == ([], [theirs])


# A number that nobody has used -------------------------------------------------------------------------------------

FIRST, SECOND = Msisdn(str(FREE_NUMBERS[0])), Msisdn(str(FREE_NUMBERS[1]))


def seen_as_handset(tx: Tx, account: str) -> None:
    messages.put_handset(tx, Handset(account=account, msisdn=FIRST, telco="mtn"))


def seen_in_a_conversation(tx: Tx, account: str) -> None:
    messages.touch_mo(tx, account=account, msisdn=FIRST, shortcode="48974", seq=1)


def seen_in_a_run(tx: Tx, account: str) -> None:
    begin(tx, 5, account=account, msisdn=FIRST)


@pytest.mark.parametrize("see", [seen_as_handset, seen_in_a_conversation, seen_in_a_run])
def test_a_number_that_the_account_has_seen_is_not_free(tx: Tx, see: Any) -> None:
    see(tx, "default")
    assert scenarios.unseen_number(tx, "default") == SECOND


@pytest.mark.parametrize("see", [seen_as_handset, seen_in_a_conversation, seen_in_a_run])
def test_a_number_that_another_account_has_seen_is_free(tx: Tx, see: Any) -> None:
    see(tx, "other")
    assert scenarios.unseen_number(tx, "default") == FIRST


def test_free_numbers_begin_where_the_documentation_says(tx: Tx) -> None:
    assert FIRST == "2348030000000"


# Cursors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param(Cursor(), id="at the start"),
        pytest.param(
            Cursor(
                state=RunState.FAILED,
                step=2,
                named_state="asked",
                saved={"film": "₦ “quoted” \\ \n\x00 😀"},
                session_id="67543uhn3",
                shortcode=Shortcode("48974"),
                reason="Step 3 expected a message.",
            ),
            id="with everything",
        ),
    ],
)
def test_a_cursor_is_read_as_it_was_written(tx: Tx, cursor: Cursor) -> None:
    run = begin(tx, 5)
    scenarios.put_cursor(tx, run, ADA, Cursor(), moved=5)
    scenarios.put_cursor(tx, run, ADA, cursor, moved=6)
    assert scenarios.cursor(tx, run, ADA) == cursor
    assert whole(tx, run).cursors == ((ADA, cursor),)


def test_a_handset_has_a_cursor_of_its_own(tx: Tx) -> None:
    run = begin(tx, 5, msisdn=None)
    scenarios.put_cursor(tx, run, ADA, Cursor(named_state="asked"), moved=5)
    assert scenarios.cursor(tx, run, BEN) is None


def test_a_run_without_a_handset_has_a_cursor(tx: Tx) -> None:
    run = begin(tx, 5, msisdn=None)
    scenarios.put_cursor(tx, run, None, Cursor(step=1), moved=5)
    assert scenarios.cursor(tx, run, None) == Cursor(step=1)
    assert whole(tx, run).cursors == ((None, Cursor(step=1)),)


def test_the_cursor_that_moved_last_is_shown_first(tx: Tx) -> None:
    run = begin(tx, 5, msisdn=None)
    for moved, msisdn in ((6, ADA), (7, BEN), (8, ADA)):
        scenarios.put_cursor(tx, run, msisdn, Cursor(), moved=moved)
    assert [msisdn for msisdn, _ in whole(tx, run).cursors] == [ADA, BEN]


def test_of_very_many_handsets_those_that_moved_last_are_kept(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "CURSORS_KEPT", 10)
    run, other = begin(tx, 5, msisdn=None), begin(tx, 6, msisdn=None)
    scenarios.put_cursor(tx, other, ADA, Cursor(), moved=1)
    for moved in range(1, 3 * 127 + 1):
        scenarios.put_cursor(tx, run, Msisdn(str(FREE_NUMBERS[moved])), Cursor(), moved=moved)
    kept = [FREE_NUMBERS.index(int(msisdn or 0)) for msisdn, _ in whole(tx, run).cursors]
    assert kept == list(range(3 * 127, 3 * 127 - 10, -1))
    assert scenarios.cursor(tx, other, ADA) is not None


# Misses ------------------------------------------------------------------------------------------------------------


def missed(message_seq: int) -> Missed:
    difference = Difference("text", "*cinema?*", "₦ “theatre” \x00\n")
    return Missed(message_seq, Miss(about="step 1", differences=(difference,)))


def test_misses_are_read_as_they_were_written_newest_first(tx: Tx) -> None:
    run = begin(tx, 5)
    for seq in (10, 12):
        scenarios.insert_miss(tx, run, seq, missed(seq - 1))
    assert whole(tx, run).misses == (missed(11), missed(9))


def test_of_the_misses_of_a_run_the_newest_are_kept(tx: Tx) -> None:
    run, other = begin(tx, 5), begin(tx, 6)
    scenarios.insert_miss(tx, other, 7, missed(7))
    for seq in range(10, 70):
        scenarios.insert_miss(tx, run, seq, missed(seq))
    assert [each.message_seq for each in whole(tx, run).misses] == list(range(69, 19, -1))
    assert whole(tx, other).misses == (missed(7),)


# What is planned ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        ChangeHandset(state=HandsetState.OFF),
        ChangeHandset(telco="glo"),
        MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503, body="₦", delay_s=0.5)),
        MakeFault(
            on=FaultOn.WEBHOOK,
            effect=FaultEffect(drop=Drop.ACCEPTED),
            times=None,
            match={"text": "*a*", "segments": 1, "ignore_case": True},
        ),
        MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(hold=True), times=3),
    ],
)
@pytest.mark.parametrize("msisdn", [ADA, None])
def test_what_is_planned_is_read_as_it_was_written(
    tx: Tx, msisdn: Msisdn | None, what: MakeFault | ChangeHandset
) -> None:
    run = begin(tx, 5)
    scenarios.set_later(tx, run, msisdn, what, due_ms=7)
    [timer] = outbox.timers(tx)
    assert scenarios.later_of(timer) == (msisdn, what)
    assert (timer.due_ms, timer.kind, timer.account, timer.subject) == (7, TimerKind.LATER, "default", run.seq)


def test_what_is_planned_is_dropped_by_kind_and_run(tx: Tx) -> None:
    run, other = begin(tx, 5), begin(tx, 6)
    for each in (run, other):
        scenarios.set_window(tx, each, 1, due_ms=7)
        scenarios.set_later(tx, each, ADA, ChangeHandset(telco="glo"), due_ms=7)
    scenarios.drop_planned(tx, run, TimerKind.WINDOW)
    assert [(timer.subject, timer.kind) for timer in outbox.timers(tx)] == [
        (run.seq, TimerKind.LATER),
        (other.seq, TimerKind.WINDOW),
        (other.seq, TimerKind.LATER),
    ]
