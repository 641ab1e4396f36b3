"""Runs of scenarios, faults and the clock as objects for tests, blocking and async.

Methods are plans, as in handset.py. See failure_messages.py for the texts of failures.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Unpack

from sandbox.clock import stopwatch
from sandbox.errors import SandboxError
from sandbox.objects.derive import from_json
from sandbox.objects.scenarios import Fault, Miss
from sandbox.settings import visible
from sandbox.testkit import failure_messages
from sandbox.testkit.assertions import (
    CALLS,
    MOST,
    AccountFilters,
    Async,
    AsyncLiveObject,
    ExpectationFailed,
    LiveObject,
    OfAccount,
    Sync,
    SyncLiveObject,
    match_of,
    scenery,
)
from sandbox.testkit.transport import CallPlan, Json, Refused, plan_method

PATIENCE_S = 5.0  # with what has no time of its own
MOST_WAIT_S = 300.0  # in one call
POLL_S = 0.05  # between two looks at a run for which no message comes

_name = re.compile(r"^scenario:[ \t]*[\"']?([a-z0-9][a-z0-9_.-]{0,63})", re.MULTILINE)


class ScenarioInvalid(SandboxError):
    """A scenario cannot be read; every error is named by file, line and column."""


class ClockMethods(OfAccount):
    """The sandbox's clock, shared by all of its accounts."""

    @plan_method
    def advance(self, seconds: float) -> CallPlan[None]:
        """Let time pass, and return after everything that came due has run to its end."""
        yield CALLS.set_clock("advance", seconds)

    @plan_method
    def freeze(self) -> CallPlan[None]:
        """Let the clock stand still, as a virtual clock does from the start."""
        yield CALLS.set_clock("freeze")

    @plan_method
    def resume(self) -> CallPlan[None]:
        """Run on from the present moment."""
        yield CALLS.set_clock("resume")

    @plan_method
    def system(self) -> CallPlan[None]:
        """Run at the system's time. What is planned keeps its distance: nothing comes due at once because of it."""
        yield CALLS.set_clock("system")

    @plan_method
    def now(self) -> CallPlan[datetime]:
        """The time, in UTC."""
        return datetime.fromisoformat((yield CALLS.clock())["now"])


class Clock(ClockMethods, Sync):
    __doc__ = ClockMethods.__doc__


class AsyncClock(ClockMethods, Async):
    __doc__ = ClockMethods.__doc__


class FaultsMethods(OfAccount):
    """Failures that the test asks for: counted, and in the order in which calls come."""

    @plan_method
    def add(
        self,
        on: str = "sendsms",
        *,
        times: int | None = 1,
        status: int | None = None,
        body: str | None = None,
        delay_s: float | None = None,
        drop: str | None = None,
        hold: bool | None = None,
        text: str | None = None,
        **filters: Unpack[AccountFilters],
    ) -> CallPlan[Fault]:
        """Let the next `times` calls of `sendsms` or `webhook` fail; None: all of them.

        They are answered with `status` and `body`, after `delay_s` real seconds, or not at all: `drop` closes the
        connection (refused, accepted, body), `hold` keeps it open. `text` and filters choose among calls.
        """
        effect = {"status": status, "body": body, "delay_s": delay_s, "drop": drop, "hold": hold}
        match = match_of(text, filters, AccountFilters)
        return from_json(Fault, (yield CALLS.add_fault(on, effect, times=times, match=match)))

    @plan_method
    def all(self) -> CallPlan[list[Fault]]:
        """Those that there are, oldest first."""
        answer = yield CALLS.list("faults", limit=MOST)
        return [from_json(Fault, each) for each in reversed(answer["faults"])]

    @plan_method
    def remove(self, fault: Fault) -> CallPlan[None]:
        """Remove one; what it holds goes on."""
        yield CALLS.remove_fault(fault.id)

    @plan_method
    def clear(self) -> CallPlan[None]:
        """Remove them all."""
        yield CALLS.clear_faults()


class Faults(FaultsMethods, Sync):
    __doc__ = FaultsMethods.__doc__


class AsyncFaults(FaultsMethods, Async):
    __doc__ = FaultsMethods.__doc__


class RunMethods(LiveObject):
    """A run of a scenario. Its values are as fresh as those of a WebhookDelivery."""

    @property
    def scenario(self) -> str:
        name: str = self.shape["scenario"]
        return name

    @property
    def state(self) -> str:
        """running, finished, failed or stopped."""
        state: str = self._now()["state"]
        return state

    @property
    def finished(self) -> bool:
        """Whether every step was done."""
        return self.state == "finished"

    @property
    def reason(self) -> str:
        """Why it failed, in words; else empty."""
        reason: str = self._now()["reason"]
        return reason

    @property
    def misses(self) -> Sequence[Miss]:
        """Messages that it had no use for, the newest first."""
        return tuple(from_json(Miss, each) for each in self._now()["misses"])

    @property
    def settled(self) -> bool:
        return str(self.shape["state"]) != "running"

    def fetched(self) -> CallPlan[Json]:
        shape: Json = yield CALLS.get_run(self.scenario, self.id)
        return shape

    @plan_method
    def wait(self, *, timeout: float | None = None) -> CallPlan[None]:
        """Return once every step is done. Raises ExpectationFailed if it fails, or is not done in real seconds.

        Without `timeout` each step has the time that the scenario gives it, and those that it gives none 5 s in all.
        """
        __tracebackhide__ = True
        if not self.shape["steps"]:
            raise ValueError(f"{self.scenario} has rules and no steps: it goes on for ever, so nothing can be awaited.")
        yield from self.played(PATIENCE_S if timeout is None else timeout, in_its_own_time=timeout is None)
        if self.shape["state"] != "finished":
            raise ExpectationFailed((yield from self.told()))

    def played(self, seconds: float, *, in_its_own_time: bool = True) -> CallPlan[None]:
        """Return when it has ended, or after real seconds; but on a clock that stands still not before everything has
        happened that is planned, in the time that each step gives."""
        begun, seen = stopwatch(), 0
        while True:
            self.shape = yield from self.fetched()
            if self.settled:
                return
            clock = yield CALLS.clock()
            patience, gone = self._patience(clock), stopwatch() - begun
            left = seconds - gone
            if in_its_own_time and gone < MOST_WAIT_S and self._planned(clock) is not None:
                left = max(left, patience)
            if left <= 0:
                return
            # A clock that stands still may jump in this wait.
            answer = yield CALLS.wait(timeout=min(left, patience, MOST_WAIT_S), after=seen)
            seen = answer["seq"]

    def _patience(self, clock: Json) -> float:
        """How long to wait for a message before the next look at the run, in seconds."""
        due = self._planned(clock)
        if due is None or due["kind"] != "window":
            return POLL_S
        # The time that a step gives the application has to pass in earnest before a clock that stands still jumps.
        gap = datetime.fromisoformat(due["due_at"]) - datetime.fromisoformat(clock["now"])
        return gap.total_seconds() + POLL_S

    def _planned(self, clock: Json) -> Json | None:
        """What comes next for the account on a clock that stands still."""
        mine: list[Json] = [each for each in clock["due"] if each["account"] == self._context.name]
        return mine[0] if mine and clock["frozen"] else None

    @plan_method
    def stop(self) -> CallPlan[None]:
        """End it; what it had planned does not happen."""
        self.shape = yield CALLS.stop_run(self.scenario, self.id)

    def told(self) -> CallPlan[str]:
        """The run's state in words."""
        it = self.shape
        where = f"The scenario {it['scenario']} is {it['state']} at step {it['step'] + 1} of {it['steps']}"
        if it["state"] == "finished":
            where = f"The scenario {it['scenario']} is finished"
        headline = f"{where}{': ' if it['reason'] else '.'}{visible(it['reason'])}"
        misses = failure_messages.misses([from_json(Miss, each) for each in it["misses"]])
        scene = yield from scenery(self._context, it["msisdn"] or "")
        return failure_messages.failed("\n\n".join(filter(None, [headline, misses])), scene)


class Run(RunMethods, SyncLiveObject):
    __doc__ = RunMethods.__doc__


class AsyncRun(RunMethods, AsyncLiveObject):
    __doc__ = RunMethods.__doc__


def known_scenario(scenario: str | Path) -> CallPlan[str]:
    """The name under which the sandbox knows a scenario, which is told to it first if it is a file or YAML."""
    if isinstance(scenario, str) and "\n" not in scenario and not scenario.endswith((".yaml", ".yml")):
        return scenario
    if isinstance(scenario, str) and "\n" in scenario:
        place, source = "scenario", scenario
    else:
        place, source = str(scenario), Path(scenario).read_text(encoding="utf-8")
    named = _name.search(source)
    name = named[1] if named else "unnamed"  # which the sandbox will complain about
    try:
        yield CALLS.put_scenario(name, source)
    except Refused as error:
        errors = [each for each in error.problem.get("errors", ()) if each.get("line")]
        if not errors:
            raise
        lines = [f"{place}:{each['line']}:{each['column']}: {each['message']}" for each in errors]
        raise ScenarioInvalid("\n".join(map(visible, lines))) from None
    return name
