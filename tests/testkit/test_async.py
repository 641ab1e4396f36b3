"""The async twins: the same verbs awaited, in the event loop that serves the application itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from sandbox.testing import AsyncHandset, AsyncSandbox, ExpectationFailed, Sandbox
from sandbox.testkit.transport import Refused
from tests.conftest import EXAMPLE, PATIENCE_S


def in_loop(test: Callable[[AsyncSandbox], Coroutine[Any, Any, None]]) -> Callable[[Sandbox], None]:
    """Run an async test in an event loop of its own, for the account of `ninebits`; it may not hang."""

    def run(ninebits: Sandbox) -> None:
        asyncio.run(asyncio.wait_for(test(ninebits.to_async()), PATIENCE_S))

    run.__name__ = test.__name__
    return run


async def submit(ninebits: AsyncSandbox, to: str, text: str, session_id: str = "s1") -> None:
    body = {**EXAMPLE, "to": to, "message": text, "session_id": session_id}
    await ninebits.client.submit(body, token=ninebits.token)


@asynccontextmanager
async def application(ninebits: AsyncSandbox, status: int = 200) -> AsyncIterator[None]:
    """An application in the loop of the test: it answers a webhook after it has sent a message of its own."""

    answering: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        came = json.loads(await reader.readexactly(length))
        if status == 200:
            await submit(ninebits, came["from"], f"got {came['message']}", came["session_id"])
        writer.write(f"HTTP/1.1 {status} So\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    ninebits.client_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sms"
    async with server:
        yield
        await asyncio.gather(*(each for each in answering if each is not None))  # what waits for no answer has one


@in_loop
async def test_a_reply_is_answered_by_the_loop_that_awaits_it(ninebits: AsyncSandbox) -> None:
    handset = ninebits.handset()
    async with application(ninebits):
        await submit(ninebits, handset.number, "Been to the cinema?")
        question = await handset.wait_for_message("*cinema?")
        webhook = await handset.reply("yesterday")
        assert (webhook.state, webhook.status_code, webhook.response_body) == ("delivered", 200, "{}")
        assert [each.text for each in await webhook.caused] == ["got yesterday"]
        assert (await handset.wait_for_message()).session_id == question.session_id
        await handset.assert_no_message(within=0.01)
        assert (await webhook.redeliver()).id != webhook.id


@in_loop
async def test_a_conversation_is_one_call(ninebits: AsyncSandbox) -> None:
    handset = ninebits.handset()
    async with application(ninebits):
        assert (await handset.send("1", "48974")).status_code == 200
        came = await handset.converse([("got 1", "2"), ("got 2", "3"), "got 3"])
        assert [each.text for each in came] == ["got 1", "got 2", "got 3"]


@in_loop
async def test_values_are_those_of_the_last_verb_that_was_awaited(ninebits: AsyncSandbox) -> None:
    handset = ninebits.handset()
    async with application(ninebits, status=500):
        webhook = await handset.send("1", "48974", wait=False)
        await ninebits.clock.advance(3600)
        assert [each.offset_s for each in webhook.attempts] == [0, 30, 60, 120, 240, 480, 960, 1920, 3600]
        assert webhook.state == "exhausted"


@in_loop
async def test_what_a_reset_forgot_keeps_its_values_and_fails_no_verb(ninebits: AsyncSandbox) -> None:
    ninebits.client_url = "http://127.0.0.1:1/sms"
    webhook = await ninebits.handset().send("1", "48974", wait=False)
    run = await ninebits.scenario("silence")
    state = webhook.state
    await ninebits.reset()
    assert await ninebits.messages() == []
    assert (webhook.state, run.state) == (state, "running")


@in_loop
async def test_several_wait_at_once_in_one_loop(ninebits: AsyncSandbox) -> None:
    handsets = [ninebits.handset() for _ in range(20)]
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(handset.wait_for_message(timeout=PATIENCE_S)) for handset in handsets]
        for handset in handsets:
            tasks.create_task(submit(ninebits, handset.number, handset.number))
    assert [each.result().text for each in waiting] == [handset.number for handset in handsets]


@in_loop
async def test_what_the_account_holds_is_awaited(ninebits: AsyncSandbox) -> None:
    handset = ninebits.handset(label="Ada")
    assert await handset.last is None
    fault = await ninebits.fail_next(status=429)
    with pytest.raises(Refused):
        await submit(ninebits, handset.number, "one")
    await submit(ninebits, handset.number, "two")
    assert [each.status_code for each in await ninebits.requests] == [429, 200]
    assert [each.id for each in await ninebits.faults.all()] == [fault.id]
    assert (await ninebits.refused)[0].by_fault
    assert len(await ninebits.assert_sent("two")) == 1
    await ninebits.assert_not_sent("one")
    assert await ninebits.verify("two", exactly=1)
    assert await ninebits.webhook_deliveries == []
    assert await ninebits.findings == []
    assert "two" in await ninebits.transcript(handset)
    await ninebits.assert_clean()
    await ninebits.reset()
    assert await handset.messages() == []


@in_loop
async def test_a_failure_says_the_same(ninebits: AsyncSandbox) -> None:
    handset = ninebits.handset()
    await submit(ninebits, handset.number, "Which film?")
    with pytest.raises(ExpectationFailed, match=r"found +'Which film\?'"):
        await handset.wait_for_message("*cinema?", timeout=0.01)


@in_loop
async def test_a_run_is_awaited(ninebits: AsyncSandbox) -> None:
    handset = ninebits.handset()
    async with application(ninebits):
        steps = '- expect: {text: hello}\n  - reply: {text: hi, after: 2h}\n  - expect: {text: "got hi"}\n'
        run = await ninebits.scenario(f"scenario: greeting\nsteps:\n  {steps}", handset)
        await submit(ninebits, handset.number, "hello")
        await run.wait()
        assert run.finished


def test_a_wait_that_is_cancelled_ends_at_once(ninebits: Sandbox) -> None:
    async def main(handset: AsyncHandset) -> None:
        async with asyncio.timeout(0.02):
            await handset.wait_for_message(timeout=PATIENCE_S)

    with pytest.raises(TimeoutError):
        asyncio.run(main(ninebits.to_async().handset()))


def test_the_twin_is_of_the_same_account(ninebits: Sandbox) -> None:
    twin = ninebits.to_async()
    assert (twin.account, twin.token, twin.url) == (ninebits.account, ninebits.token, ninebits.url)


def test_the_verbs_are_awaited_in_trio_as_well(routed: Sandbox) -> None:
    twin = routed.to_async()
    handset = twin.handset()

    async def main() -> None:
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(submit, twin, handset.number, "Which film?")
                assert (await handset.wait_for_message()).text == "Which film?"
            assert (await handset.reply("Amélie")).state == "delivered"
            with trio.move_on_after(0.02) as scope:
                await handset.wait_for_message(timeout=PATIENCE_S)
            assert scope.cancelled_caught

    trio.run(main)
