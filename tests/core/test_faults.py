"""Faults in memory: which calls they strike, how they are counted, and whom they keep waiting."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandbox.core.faults import LiveFaults, Use
from sandbox.errors import Invalid
from sandbox.model import (
    Direction,
    Encoding,
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


def struck(live: LiveFaults, text: str | None = "hello", *, account: str = "default") -> int | None:
    """The number of the fault that the account's next call fits."""
    use = live.take(FaultOn.SENDSMS, account, lambda: None if text is None else message(text))
    return None if use is None else use.fault.seq


def taken(live: LiveFaults) -> Use:
    """The use that the next call takes."""
    use = live.take(FaultOn.SENDSMS, "default", message)
    assert use is not None
    return use


def committed(tx: Tx) -> None:
    """What the database does after the commit."""
    for change in tx.then:
        change()
    tx.then.clear()


# Counted -----------------------------------------------------------------------------------------------------------


def test_a_match_that_cannot_be_used_comes_to_light_before_the_commit(tx: Tx) -> None:
    with pytest.raises(Invalid):
        LiveFaults().add(tx, "default", replace(UNAVAILABLE, match={"pattern": "("}), at_ms=1)
    assert tx.then == []


def test_uses_that_are_written_down_in_another_order_are_not_lost(tx: Tx) -> None:
    live = LiveFaults()
    fault = live.add(tx, "default", replace(UNAVAILABLE, times=None), at_ms=1)
    committed(tx)
    first, second, third = (taken(live) for _ in range(3))
    assert [live.count(tx, use, 2).used for use in (first, third, second)] == [1, 2, 3]
    assert faults.get(tx, fault.seq) == replace(fault, used=3)


def test_a_fault_strikes_from_the_commit_on(tx: Tx) -> None:
    live = LiveFaults()
    fault = live.add(tx, "default", UNAVAILABLE, at_ms=1)
    assert struck(live) is None
    committed(tx)
    assert struck(live) == fault.seq


def test_a_fault_strikes_as_often_as_it_was_asked_to() -> None:
    live = LiveFaults([made(1, times=3)])
    assert [struck(live) for _ in range(4)] == [1, 1, 1, None]


def test_a_fault_goes_on_from_where_it_was() -> None:
    live = LiveFaults([replace(made(1, times=3), used=2)])
    assert [struck(live) for _ in range(2)] == [1, None]


def test_a_use_that_is_given_back_strikes_the_next_call_and_no_other() -> None:
    live = LiveFaults([made(1), made(2)])
    use = taken(live)
    assert struck(live) == 2
    use.give_back()
    use.give_back()
    assert [struck(live) for _ in range(2)] == [1, None]


def test_a_use_that_is_given_back_brings_no_removed_fault_back() -> None:
    live = LiveFaults([made(1)])
    use = taken(live)
    live.removed(made(1))
    use.give_back()
    assert struck(live) is None


def test_a_fault_that_is_removed_strikes_until_the_commit(tx: Tx) -> None:
    live = LiveFaults()
    faults_of_both = [live.add(tx, name, replace(UNAVAILABLE, times=None), at_ms=1) for name in ("default", "other")]
    committed(tx)
    assert live.remove(tx, "default", None, at_ms=2) == 1
    live.delete_all(tx, "other")
    assert struck(live) == faults_of_both[0].seq
    committed(tx)
    assert [struck(live, account=name) for name in ("default", "other")] == [None, None]
    assert faults.stored(tx) == []


def test_a_use_that_is_counted_cannot_be_given_back(tx: Tx) -> None:
    live = LiveFaults()
    live.add(tx, "default", UNAVAILABLE, at_ms=1)
    committed(tx)
    use = taken(live)
    live.count(tx, use, 2)
    committed(tx)
    use.give_back()
    assert struck(live) is None


def test_a_fault_without_a_number_of_times_strikes_for_ever() -> None:
    live = LiveFaults([made(1, times=None)])
    assert {struck(live) for _ in range(1000)} == {1}


def test_each_use_counts_itself() -> None:
    live = LiveFaults([made(1, times=2)])
    uses = [live.take(FaultOn.SENDSMS, "default", message) for _ in range(2)]
    assert [use.fault.used for use in uses if use] == [1, 2]


def test_the_first_added_is_the_first_used() -> None:
    live = LiveFaults([made(1, times=2), made(2), made(3)])
    assert [struck(live) for _ in range(5)] == [1, 1, 2, 3, None]


def test_very_many_faults_are_used_in_their_order() -> None:
    live = LiveFaults(made(number) for number in range(1, 3001))
    assert [struck(live) for _ in range(3001)] == [*range(1, 3001), None]


def test_a_fault_with_a_match_strikes_what_fits_and_leaves_the_rest_to_the_next() -> None:
    matched = replace(UNAVAILABLE, match={"text": "*film*"})
    live = LiveFaults([made(1, matched), made(2, times=None)])
    assert [struck(live, text) for text in ("hello", "which film?", "which film?")] == [2, 1, 2]


def test_a_call_without_a_readable_message_fits_no_match() -> None:
    live = LiveFaults([made(1, replace(UNAVAILABLE, match={"text": "*"}))])
    assert [struck(live, text) for text in (None, "hello")] == [None, 1]


def test_a_call_without_a_readable_message_fits_a_fault_without_a_match() -> None:
    assert struck(LiveFaults([made(1)]), None) == 1


def test_a_fault_strikes_its_own_account_only() -> None:
    live = LiveFaults([made(1)])
    assert [struck(live, account=name) for name in ("other", "default")] == [None, 1]


def test_a_fault_strikes_its_own_kind_of_call_only() -> None:
    live = LiveFaults([made(1, SLOW)])
    assert struck(live) is None
    assert live.take(FaultOn.WEBHOOK, "default", message) is not None


def test_an_account_without_faults_has_no_place_in_memory(tx: Tx) -> None:
    live = LiveFaults([made(4, account="other")])
    once, twice, slow = (
        live.add(tx, "default", each, at_ms=1) for each in (UNAVAILABLE, replace(UNAVAILABLE, times=2), SLOW)
    )
    committed(tx)
    for on in (once.on, slow.on):
        use = live.take(on, "default", message)
        assert use is not None
        live.count(tx, use, 2)
    committed(tx)
    live.removed(twice)
    live.deleted("other")
    assert (live.sendsms, live.webhook) == ({}, {})


def test_a_removed_fault_strikes_no_more() -> None:
    live = LiveFaults([made(1, times=None), made(2)])
    live.removed(made(1))
    assert [struck(live) for _ in range(2)] == [2, None]


# Kept waiting ------------------------------------------------------------------------------------------------------


async def turn_of_the_loop(task: asyncio.Task[bool]) -> None:
    """Let the task come as far as it does by itself."""
    for _ in range(10):
        await asyncio.wait([task], timeout=0)


def waiting(wanted: MakeFault, then: Callable[[LiveFaults, Use], Any]) -> bool | None:
    """What the wait of a call that a fault strikes comes to, after `then`; None if it goes on."""

    async def play() -> bool | None:
        live = LiveFaults([made(1, wanted), made(2, wanted, account="other")])
        use = live.take(wanted.on, "default", message)
        assert use is not None
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(use.wait())
            await turn_of_the_loop(task)
            assert not task.done()
            then(live, use)
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
        (lambda live, use: live.removed(use.fault), True),
        (lambda live, use: use.end(), True),
        (lambda live, use: live.deleted("default"), False),
        (lambda live, use: live.deleted(None), False),
        (lambda live, use: live.close(), False),
        (lambda live, use: live.deleted("other"), None),
        (lambda live, use: live.removed(replace(use.fault, seq=2)), None),
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
        live = LiveFaults([made(1, HELD)])
        live.close()
        use = live.take(FaultOn.SENDSMS, "default", message)
        assert use is not None
        return await use.wait()

    assert not asyncio.run(play())


def test_calls_that_have_ended_are_not_remembered() -> None:
    live = LiveFaults([made(1, HELD, times=None)])
    for _ in range(10):
        live.take(FaultOn.SENDSMS, "default", message)
    gc.collect()
    assert len(live._waiting) == 0
