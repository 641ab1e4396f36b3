"""SQL of the faults: failures that somebody asked for, those that are used up included."""

from collections.abc import Sequence
from dataclasses import replace

from sandbox.errors import Conflict
from sandbox.model import EventType, Fault
from sandbox.scenario.steps import MakeFault
from sandbox.store import journal
from sandbox.store.database import Queries, Tx
from sandbox.store.rows import Table

KEPT = 1000  # faults of an account, those that are used up included


FAULTS = Table("faults", Fault, packed="spec", beside=("seq", "account", "times", "used"))


def get(db: Queries, seq: int) -> Fault | None:
    return FAULTS.get(db, seq)


def page(db: Queries, *, account: str, before: int | None = None, limit: int = 50) -> Sequence[Fault]:
    """Faults of an account, newest first, those that are used up included."""
    return FAULTS.page(db, "account = :account", account=account, before=before, limit=limit)


def stored(db: Queries) -> Sequence[Fault]:
    """The faults of all accounts that are not used up, first added first."""
    return FAULTS.all(db, "WHERE times IS NULL OR used < times ORDER BY seq")


def add(tx: Tx, account: str, wanted: MakeFault, *, at_ms: int, run_seq: int | None = None) -> Fault:
    """Write a fault down. Raises Conflict if the account has as many as it may have."""
    mine = {"account": account}
    if tx.execute("SELECT COUNT(*) FROM faults WHERE account = :account", mine).fetchone()[0] >= KEPT:
        oldest_used_up = "SELECT MIN(seq) FROM faults WHERE account = :account AND used >= times"
        if not tx.execute(f"DELETE FROM faults WHERE seq = ({oldest_used_up})", mine).rowcount:
            raise Conflict(f"The account {account} has {KEPT} faults that are not used up. Remove some of them first.")
    fault = Fault(
        seq=journal.record(tx, EventType.FAULT_CHANGED, at_ms=at_ms, account=account),
        account=account,
        on=wanted.on,
        match=wanted.match,
        times=wanted.times,
        effect=wanted.effect,
        run_seq=run_seq,
    )
    FAULTS.insert(tx, fault)
    return fault


def count(tx: Tx, fault: Fault, at_ms: int) -> Fault | None:
    """Write down that a fault struck. Returns it as it stands then; None if it was removed meanwhile."""
    seq = {"seq": fault.seq}
    row = tx.execute("UPDATE faults SET used = used + 1 WHERE seq = :seq RETURNING used", seq).fetchone()
    if row is None:
        return None
    fault = replace(fault, used=row[0])
    if fault.left == 0:
        journal.record(tx, EventType.FAULT_CHANGED, at_ms=at_ms, account=fault.account, subject=fault.seq)
    return fault


def remove(tx: Tx, account: str, seq: int | None, *, at_ms: int) -> Sequence[Fault]:
    """Remove a fault of the account, or with None all of them. Returns those that went."""
    one = "" if seq is None else "AND seq = :seq "
    found = FAULTS.all(tx, f"WHERE account = :account {one}ORDER BY seq", account=account, seq=seq)
    for fault in found:
        tx.execute("DELETE FROM faults WHERE seq = :seq", {"seq": fault.seq})
        journal.record(tx, EventType.FAULT_CHANGED, at_ms=at_ms, account=account, subject=fault.seq)
    return found


def delete_all(tx: Tx, account: str | None) -> None:
    """Remove the faults of an account, or of all, in a reset that announces itself."""
    tx.execute("DELETE FROM faults" + ("" if account is None else " WHERE account = :account"), {"account": account})
