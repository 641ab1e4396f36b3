"""The faults in memory, because every call asks for them, and the calls that they keep waiting.

A call takes a use of a fault in memory, in the order in which calls come; it is counted in the transaction that records
the call, and in memory after that commit. A use whose commit failed is given back. How an effect looks on the wire is
the gateway's and the dispatcher's to know.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from weakref import WeakSet

from sandbox.errors import Invalid
from sandbox.model import Fault, FaultOn, Message, Problem
from sandbox.rules import matching
from sandbox.rules.matching import Match
from sandbox.scenario.steps import MakeFault
from sandbox.store import faults
from sandbox.store.database import Tx
from sandbox.wire.problems import problem


def problem_of(fault: Fault, effect: str) -> Problem:
    """The problem that a record names when a fault struck; `effect` in words, `fault` as it stands with this use."""
    times = "once" if fault.used == 1 else f"{fault.used} times"
    count = f"{times} so far" if fault.times is None else f"{fault.used} of {fault.times}"
    return problem("fault", fault=fault.id, count=count, effect=effect)


class Use:
    """A call that a fault strikes, and, if the fault keeps it waiting, the end of that. `fault` counts this use, and
    those that calls before it have taken."""

    __slots__ = ("__weakref__", "_gone", "_over", "_taken", "fault", "live")

    @property
    def is_late(self) -> bool:
        """Whether the call gets its answer later, and has not got it yet."""
        effect = self.fault.effect
        return effect.delay_s > 0 and not effect.hold and not self._over.is_set()

    def __init__(self, live: "_LiveFault") -> None:
        live.taken += 1
        self.fault = replace(live.fault, used=live.fault.used + live.taken)
        self.live = live
        self._taken = True  # until it is counted or given back
        self._over = asyncio.Event()
        self._gone = False

    def give_back(self) -> None:
        """Leave the use to the next call, unless it is counted: nothing was recorded of this one."""
        if self._taken:
            self._taken = False
            self.live.taken -= 1

    def end(self, *, gone: bool = False) -> None:
        """Wait no longer: the fault or the client left, or with `gone` whatever the call was about."""
        self._gone = self._gone or gone
        self._over.set()

    async def wait(self) -> bool:
        """Let the fault's delay pass, or without end if it is a `hold`; less if `end` is called.

        False if what the call was about is gone: the account was reset or removed, or the sandbox stops.
        """
        effect = self.fault.effect
        try:
            async with asyncio.timeout(None if effect.hold else effect.delay_s):
                await self._over.wait()
        except TimeoutError:
            pass
        finally:
            self._over.set()
        return not self._gone


class _LiveFault:
    """A fault that is not used up, as it is stored, and how many uses calls have taken that are not counted yet.
    `match` is None when every call fits."""

    __slots__ = ("fault", "match", "taken")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.taken = 0
        self.match = _compiled(fault.match)


def _compiled(match: Mapping[str, object]) -> Match | None:
    if not match:
        return None
    found = matching.from_mapping(match)
    if isinstance(found, Match):
        return found
    raise Invalid(*((f"match.{name}", error) for name, error in found))


class LiveFaults:
    """The faults of all accounts in memory, and the calls that they keep waiting. Used in the event loop alone.

    `sendsms` and `webhook` hold the accounts that have such faults, and no others: to look there is all that a call
    costs that no fault strikes.
    """

    def __init__(self, stored: Iterable[Fault] = ()) -> None:
        self.sendsms: dict[str, list[_LiveFault]] = {}
        self.webhook: dict[str, list[_LiveFault]] = {}
        self._waiting: WeakSet[Use] = WeakSet()  # weak: a call that has ended needs nobody's attention
        self._closed = False
        for fault in stored:
            self.added(fault)

    def _on(self, on: FaultOn) -> dict[str, list[_LiveFault]]:
        return self.sendsms if on is FaultOn.SENDSMS else self.webhook

    # In a transaction; what is in memory follows after the commit.

    def add(self, tx: Tx, account: str, wanted: MakeFault, *, at_ms: int, run_seq: int | None = None) -> Fault:
        """Write a fault down; it strikes from the commit on.

        Raises Conflict if the account has as many as it may have, Invalid if its match cannot be used.
        """
        _compiled(wanted.match)  # what is wrong has to come to light before the commit
        fault = faults.add(tx, account, wanted, at_ms=at_ms, run_seq=run_seq)
        tx.then.append(partial(self.added, fault))
        return fault

    def count(self, tx: Tx, use: Use, at_ms: int) -> Fault:
        """Write down that a call was struck. Returns the fault as it stands then; one that is removed stays removed."""
        fault = faults.count(tx, use.fault, at_ms)
        if fault is None:
            return use.fault
        tx.then.append(partial(self.counted, use, fault))
        return fault

    def remove(self, tx: Tx, account: str, seq: int | None, *, at_ms: int) -> int:
        """Remove a fault of the account, or with None all of them, and let go of the calls that they keep waiting.

        Returns how many went.
        """
        removed = faults.remove(tx, account, seq, at_ms=at_ms)
        tx.then.extend(partial(self.removed, fault) for fault in removed)
        return len(removed)

    def delete_all(self, tx: Tx, account: str | None) -> None:
        """Remove the faults of an account, or of all, in a reset that announces itself."""
        faults.delete_all(tx, account)
        tx.then.append(partial(self.deleted, account))

    # In memory.

    def added(self, fault: Fault) -> None:
        """Let a fault strike from now on, after those that are there already."""
        self._on(fault.on).setdefault(fault.account, []).append(_LiveFault(fault))

    def take(self, on: FaultOn, account: str, message: Callable[[], Message | None]) -> Use | None:
        """A use of the first fault that the account's next call fits; None if no fault strikes it.

        `message` is asked for when a fault wants to know it; None is a call with no message that could be read.
        """
        for live in self._on(on).get(account, ()):
            if live.fault.left is not None and live.fault.left <= live.taken:
                continue
            if live.match is not None:
                found = message()
                if found is None or matching.differences(live.match, found):
                    continue
            use = Use(live)
            if self._closed:
                use.end(gone=True)
            self._waiting.add(use)
            return use
        return None

    def counted(self, use: Use, fault: Fault) -> None:
        """A use is stored; `fault` as it stands with it."""
        use.live.fault = fault
        use.give_back()
        if fault.left == 0:
            self._drop(fault)

    def delaying(self, account: str) -> bool:
        """Whether a call of the account, struck by a fault, gets its answer later than it came."""
        # Asked of each: one that has ended is among them for as long as the collector of garbage leaves it there.
        return any(use.is_late and use.fault.account == account for use in self._waiting)

    def _drop(self, fault: Fault) -> None:
        by_account = self._on(fault.on)
        left = [each for each in by_account.get(fault.account, ()) if each.fault.seq != fault.seq]
        if left:
            by_account[fault.account] = left
        else:
            by_account.pop(fault.account, None)

    def removed(self, fault: Fault) -> None:
        """Strike no more, and keep nobody waiting."""
        self._drop(fault)
        for use in list(self._waiting):
            if use.fault.seq == fault.seq:
                use.end()

    def deleted(self, account: str | None) -> None:
        """Drop the faults of an account, or of all, with the calls that wait there."""
        for by_account in (self.sendsms, self.webhook):
            if account is None:
                by_account.clear()
            else:
                by_account.pop(account, None)
        for use in list(self._waiting):
            if account in (None, use.fault.account):
                use.end(gone=True)

    def close(self) -> None:
        """The sandbox stops: keep nobody waiting any more."""
        self._closed = True
        for use in list(self._waiting):
            use.end(gone=True)
