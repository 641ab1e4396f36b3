"""What a file holds and an account has already is recognised: nothing comes twice, and nothing is taken for another."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import Conflict, NotFound
from sandbox.model import Account, Attempt, DeliveryState, EventType, Outcome, OutcomeKind, Trigger
from sandbox.store import accounts, journal, messages, outbox, retention
from sandbox.store.database import Tx
from sandbox.transfer import identity, imports, rows
from sandbox.transfer.to_model import UNDER_WAY
from tests.transfer.test_rows import (
    ALL,
    ATTEMPT,
    CALL,
    DELIVERY,
    HANDSET,
    MO,
    MT,
    NOW_MS,
    OWED,
    REFUSAL,
    SCENARIO,
    SOURCE,
    UNROUTED,
    anew,
    exported,
    file_of,
    import_into,
    importing,
    in_json,
    records,
    store,
)
from tests.transfer.test_rows import tx as tx  # the fixture

EVERYTHING = [SCENARIO, *ALL]
SECOND: dict[str, Any] = {**ATTEMPT, "number": 2, "started_at": "2024-01-02T23:51:07.123000Z"}


def texts(tx: Tx, account: str = "default") -> list[str]:
    return [each.text for each in messages.page(tx, account=account, newest_first=False)]


# The same once more -------------------------------------------------------------------------------------------------


def test_what_is_imported_twice_is_there_once_and_counted_as_there(tx: Tx) -> None:
    first = import_into(tx, file_of(*EVERYTHING))
    lines, entries = exported(tx), journal.after(tx, 0)
    again = import_into(tx, file_of(*EVERYTHING))
    assert exported(tx) == lines
    assert journal.after(tx, 0) == entries  # nothing happened
    assert not first.already_there
    assert not again.written
    assert again.already_there == first.written


def test_an_export_of_an_import_is_recognised_by_whoever_has_the_original_or_a_copy(tx: Tx) -> None:
    for name in ("copy", "copy-of-copy"):
        accounts.put(tx, Account(name=name, token=f"token-of-{name}"))
    import_into(tx, file_of(*EVERYTHING))
    import_into(tx, exported(tx), "copy")
    import_into(tx, exported(tx, "copy"), "copy-of-copy")
    for file, into in itertools.product(("default", "copy", "copy-of-copy"), repeat=2):
        assert not import_into(tx, exported(tx, file), into).written, (file, into)


def with_numbers_anew(record: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same lines as things of their own."""
    lines = []
    for each in record:
        made = dict(each)
        for key in ("id", "request_id", "message_id", "webhook_delivery_id", "redelivery_of"):
            if each.get(key) and each["type"] not in ("handset", "scenario"):
                made[key] = f"{each[key][0]}{int(each[key][1:]) + 1_000}"
        lines.append(made)
    return lines


@st.composite
def repeating(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The lines of a file, in which everything may stand twice, as if it had happened twice in the same moment."""
    record = draw(records())
    return [*record, *with_numbers_anew(record)] if draw(st.booleans()) else record


def is_accepted(line: dict[str, Any]) -> bool:
    """Whether it is the call of the message before."""
    return line.get("verdict") == "accepted"


@settings(max_examples=100, deadline=None)
@given(repeating(), st.integers(0, 40))
def test_a_file_that_is_taken_in_after_a_part_of_it_adds_what_is_wanting(
    record: list[dict[str, Any]], cut: int
) -> None:
    with store("default", "whole") as tx, pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "BATCH", 2)
        while 0 < cut < len(record) and (record[cut]["type"] == "webhook_delivery" or is_accepted(record[cut])):
            cut -= 1  # a message comes with all that belongs to it
        first = import_into(tx, file_of(*record[:cut]))
        rest = import_into(tx, file_of(*record))
        whole = import_into(tx, file_of(*record), "whole")
        assert first.written + rest.written == whole.written
        assert rest.already_there - whole.already_there == first.written
        assert anew(exported(tx)) == anew(exported(tx, "whole"))


@settings(max_examples=100, deadline=None)
@given(repeating(), st.data())
def test_two_imports_of_the_same_file_at_once_make_one(record: list[dict[str, Any]], data: st.DataObject) -> None:
    with store("default", "whole") as tx, pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "BATCH", 1)
        whole = import_into(tx, file_of(*record), "whole")
        under_way = [importing(tx, file_of(*record)) for _ in range(2)]
        last = [next(each) for each in under_way]  # both have looked, and nothing was there
        left = [0, 1]
        while left:
            turn = data.draw(st.sampled_from(left))
            if (progress := next(under_way[turn], None)) is None:
                left.remove(turn)
            else:
                last[turn] = progress
        assert last[0].written + last[1].written == whole.written
        assert anew(exported(tx)) == anew(exported(tx, "whole"))


# What is alike, and what is not --------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [MT, UNROUTED, REFUSAL])
def test_two_that_are_alike_in_a_file_are_two(tx: Tx, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 1)
    letter = line["id"][0]
    lines = [{**line, "id": f"{letter}{number}"} for number in range(1, 6)]
    for there, taken in itertools.pairwise((0, 1, 3, 3, 5, 4)):
        written = import_into(tx, file_of(*lines[:taken])).written.total()
        assert written == max(0, taken - there)


def test_a_line_may_say_which_of_those_that_are_alike_it_is(tx: Tx) -> None:
    for occurrence, written in ((1, 1), (2, 1), (2, 0), (1, 0), (3, 1)):
        assert import_into(tx, file_of({**MT, "occurrence": occurrence})).written.total() == written
    first = {**REFUSAL, "occurrence": 1}
    assert import_into(tx, file_of(first, {**first, "id": "r10"})).written.total() == 1


OTHERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    *((MT, {name: value}) for name, value in {
        "from": "48975", "to": "2347030000000", "text": "Which film?", "session_id": "other", "ref_id": "r",
        "sent_date": "2024-01-02T23:50:37.000001Z", "at": "2024-01-02T23:50:37.124000Z",
    }.items()),
    (MT, {"direction": "mo", "from": MT["to"], "to": MT["from"], "state": "unrouted"}),
    *((REFUSAL, {name: value}) for name, value in {
        "at": "2024-01-02T23:50:37.124000Z", "method": "PUT", "path": "/ng/", "body": "[", "status_code": 401,
        "answer": "[]",
    }.items()),
]  # fmt: skip


@pytest.mark.parametrize(("line", "changes"), OTHERS)
def test_what_differs_in_one_thing_is_another(tx: Tx, line: dict[str, Any], changes: dict[str, Any]) -> None:
    import_into(tx, file_of(line))
    assert import_into(tx, file_of({**line, **changes})).written.total() == 1


@pytest.mark.parametrize("changes", [{"body": "{ }"}, {"answer": '{"reference_id": "m2"}'}])
def test_a_message_whose_call_is_another_is_another(tx: Tx, changes: dict[str, Any]) -> None:
    import_into(tx, file_of(MT, CALL))
    assert import_into(tx, file_of(MT, {**CALL, **changes})).written.total() == 1


def test_rows_whose_hashes_are_the_same_are_told_apart(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "hash", lambda _: 1, raising=False)
    monkeypatch.setattr(rows, "hash", lambda _: 1, raising=False)
    lines = file_of(MT, {**MT, "id": "m2", "text": "another"}, REFUSAL)
    for written in (3, 0):
        assert import_into(tx, lines).written.total() == written


def test_what_another_account_has_is_not_there(tx: Tx) -> None:
    accounts.put(tx, Account(name="other", token="token-of-other"))
    import_into(tx, file_of(*EVERYTHING), "other")
    assert not import_into(tx, file_of(*EVERYTHING)).already_there


def test_a_handset_and_a_scenario_are_told_by_their_names_and_stay_as_they_are(tx: Tx) -> None:
    import_into(tx, file_of(SCENARIO, HANDSET))
    before = exported(tx)
    other = {**SCENARIO, "source": SOURCE.replace("hi", "bye")}
    again = import_into(tx, file_of(other, {**HANDSET, "label": "Benjamin"}))
    assert again.already_there == {"handsets": 1, "scenarios": 1}
    assert exported(tx) == before


def test_calls_of_every_path_and_of_every_byte_are_recognised(tx: Tx) -> None:
    import_into(tx, file_of({**REFUSAL, "path": "/ng/\0", **in_json("body", b"\xff\x00")}))
    assert not import_into(tx, exported(tx)).written


# A file that knows more ----------------------------------------------------------------------------------------------


def test_webhook_deliveries_and_attempts_that_are_wanting_are_added(tx: Tx) -> None:
    failed = {**ATTEMPT, "status_code": 500}
    import_into(tx, file_of(MO, {**DELIVERY, "state": "retrying", "attempts": [failed]}))
    again = {"id": "w9", "redelivery_of": "w8", "created_at": "2024-01-02T23:55:00.000000Z"}
    more = file_of(
        {**MO, "webhook_delivery_id": "w9"}, {**DELIVERY, "attempts": [failed, SECOND]}, {**DELIVERY, **again}
    )
    progress = import_into(tx, more)
    assert progress.written == {"webhook_deliveries": 1, "attempts": 2}
    assert progress.already_there == {"messages": 1, "webhook_deliveries": 1, "attempts": 1}
    with store("default") as other:
        import_into(other, more)
        assert anew(exported(tx)) == anew(exported(other))
    assert not import_into(tx, more).written
    assert {entry.kind for entry in tx.news} >= {EventType.ATTEMPT_MADE, EventType.DELIVERY_REDELIVERED}


@pytest.mark.parametrize(
    "not_yet", [{"outcome": None}, {"outcome": "interrupted", "status_code": None, "error": UNDER_WAY}]
)
def test_how_an_attempt_ended_that_was_under_way_is_taken_over(tx: Tx, not_yet: dict[str, Any]) -> None:
    begun = {**DELIVERY, "state": "in_flight", "attempts": [{**ATTEMPT, "status_code": None, **not_yet}]}
    import_into(tx, file_of(MO, begun))
    assert import_into(tx, file_of(MO, DELIVERY)).written == {"attempts": 1}
    [delivery] = outbox.page(tx, account="default")
    [attempt] = outbox.attempts(tx, delivery.seq)
    assert attempt.outcome is not None
    assert (delivery.state, attempt.outcome.status_code) == (DeliveryState.DELIVERED, 200)
    assert not import_into(tx, file_of(MO, begun)).written


def test_an_older_file_takes_nothing_away(tx: Tx) -> None:
    import_into(tx, file_of(MO, DELIVERY))
    before = exported(tx)
    assert not import_into(tx, file_of(MO, {**OWED, "state": "pending"})).written
    assert exported(tx) == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE webhook_deliveries SET url = 'http://127.0.0.1:9/sms'",  # the account's own
        "UPDATE webhook_deliveries SET state = 'in_flight'",  # attempted by hand
        "UPDATE attempts SET outcome = NULL WHERE number = 1",  # cancelled while it is attempted
    ],
)
def test_a_webhook_delivery_that_is_the_accounts_own_or_under_way_stays_as_it_is(tx: Tx, change: str) -> None:
    import_into(tx, file_of(MO, DELIVERY))
    tx.execute(change)
    before = exported(tx)
    assert not import_into(tx, file_of(MO, {**DELIVERY, "attempts": [ATTEMPT, SECOND]})).written
    assert exported(tx) == before


def test_attempts_that_are_added_come_after_those_that_were_made_here(tx: Tx) -> None:
    import_into(tx, file_of(MO, DELIVERY))
    [delivery] = outbox.page(tx, account="default")
    here = Attempt(delivery_seq=delivery.seq, number=2, trigger=Trigger.MANUAL, started_ms=NOW_MS, offset_ms=0)
    outbox.begin_attempt(tx, here)
    outbox.end_attempt(tx, delivery.seq, 2, Outcome(kind=OutcomeKind.FORBIDDEN, duration_ms=0), ())
    more = file_of(MO, {**DELIVERY, "attempts": [ATTEMPT, SECOND]})
    assert import_into(tx, more).written == {"attempts": 1}
    assert [each.trigger for each in outbox.attempts(tx, delivery.seq)] == ["scheduled", "manual", "scheduled"]
    [delivery] = outbox.page(tx, account="default")
    assert delivery.attempts == 3
    assert not import_into(tx, more).written


def test_a_reply_that_was_unrouted_gets_the_webhook_delivery_that_a_file_knows(tx: Tx) -> None:
    import_into(tx, file_of(UNROUTED))
    assert import_into(tx, file_of(MO, DELIVERY)).written == {"webhook_deliveries": 1, "attempts": 1}
    [message] = messages.page(tx, account="default")
    assert (message.delivery_seq, message.state) == (message.seq, "delivered")


# What happens in the middle ------------------------------------------------------------------------------------------

TWO = file_of(MT, {**MT, "id": "m9", "text": "the second"})


@pytest.fixture
def halfway(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An import of two messages, of which the first is written."""
    monkeypatch.setattr(imports, "BATCH", 1)
    steps = importing(tx, TWO)
    next(steps)
    progress = next(steps)
    assert (progress.lines, progress.of_lines) == (2, 3)
    assert (progress.written, progress.left) == ({"messages": 1}, {"messages": 1})
    return steps


def forget(tx: Tx, kind: EventType, account: str | None) -> None:
    retention.delete_all(tx, account)
    journal.record(tx, kind, at_ms=NOW_MS, account=account)


@pytest.mark.parametrize("account", ["default", None])
def test_an_import_ends_when_its_account_is_reset(tx: Tx, halfway: Any, account: str | None) -> None:
    forget(tx, EventType.RESET, account)
    with pytest.raises(Conflict, match="was reset or removed while"):
        next(halfway)
    assert texts(tx) == []
    assert import_into(tx, TWO).written == {"messages": 2}


def test_an_import_ends_when_its_account_is_removed_and_when_it_is_added_again(tx: Tx, halfway: Any) -> None:
    forget(tx, EventType.ACCOUNT_REMOVED, "default")
    accounts.remove(tx, "default")
    with pytest.raises(NotFound):
        next(halfway)
    accounts.put(tx, Account(name="default", token="token"))
    steps = importing(tx, TWO)  # which knows that it was removed before
    next(steps)
    forget(tx, EventType.ACCOUNT_REMOVED, "default")
    with pytest.raises(Conflict, match="was reset or removed while"):
        next(steps)


def test_an_import_goes_on_when_another_account_is_reset(tx: Tx, halfway: Any) -> None:
    forget(tx, EventType.RESET, "other")
    list(halfway)
    assert texts(tx) == [MT["text"], "the second"]


def test_what_is_removed_while_a_file_is_taken_in_is_there_no_more(tx: Tx) -> None:
    import_into(tx, TWO)
    steps = importing(tx, TWO)
    next(steps)
    retention.trim(tx, keep=1, oldest_ms=0)
    *_, progress = steps
    assert (progress.written, progress.already_there) == ({"messages": 1}, {"messages": 1})
    assert sorted(texts(tx)) == sorted([MT["text"], "the second"])


def test_a_look_at_a_large_account_is_made_of_short_ones(tx: Tx) -> None:
    import_into(tx, file_of(*({**MT, "id": f"m{number}", "text": f"{number}"} for number in range(1, 8))))
    found = imports.read(file_of({**MT, "text": "2"}, {**MT, "id": "m9", "text": "6"}))
    assert isinstance(found, imports.Import)
    known = found.known()
    looks: list[identity.Seen] = []
    while not looks or not looks[-1].is_all:
        looks.append(identity.look(tx, "default", known, span=3))
        known.note(looks[-1])
    assert [len(each.rows) for each in looks] == [1, 1, 0]
    assert known.upto == journal.last_seq(tx)


def test_the_lines_that_are_in_are_counted_with_blank_ones(tx: Tx) -> None:
    lines = ["", file_of()[0], "", json.dumps(MT), "", json.dumps({**MT, "id": "m9"}), "", ""]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "BATCH", 1)
        steps = list(importing(tx, lines))
    assert [(each.lines, each.of_lines) for each in steps] == [(3, 6), (5, 6), (6, 6)]
