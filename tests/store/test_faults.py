"""Faults as they are stored."""

from dataclasses import replace

import pytest

from sandbox.errors import Conflict
from sandbox.model import Drop, EventType, FaultEffect, FaultOn
from sandbox.scenario.steps import MakeFault
from sandbox.store import faults
from sandbox.store.database import Tx
from sandbox.store.faults import KEPT

UNAVAILABLE = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503))
HELD = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(hold=True))
SLOW = MakeFault(on=FaultOn.WEBHOOK, effect=FaultEffect(delay_s=300))
KINDS = [
    replace(UNAVAILABLE, match={"text": "*₦*", "ignore_case": True}),
    replace(UNAVAILABLE, times=None, effect=FaultEffect(status=599, body="\x1b[2J ₦", delay_s=0.25)),
    replace(UNAVAILABLE, times=7, effect=FaultEffect(drop=Drop.BODY)),
    HELD,
    SLOW,
]


@pytest.mark.parametrize("wanted", KINDS, ids=range(len(KINDS)))
def test_a_fault_is_read_as_it_was_stored(tx: Tx, wanted: MakeFault) -> None:
    fault = faults.add(tx, "default", wanted, at_ms=1, run_seq=5)
    assert faults.get(tx, fault.seq) == fault
    assert (fault.on, fault.match, fault.times, fault.effect) == (wanted.on, wanted.match, wanted.times, wanted.effect)
    assert (fault.used, fault.run_seq, fault.account) == (0, 5, "default")


def test_a_fault_that_nobody_added_is_not_there(tx: Tx) -> None:
    assert faults.get(tx, 12) is None


def test_faults_are_listed_newest_first_page_by_page(tx: Tx) -> None:
    seqs = [faults.add(tx, "default", UNAVAILABLE, at_ms=1).seq for _ in range(3)]
    faults.add(tx, "other", UNAVAILABLE, at_ms=1)
    assert [each.seq for each in faults.page(tx, account="default")] == seqs[::-1]
    assert [each.seq for each in faults.page(tx, account="default", before=seqs[2], limit=1)] == [seqs[1]]


def test_a_fault_is_announced_by_its_own_number(tx: Tx) -> None:
    fault = faults.add(tx, "default", UNAVAILABLE, at_ms=1)
    assert [(each.kind, each.seq, each.subject, each.account) for each in tx.news] == [
        (EventType.FAULT_CHANGED, fault.seq, fault.seq, "default")
    ]


def test_a_use_is_written_down_and_the_last_one_announced(tx: Tx) -> None:
    fault = faults.add(tx, "default", replace(UNAVAILABLE, times=2), at_ms=1)
    tx.news.clear()
    assert faults.count(tx, fault, 2) == replace(fault, used=1)
    assert (faults.get(tx, fault.seq), tx.news) == (replace(fault, used=1), [])
    assert faults.count(tx, fault, 2) == replace(fault, used=2)
    assert faults.get(tx, fault.seq) == replace(fault, used=2)
    assert [(each.kind, each.subject) for each in tx.news] == [(EventType.FAULT_CHANGED, fault.seq)]


def test_a_use_of_a_removed_fault_brings_it_not_back(tx: Tx) -> None:
    fault = faults.add(tx, "default", UNAVAILABLE, at_ms=1)
    faults.remove(tx, "default", fault.seq, at_ms=2)
    tx.news.clear()
    faults.count(tx, fault, 2)
    assert (faults.get(tx, fault.seq), tx.news) == (None, [])


def test_what_is_left_is_found_again_first_added_first(tx: Tx) -> None:
    first = faults.add(tx, "default", replace(UNAVAILABLE, times=2), at_ms=1)
    used_up = faults.add(tx, "default", UNAVAILABLE, at_ms=1)
    endless = faults.add(tx, "other", replace(SLOW, times=None), at_ms=1)
    for fault in (first, used_up, endless, endless):
        faults.count(tx, fault, 2)
    assert faults.stored(tx) == [replace(first, used=1), replace(endless, used=2)]


def test_an_account_removes_its_own_faults_only(tx: Tx) -> None:
    mine = faults.add(tx, "default", UNAVAILABLE, at_ms=1)
    theirs = faults.add(tx, "other", UNAVAILABLE, at_ms=1)
    assert faults.remove(tx, "default", theirs.seq, at_ms=2) == []
    assert faults.remove(tx, "default", None, at_ms=2) == [mine]
    assert (faults.get(tx, mine.seq), faults.get(tx, theirs.seq)) == (None, theirs)


def test_a_removal_is_announced(tx: Tx) -> None:
    fault = faults.add(tx, "default", UNAVAILABLE, at_ms=1)
    tx.news.clear()
    faults.remove(tx, "default", fault.seq, at_ms=2)
    assert [(each.kind, each.subject, each.account) for each in tx.news] == [
        (EventType.FAULT_CHANGED, fault.seq, "default")
    ]


@pytest.mark.parametrize(("account", "left"), [("default", ["other"]), (None, [])])
def test_a_reset_removes_what_is_stored(tx: Tx, account: str | None, left: list[str]) -> None:
    for name in ("default", "other"):
        faults.add(tx, name, UNAVAILABLE, at_ms=1)
    faults.delete_all(tx, account)
    assert [fault.account for fault in faults.stored(tx)] == left


def test_of_too_many_faults_the_oldest_that_is_used_up_goes(tx: Tx) -> None:
    added = [faults.add(tx, "default", UNAVAILABLE, at_ms=1) for _ in range(KEPT)]
    for used_up in (added[3], added[7]):
        faults.count(tx, used_up, 2)
    faults.add(tx, "default", UNAVAILABLE, at_ms=3)
    assert faults.get(tx, added[3].seq) is None
    assert faults.get(tx, added[7].seq) is not None
    assert len(faults.page(tx, account="default", limit=2 * KEPT)) == KEPT


def test_an_account_has_no_more_faults_than_it_may_have(tx: Tx) -> None:
    for _ in range(KEPT):
        faults.add(tx, "default", replace(UNAVAILABLE, times=None), at_ms=1)
    with pytest.raises(Conflict, match="1000 faults"):
        faults.add(tx, "default", UNAVAILABLE, at_ms=1)
    faults.add(tx, "other", UNAVAILABLE, at_ms=1)
