"""SQL of the faults: failures that somebody asked for, those that are used up included."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sandbox.errors import Conflict
from sandbox.model import Drop, EventType, Fault, FaultEffect, FaultOn
from sandbox.scenario.steps import MakeFault
from sandbox.store import journal
from sandbox.store.database import Queries, Tx

KEPT = 1000  # faults of an account, those that are used up included


_FAULT = "SELECT seq, account, times, used, spec FROM faults "


def _to_fault(row: Sequence[Any]) -> Fault:
    spec: dict[str, Any] = json.loads(row[4])
    effect = spec["effect"]
    drop = None if effect["drop"] is None else Drop(effect["drop"])
    return Fault(
        seq=row[0],
        account=row[1],
        on=FaultOn(spec["on"]),
        match=spec["match"],
        times=row[2],
        used=row[3],
        effect=FaultEffect(**{**effect, "drop": drop}),
        run_seq=spec["run_seq"],
    )


def get(db: Queries, seq: int) -> Fault | None:
    row = db.execute(_FAULT + "WHERE seq = :seq", {"seq": seq}).fetchone()
    return _to_fault(row) if row else None


def page(db: Queries, *, account: str, before: int | None = None, limit: int = 50) -> Sequence[Fault]:
    """Faults of an account, newest first, those that are used up included."""
    older = "" if before is None else "AND seq < :before "
    rows = db.execute(
        f"{_FAULT} WHERE account = :account {older}ORDER BY seq DESC LIMIT :limit",
        {"account": account, "before": before, "limit": limit},
    )
    return [_to_fault(row) for row in rows]


def stored(db: Queries) -> Sequence[Fault]:
    """The faults of all accounts that are not used up, first added first."""
    return [_to_fault(row) for row in db.execute(_FAULT + "WHERE times IS NULL OR used < times ORDER BY seq")]


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
    spec = {"on": fault.on, "match": dict(fault.match), "effect": asdict(fault.effect), "run_seq": run_seq}
    tx.execute(
        "INSERT INTO faults (seq, account, times, used, spec) VALUES (:seq, :account, :times, 0, :spec)",
        {"seq": fault.seq, "account": account, "times": fault.times, "spec": json.dumps(spec)},
    )
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
    rows = tx.execute(f"{_FAULT} WHERE account = :account {one}ORDER BY seq", {"account": account, "seq": seq})
    removed = [_to_fault(row) for row in rows.fetchall()]
    for fault in removed:
        tx.execute("DELETE FROM faults WHERE seq = :seq", {"seq": fault.seq})
        journal.record(tx, EventType.FAULT_CHANGED, at_ms=at_ms, account=account, subject=fault.seq)
    return removed


def delete_all(tx: Tx, account: str | None) -> None:
    """Remove the faults of an account, or of all, in a reset that announces itself."""
    tx.execute("DELETE FROM faults" + ("" if account is None else " WHERE account = :account"), {"account": account})
