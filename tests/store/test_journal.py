"""Everything that happened, numbered: no number twice, whatever is removed, and a reader misses nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.model import Event, EventType, Msisdn, Shortcode
from sandbox.store import journal, messages, retention
from sandbox.store.database import Database, Tx
from sandbox.wire.requests import SendSms
from sandbox.wire.text import measure
from tests.samples import MO, REFUSED


def submit(tx: Tx, *, account: str = "default", at_ms: int = 0) -> int:
    """An MT message, which is an entry by itself."""
    msisdn = Msisdn("2348020000000")
    seq = journal.announce(tx, EventType.MESSAGE_SUBMITTED, at_ms=at_ms, account=account, msisdn=msisdn)
    sms = SendSms(Shortcode("48974"), msisdn, "Hello", "s", "", None, {}, ())
    submission = messages.Submission("", b"", b"", b"")
    messages.insert_mt(tx, seq, at_ms, account, sms, "mtn", measure("Hello"), submission)
    return seq


def test_attempts_that_began_at_one_moment_are_counted_up_to_an_entry(tx: Tx) -> None:
    def begin(delivery: int, at_ms: int = 5) -> int:
        return journal.record(tx, EventType.ATTEMPT_BEGUN, at_ms=at_ms, account="default", subject=delivery)

    begin(1)
    between = submit(tx)
    begin(1)
    begin(2)
    begin(1, at_ms=6)
    journal.record(tx, EventType.ATTEMPT_MADE, at_ms=5, account="default", subject=1)
    end = submit(tx)
    assert journal.begun_before(tx, 1, at_ms=5, before=between) == 1
    assert journal.begun_before(tx, 1, at_ms=5, before=end) == 2
    assert journal.begun_before(tx, 3, at_ms=5, before=end) == 0


def originate(tx: Tx, *, account: str = "default", at_ms: int = 0) -> int:
    """An MO message, which is an entry by itself."""
    msisdn = Msisdn("2348020000000")
    seq = journal.announce(tx, EventType.MESSAGE_ORIGINATED, at_ms=at_ms, account=account, msisdn=msisdn)
    messages.insert_mo(tx, replace(MO, seq=seq, account=account, msisdn=msisdn, at_ms=at_ms))
    return seq


def refuse(tx: Tx, *, account: str | None = None, at_ms: int = 0) -> int:
    """A refused call, which is an entry by itself."""
    seq = journal.announce(tx, EventType.MESSAGE_REFUSED, at_ms=at_ms, account=account)
    messages.insert_refusal(tx, replace(REFUSED, seq=seq, account=account, at_ms=at_ms), b"")
    return seq


def happen(tx: Tx, *, account: str | None = "default", at_ms: int = 0) -> int:
    """Whatever else is an entry."""
    return journal.record(tx, EventType.ACCOUNT_CHANGED, at_ms=at_ms, account=account)


ENTRIES: list[Callable[..., int]] = [submit, originate, refuse, happen]


# Numbers -----------------------------------------------------------------------------------------------------------


def test_an_empty_journal_ends_at_0(tx: Tx) -> None:
    assert journal.last_seq(tx) == 0


def test_numbers_go_up_by_one(tx: Tx) -> None:
    assert [submit(tx), happen(tx), refuse(tx), happen(tx)] == [1, 2, 3, 4]


@pytest.mark.parametrize("enter", ENTRIES)
def test_the_journal_ends_with_its_newest_entry(tx: Tx, enter: Callable[..., int]) -> None:
    happen(tx)
    seq = enter(tx)
    assert journal.last_seq(tx) == seq


def numbers_around_a_restart(path: Path, enter: Callable[..., int], remove: Callable[[Tx], object]) -> tuple[int, int]:
    """The last number that was given before `remove`, and the first one after the file was opened again."""

    async def play() -> tuple[int, int]:
        database = Database(str(path))
        database.open()
        for _ in range(5):
            before = await database.write(enter)
        await database.write(remove)
        await database.close()
        database = Database(str(path))
        database.open()
        after = await database.write(enter)
        await database.close()
        return before, after

    return asyncio.run(play())


REMOVALS = [
    pytest.param(lambda tx: retention.delete_all(tx, None), id="everything was forgotten"),
    pytest.param(lambda tx: retention.delete_all(tx, "default"), id="an account was forgotten"),
    pytest.param(lambda tx: retention.trim(tx, keep=0, oldest_ms=10**15), id="everything was trimmed"),
    pytest.param(lambda tx: None, id="nothing was removed"),
]


@pytest.mark.parametrize("enter", ENTRIES)
@pytest.mark.parametrize("remove", REMOVALS)
def test_no_number_is_given_twice(tmp_path: Path, enter: Callable[..., int], remove: Callable[[Tx], object]) -> None:
    before, after = numbers_around_a_restart(tmp_path / "sandbox.db", enter, remove)
    assert after > before


def test_numbers_go_on_after_a_function_that_failed(tmp_path: Path) -> None:
    def fail(tx: Tx) -> None:
        submit(tx)
        raise ValueError("on second thought")

    async def play() -> list[int]:
        database = Database(str(tmp_path / "sandbox.db"))
        database.open()
        first = await database.write(happen)
        with pytest.raises(ValueError, match="on second thought"):
            await database.write(fail)
        second = await database.write(happen)
        await database.close()
        return sorted({first, second})

    assert len(asyncio.run(play())) == 2


# Entries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enter", "kind"),
    [
        (submit, EventType.MESSAGE_SUBMITTED),
        (originate, EventType.MESSAGE_ORIGINATED),
        (refuse, EventType.MESSAGE_REFUSED),
        (happen, EventType.ACCOUNT_CHANGED),
    ],
)
def test_what_is_announced_is_what_can_be_read(tx: Tx, enter: Callable[..., int], kind: EventType) -> None:
    enter(tx, at_ms=1_700_000_000_000)
    assert journal.after(tx, 0) == tx.news
    assert [entry.kind for entry in tx.news] == [kind]


def test_an_entry_is_about_its_subject(tx: Tx) -> None:
    seq = journal.record(tx, EventType.ATTEMPT_MADE, at_ms=5, account="default", subject=12, msisdn="2348020000000")
    assert journal.after(tx, 0) == [Event(seq, 5, EventType.ATTEMPT_MADE, "default", 12, "2348020000000")]


def test_an_entry_without_a_subject_announces_its_own_number(tx: Tx) -> None:
    happen(tx)
    assert happen(tx) == 2
    assert [entry.subject for entry in journal.after(tx, 0)] == [1, 2]


def test_entries_come_in_order_whatever_they_are(tx: Tx) -> None:
    for enter in (happen, submit, refuse, originate, happen, submit, refuse):
        enter(tx)
    assert [entry.seq for entry in journal.after(tx, 0)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_reader_goes_on_from_the_last_entry_it_has_seen(tx: Tx) -> None:
    for enter in (happen, submit, refuse, submit, happen):
        enter(tx)
    assert [entry.seq for entry in journal.after(tx, 3)] == [4, 5]


def test_a_reader_gets_everything_page_by_page(tx: Tx) -> None:
    for n in range(25):
        ENTRIES[n % 4](tx)
    seen: list[int] = []
    while page := journal.after(tx, seen[-1] if seen else 0, limit=7):
        seen += [entry.seq for entry in page]
    assert seen == list(range(1, 26))


def test_a_reader_of_one_account_gets_that_and_what_concerns_all(tx: Tx) -> None:
    mine = [submit(tx, account="mine"), happen(tx, account=None)]
    submit(tx, account="another")
    happen(tx, account="another")
    mine.append(refuse(tx, account=None))
    assert [entry.seq for entry in journal.after(tx, 0, account="mine")] == mine


def test_the_end_of_the_journal_has_nothing_after_it(tx: Tx) -> None:
    assert journal.after(tx, happen(tx)) == []
