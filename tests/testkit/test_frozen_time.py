"""Tests whose time stands still or jumps, by freezegun, time-machine or a patch of their own: what they wait for takes
real seconds all the same, on both kinds of event loop, and the sandbox's moments stay the machine's."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import freezegun
import pytest
import time_machine

from sandbox import testing
from sandbox.errors import Unreachable
from sandbox.hostile import HostileEndpoint
from sandbox.testing import ExpectationFailed, Handset, Sandbox, Server
from sandbox.testkit.transport import CallPlan, HttpCall, PlanRunner, Transport
from tests.conftest import EXAMPLE, PATIENCE_S, Receiver

Serve = Callable[..., AbstractContextManager[Server]]


@contextmanager
def patched() -> Iterator[None]:
    """The functions of `time` replaced, as by a test's own hand."""
    with ExitStack() as stack:
        for name in ("time", "monotonic", "perf_counter"):
            stack.enter_context(mock.patch(f"time.{name}", return_value=42.0))
            stack.enter_context(mock.patch(f"time.{name}_ns", return_value=42_000_000_000))
        yield


STOPPED: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "freezegun": lambda: freezegun.freeze_time("2024-01-02"),
    "freezegun, ticking": lambda: freezegun.freeze_time("2024-01-02", tick=True),
    "freezegun, in steps": lambda: freezegun.freeze_time("2024-01-02", auto_tick_seconds=15),
    "freezegun, real_asyncio": lambda: freezegun.freeze_time("2024-01-02", real_asyncio=True),
    "time-machine": lambda: time_machine.travel("2024-01-02", tick=False),
    "patches": patched,
}


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Start a sandbox on an event loop of this kind; asyncio's asks `time.monotonic`, unless it is told otherwise."""

    @contextmanager
    def start(**settings: Any) -> Iterator[Server]:
        lacking = {"uvloop": None} if request.param == "asyncio" else {}
        with mock.patch.dict(sys.modules, lacking), testing.start(**settings) as server:
            yield server

    return start


@pytest.fixture(scope="module")
def server(serve: Serve) -> Iterator[Server]:
    with serve() as it:
        yield it
        it.client.close()


def test_a_wait_in_vain_is_over_after_its_real_seconds(handset: Handset, subtests: pytest.Subtests) -> None:
    for name, stop in STOPPED.items():
        with subtests.test(name), stop(), pytest.raises(ExpectationFailed, match=r"within 0\.05 s"):
            handset.wait_for_message("never", timeout=0.05)


def test_an_awaited_one_as_well(ninebits: Sandbox, handset: Handset, subtests: pytest.Subtests) -> None:
    twin = ninebits.to_async().handset(handset.number)
    for name, stop in STOPPED.items():
        with subtests.test(name), stop(), pytest.raises(ExpectationFailed, match=r"within 0\.05 s"):
            asyncio.run(twin.wait_for_message("never", timeout=0.05))


def test_time_that_jumps_does_not_end_a_wait(ninebits: Sandbox, handset: Handset) -> None:
    twin = ninebits.to_async()
    waiter = twin.handset(handset.number)

    async def main() -> str:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(waiter.wait_for_message("hello", timeout=PATIENCE_S))
            await waiter.messages()
            with freezegun.freeze_time("2024-01-02") as frozen:
                await waiter.messages()
                frozen.tick(timedelta(days=1))
                await waiter.messages()
            await twin.client.submit({**EXAMPLE, "to": handset.number, "message": "hello"}, token=twin.token)
        return waiting.result().text

    assert asyncio.run(main()) == "hello"


def test_an_answer_that_never_comes_is_given_up_after_its_real_seconds(subtests: pytest.Subtests) -> None:
    def plan() -> CallPlan[None]:
        yield HttpCall(method="GET", path="x", timeout_s=0.05)

    with HostileEndpoint() as endpoint:
        runner = PlanRunner(Transport(endpoint.url("hangs")))
        for name, stop in STOPPED.items():
            with subtests.test(name), stop(), pytest.raises(Unreachable, match=r"within 0\.05 s"):
                asyncio.run(runner.run_async(plan()))


def test_a_webhook_has_its_deadline_and_its_retry(serve: Serve, subtests: pytest.Subtests) -> None:
    """An application that hangs, and then one that is told again, a second later."""
    with (
        HostileEndpoint() as endpoint,
        serve(webhook_deadline_s=0.05) as server,
        server.account(client_url=endpoint.url("hangs"), retry=[1]) as ninebits,
    ):
        for name, stop in STOPPED.items():
            with subtests.test(name), stop():
                webhook = ninebits.handset().send("hello")
                ninebits.clock.advance(1)
                assert [each.offset_s for each in webhook.attempts] == [0, 1]
        ninebits.client_url = endpoint.healthy_url


def test_a_clock_that_runs_goes_by_the_machines(serve: Serve, receiver: Receiver, subtests: pytest.Subtests) -> None:
    with serve(clock="system") as server, server.account(client_url=receiver.url) as ninebits:
        for number, (name, stop) in enumerate(STOPPED.items(), 1):
            with subtests.test(name), stop():
                run = ninebits.scenario(
                    'scenario: late\nsteps:\n  - send: {text: hi, to: "48974", after: 50ms}\n', ninebits.handset()
                )
                receiver.wait_for(number)
                run.wait()


def test_the_sandboxs_moments_stay_the_machines(server: Server, subtests: pytest.Subtests) -> None:
    """Whether a clock runs or stands still where its test began: it is of the network, not of the application."""
    for name, stop in STOPPED.items():
        begun = datetime.now(UTC)  # noqa: TID251
        with subtests.test(name), stop(), server.account() as ninebits:
            assert abs(ninebits.clock.now() - begun) < timedelta(minutes=1)
            assert abs(server.client.clock()["ahead_s"]) < 60
