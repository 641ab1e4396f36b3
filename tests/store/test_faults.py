"""Faults as they are stored, as they are counted, and the calls that they keep waiting."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandbox.errors import Conflict, Invalid
from sandbox.model import (
    Direction,
    Drop,
    Encoding,
    EventType,
    Fault,
    FaultEffect,
    FaultOn,
    Message,
    MessageState,
    Msisdn,
    Shortcode,
)
from sandbox.scenario.steps import MakeFault
from sandbox.store import faults
from sandbox.store.database import Tx
from sandbox.store.faults import KEPT, LiveFaults, Use

UNAVAILABLE = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503))
HELD = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(hold=True))
SLOW = MakeFault(on=FaultOn.WEBHOOK, effect=FaultEffect(delay_s=300))


def message(text: str = "hello", *, msisdn: str = "2348020000000") -> Message:
    return Message(
        seq=0,
        account="default",
        direction=Direction.MT,
        msisdn=Msisdn(msisdn),
        shortcode=Shortcode("48974"),
        text=text,
        session_id="s1",
        ref_id=None,
        sent_date="2024-01-02T23:50:37.000000Z",
        at_ms=1,
        telco="mtn",
        encoding=Encoding.GSM7,
        segments=1,
        state=MessageState.ACCEPTED,
    )


def made(seq: int, wanted: MakeFault = UNAVAILABLE, *, account: str = "default", times: int | None = 1) -> Fault:
    return Fault(seq=seq, account=account, on=wanted.on, match=wanted.match, times=times, effect=wanted.effect)


def struck(directory: LiveFaults, text: str | None = "hello", *, account: str = "default") -> int | None:
    """The number of the fault that the account's next call fits."""
    use = directory.take(FaultOn.SENDSMS, account, lambda: None if text is None else message(text))
    return None if use is None else use.fault.seq


def taken(directory: LiveFaults) -> Use:
    """The use that the next call takes."""
    use = directory.take(FaultOn.SENDSMS, "default", message)
    assert use is not None
    return use


def counted(tx: Tx, fault: Fault) -> Fault:
    """What a fault comes to with one more use."""
    directory = LiveFaults([fault])
    use = directory.take(fault.on, fault.account, message)
    assert use is not None
    return faults.count(tx, directory, use, 2)


def committed(tx: Tx) -> None:
    """What the database does after the commit."""
    for change in tx.then:
        change()
    tx.then.clear()


# Stored ------------------------------------------------------------------------------------------------------------

KINDS = [
    replace(UNAVAILABLE, match={"text": "*₦*", "ignore_case": True}),
    replace(UNAVAILABLE, times=None, effect=FaultEffect(status=599, body="\x1b[2J ₦", delay_s=0.25)),
    replace(UNAVAILABLE, times=7, effect=FaultEffect(drop=Drop.BODY)),
    HELD,
    SLOW,
]


@pytest.mark.parametrize("wanted", KINDS, ids=range(len(KINDS)))
def test_a_fault_is_read_as_it_was_stored(tx: Tx, wanted: MakeFault) -> None:
    fault = faults.add(tx, LiveFaults(), "default", wanted, at_ms=1, run_seq=5)
    assert faults.get(tx, fault.seq) == fault
    assert (fault.on, fault.match, fault.times, fault.effect) == (wanted.on, wanted.match, wanted.times, wanted.effect)
    assert (fault.used, fault.run_seq, fault.account) == (0, 5, "default")


def test_a_fault_that_nobody_added_is_not_there(tx: Tx) -> None:
    assert faults.get(tx, 12) is None


def test_faults_are_listed_newest_first_page_by_page(tx: Tx) -> None:
    seqs = [faults.add(tx, LiveFaults(), "default", UNAVAILABLE, at_ms=1).seq for _ in range(3)]
    faults.add(tx, LiveFaults(), "other", UNAVAILABLE, at_ms=1)
    assert [each.seq for each in faults.page(tx, account="default")] == seqs[::-1]
    assert [each.seq for each in faults.page(tx, account="default", before=seqs[2], limit=1)] == [seqs[1]]


def test_a_fault_is_announced_by_its_own_number(tx: Tx) -> None:
    fault = faults.add(tx, LiveFaults(), "default", UNAVAILABLE, at_ms=1)
    assert [(each.kind, each.seq, each.subject, each.account) for each in tx.news] == [
        (EventType.FAULT_CHANGED, fault.seq, fault.seq, "default")
    ]


def test_a_use_is_written_down_and_the_last_one_announced(tx: Tx) -> None:
    fault = faults.add(tx, LiveFaults(), "default", replace(UNAVAILABLE, times=2), at_ms=1)
    tx.news.clear()
    assert counted(tx, fault) == replace(fault, used=1)
    assert (faults.get(tx, fault.seq), tx.news) == (replace(fault, used=1), [])
    assert counted(tx, fault) == replace(fault, used=2)
    assert faults.get(tx, fault.seq) == replace(fault, used=2)
    assert [(each.kind, each.subject) for each in tx.news] == [(EventType.FAULT_CHANGED, fault.seq)]


def test_uses_that_are_written_down_in_another_order_are_not_lost(tx: Tx) -> None:
    directory = LiveFaults()
    fault = faults.add(tx, directory, "default", replace(UNAVAILABLE, times=None), at_ms=1)
    committed(tx)
    first, second, third = (taken(directory) for _ in range(3))
    assert [faults.count(tx, directory, use, 2).used for use in (first, third, second)] == [1, 2, 3]
    assert faults.get(tx, fault.seq) == replace(fault, used=3)


def test_a_use_of_a_removed_fault_brings_it_not_back(tx: Tx) -> None:
    fault = faults.add(tx, LiveFaults(), "default", UNAVAILABLE, at_ms=1)
    faults.remove(tx, LiveFaults(), "default", fault.seq, at_ms=2)
    tx.news.clear()
    counted(tx, fault)
    assert (faults.get(tx, fault.seq), tx.news) == (None, [])


def test_what_is_left_is_found_again_first_added_first(tx: Tx) -> None:
    first = faults.add(tx, LiveFaults(), "default", replace(UNAVAILABLE, times=2), at_ms=1)
    used_up = faults.add(tx, LiveFaults(), "default", UNAVAILABLE, at_ms=1)
    endless = faults.add(tx, LiveFaults(), "other", replace(SLOW, times=None), at_ms=1)
    for fault in (first, used_up, endless, endless):
        counted(tx, fault)
    assert faults.stored(tx) == [replace(first, used=1), replace(endless, used=2)]


def test_an_account_removes_its_own_faults_only(tx: Tx) -> None:
    mine = faults.add(tx, LiveFaults(), "default", UNAVAILABLE, at_ms=1)
    theirs = faults.add(tx, LiveFaults(), "other", UNAVAILABLE, at_ms=1)
    assert faults.remove(tx, LiveFaults(), "default", theirs.seq, at_ms=2) == 0
    assert faults.remove(tx, LiveFaults(), "default", None, at_ms=2) == 1
    assert (faults.get(tx, mine.seq), faults.get(tx, theirs.seq)) == (None, theirs)


def test_a_removal_is_announced(tx: Tx) -> None:
    fault = faults.add(tx, LiveFaults(), "default", UNAVAILABLE, at_ms=1)
    tx.news.clear()
    faults.remove(tx, LiveFaults(), "default", fault.seq, at_ms=2)
    assert [(each.kind, each.subject, each.account) for each in tx.news] == [
        (EventType.FAULT_CHANGED, fault.seq, "default")
    ]


@pytest.mark.parametrize(("account", "left"), [("default", ["other"]), (None, [])])
def test_a_reset_forgets_what_is_stored(tx: Tx, account: str | None, left: list[str]) -> None:
    for name in ("default", "other"):
        faults.add(tx, LiveFaults(), name, UNAVAILABLE, at_ms=1)
    faults.forget(tx, LiveFaults(), account)
    assert [fault.account for fault in faults.stored(tx)] == left


def test_of_too_many_faults_the_oldest_that_is_used_up_goes(tx: Tx) -> None:
    directory = LiveFaults()
    added = [faults.add(tx, directory, "default", UNAVAILABLE, at_ms=1) for _ in range(KEPT)]
    for used_up in (added[3], added[7]):
        counted(tx, used_up)
    faults.add(tx, directory, "default", UNAVAILABLE, at_ms=3)
    assert faults.get(tx, added[3].seq) is None
    assert faults.get(tx, added[7].seq) is not None
    assert len(faults.page(tx, account="default", limit=2 * KEPT)) == KEPT


def test_an_account_has_no_more_faults_than_it_may_have(tx: Tx) -> None:
    for _ in range(KEPT):
        faults.add(tx, LiveFaults(), "default", replace(UNAVAILABLE, times=None), at_ms=1)
    with pytest.raises(Conflict, match="1000 faults"):
        faults.add(tx, LiveFaults(), "default", UNAVAILABLE, at_ms=1)
    faults.add(tx, LiveFaults(), "other", UNAVAILABLE, at_ms=1)


def test_a_match_that_cannot_be_used_comes_to_light_before_the_commit(tx: Tx) -> None:
    with pytest.raises(Invalid):
        faults.add(tx, LiveFaults(), "default", replace(UNAVAILABLE, match={"pattern": "("}), at_ms=1)
    assert tx.then == []


# Counted -----------------------------------------------------------------------------------------------------------


def test_a_fault_strikes_from_the_commit_on(tx: Tx) -> None:
    directory = LiveFaults()
    fault = faults.add(tx, directory, "default", UNAVAILABLE, at_ms=1)
    assert struck(directory) is None
    committed(tx)
    assert struck(directory) == fault.seq


def test_a_fault_strikes_as_often_as_it_was_asked_to() -> None:
    directory = LiveFaults([made(1, times=3)])
    assert [struck(directory) for _ in range(4)] == [1, 1, 1, None]


def test_a_fault_goes_on_from_where_it_was() -> None:
    directory = LiveFaults([replace(made(1, times=3), used=2)])
    assert [struck(directory) for _ in range(2)] == [1, None]


def test_a_use_that_is_given_back_strikes_the_next_call_and_no_other() -> None:
    directory = LiveFaults([made(1), made(2)])
    use = taken(directory)
    assert struck(directory) == 2
    use.give_back()
    use.give_back()
    assert [struck(directory) for _ in range(2)] == [1, None]


def test_a_use_that_is_given_back_brings_no_removed_fault_back() -> None:
    directory = LiveFaults([made(1)])
    use = taken(directory)
    directory.remove(made(1))
    use.give_back()
    assert struck(directory) is None


def test_a_use_that_is_counted_cannot_be_given_back(tx: Tx) -> None:
    directory = LiveFaults()
    faults.add(tx, directory, "default", UNAVAILABLE, at_ms=1)
    committed(tx)
    use = taken(directory)
    faults.count(tx, directory, use, 2)
    committed(tx)
    use.give_back()
    assert struck(directory) is None


def test_a_fault_without_a_number_of_times_strikes_for_ever() -> None:
    directory = LiveFaults([made(1, times=None)])
    assert {struck(directory) for _ in range(1000)} == {1}


def test_each_use_counts_itself() -> None:
    directory = LiveFaults([made(1, times=2)])
    uses = [directory.take(FaultOn.SENDSMS, "default", message) for _ in range(2)]
    assert [use.fault.used for use in uses if use] == [1, 2]


def test_the_first_added_is_the_first_used() -> None:
    directory = LiveFaults([made(1, times=2), made(2), made(3)])
    assert [struck(directory) for _ in range(5)] == [1, 1, 2, 3, None]


def test_very_many_faults_are_used_in_their_order() -> None:
    directory = LiveFaults(made(number) for number in range(1, 3001))
    assert [struck(directory) for _ in range(3001)] == [*range(1, 3001), None]


def test_a_fault_with_a_match_strikes_what_fits_and_leaves_the_rest_to_the_next() -> None:
    matched = replace(UNAVAILABLE, match={"text": "*film*"})
    directory = LiveFaults([made(1, matched), made(2, times=None)])
    assert [struck(directory, text) for text in ("hello", "which film?", "which film?")] == [2, 1, 2]


def test_a_call_without_a_readable_message_fits_no_match() -> None:
    directory = LiveFaults([made(1, replace(UNAVAILABLE, match={"text": "*"}))])
    assert [struck(directory, text) for text in (None, "hello")] == [None, 1]


def test_a_call_without_a_readable_message_fits_a_fault_without_a_match() -> None:
    assert struck(LiveFaults([made(1)]), None) == 1


def test_a_fault_strikes_its_own_account_only() -> None:
    directory = LiveFaults([made(1)])
    assert [struck(directory, account=name) for name in ("other", "default")] == [None, 1]


def test_a_fault_strikes_its_own_kind_of_call_only() -> None:
    directory = LiveFaults([made(1, SLOW)])
    assert struck(directory) is None
    assert directory.take(FaultOn.WEBHOOK, "default", message) is not None


def test_an_account_without_faults_has_no_place_in_memory(tx: Tx) -> None:
    directory = LiveFaults([made(4, account="other")])
    once, twice, slow = (
        faults.add(tx, directory, "default", each, at_ms=1)
        for each in (UNAVAILABLE, replace(UNAVAILABLE, times=2), SLOW)
    )
    committed(tx)
    for on in (once.on, slow.on):
        use = directory.take(on, "default", message)
        assert use is not None
        faults.count(tx, directory, use, 2)
    committed(tx)
    directory.remove(twice)
    directory.forget("other")
    assert (directory.sendsms, directory.webhook) == ({}, {})


def test_a_removed_fault_strikes_no_more() -> None:
    directory = LiveFaults([made(1, times=None), made(2)])
    directory.remove(made(1))
    assert [struck(directory) for _ in range(2)] == [2, None]


# Kept waiting ------------------------------------------------------------------------------------------------------


async def turn_of_the_loop(task: asyncio.Task[bool]) -> None:
    """Let the task come as far as it does by itself."""
    for _ in range(10):
        await asyncio.wait([task], timeout=0)


def waiting(wanted: MakeFault, then: Callable[[LiveFaults, Use], Any]) -> bool | None:
    """What the wait of a call that a fault strikes comes to, after `then`; None if it goes on."""

    async def play() -> bool | None:
        directory = LiveFaults([made(1, wanted), made(2, wanted, account="other")])
        use = directory.take(wanted.on, "default", message)
        assert use is not None
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(use.wait())
            await turn_of_the_loop(task)
            assert not task.done()
            then(directory, use)
            await turn_of_the_loop(task)
            if task.done():
                return task.result()
            task.cancel()
            return None

    return asyncio.run(play())


@pytest.mark.parametrize("wanted", [HELD, SLOW])
@pytest.mark.parametrize(
    ("then", "went_on"),
    [
        (lambda directory, use: directory.remove(use.fault), True),
        (lambda directory, use: use.end(), True),
        (lambda directory, use: directory.forget("default"), False),
        (lambda directory, use: directory.forget(None), False),
        (lambda directory, use: directory.close(), False),
        (lambda directory, use: directory.forget("other"), None),
        (lambda directory, use: directory.remove(replace(use.fault, seq=2)), None),
    ],
    ids=["removed", "left", "reset", "all reset", "closed", "other reset", "other removed"],
)
def test_a_wait_ends_with_what_it_is_about(
    wanted: MakeFault, then: Callable[[LiveFaults, Use], Any], went_on: bool | None
) -> None:
    assert waiting(wanted, then) is went_on


def test_a_delay_passes() -> None:
    async def play() -> bool:
        use = LiveFaults([made(1, replace(SLOW, effect=FaultEffect(delay_s=0.001)))]).take(
            FaultOn.WEBHOOK, "default", message
        )
        assert use is not None
        return await use.wait()

    assert asyncio.run(play())


def test_after_the_end_nobody_is_kept_waiting() -> None:
    async def play() -> bool:
        directory = LiveFaults([made(1, HELD)])
        directory.close()
        use = directory.take(FaultOn.SENDSMS, "default", message)
        assert use is not None
        return await use.wait()

    assert not asyncio.run(play())


def test_calls_that_have_ended_are_not_remembered() -> None:
    directory = LiveFaults([made(1, HELD, times=None)])
    for _ in range(10):
        directory.take(FaultOn.SENDSMS, "default", message)
    gc.collect()
    assert len(directory._waiting) == 0
