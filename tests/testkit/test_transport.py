"""How calls travel: kept connections, what is sent again and what never, errors in words, and no blocked event loop."""

import asyncio
import contextlib
import inspect
import json
import os
import pickle
import pydoc
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from sandbox.errors import Unreachable
from sandbox.testkit.transport import (
    Awaiting,
    Blocking,
    CallPlan,
    HttpCall,
    PlanRunner,
    Refused,
    Transport,
    _Waiter,
    plan_method,
    plan_property,
)
from tests.conftest import PATIENCE_S


class Peer:
    """A server of canned answers. Each connection is one list of answers; at its end the connection is closed."""

    def __init__(self, *connections: list[bytes | None]) -> None:
        self.requests: list[bytes] = []
        self.opened = 0
        self._connections = list(connections)
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._sock.settimeout(PATIENCE_S)
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self.closed = threading.Semaphore(0)  # released with every connection that was closed
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with ThreadPoolExecutor() as pool:
            for answers in self._connections:
                try:
                    connection, _ = self._sock.accept()
                except OSError:
                    return
                self.opened += 1
                pool.submit(self._talk, connection, answers)

    def _talk(self, connection: socket.socket, answers: list[bytes | None]) -> None:
        with connection, connection.makefile("rb") as reader:
            connection.settimeout(PATIENCE_S)
            for answer in answers:
                if not self._take(reader):
                    break
                if answer is not None:
                    connection.sendall(answer)
        self.closed.release()

    def _take(self, reader: Any) -> bool:
        lines = []
        with contextlib.suppress(OSError):
            while (line := reader.readline()) not in (b"\r\n", b""):
                lines.append(line)
        if not lines:
            return False
        length = next((int(each.split(b":")[1]) for each in lines if each.lower().startswith(b"content-length")), 0)
        self.requests.append(b"".join([*lines, b"\r\n", reader.read(length)]))
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._sock.close()
        self._thread.join()


def answer(body: object, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


@contextlib.contextmanager
def peer(*connections: list[bytes | None], account: str | None = None) -> Iterator[tuple[Peer, "Desk"]]:
    server = Peer(*connections)
    transport = Transport(server.url)
    try:
        yield server, Desk(PlanRunner(transport, account))
    finally:
        transport.close()
        server.close()


class _Things:
    """What the tests ask for, written once."""

    @plan_method
    def one(self, name: str, *, method: str = "GET", body: object = None) -> CallPlan[Any]:
        """One thing."""
        return (yield HttpCall(method=method, path=name, body=body))

    @plan_method
    def submit(self) -> CallPlan[Any]:
        return (yield HttpCall(method="POST", path="/ng/v1/sendsms", body={}, token="a-token"))

    @plan_method
    def forgiving(self) -> CallPlan[str]:
        """A plan hears of a refusal where it asked, and may go on."""
        try:
            yield HttpCall(method="GET", path="first")
        except Refused as error:
            again = yield HttpCall(method="GET", path="second")
            return f"{error.status} {again['id']}"
        return "not refused"

    @plan_property
    def all(self) -> CallPlan[list[str]]:
        """All things."""
        return [each["id"] for each in (yield HttpCall(method="GET", path="things"))["things"]]


class Desk(_Things, Blocking):
    def __init__(self, runner: PlanRunner) -> None:
        self._runner = runner

    def to_async(self) -> "AsyncDesk":
        return AsyncDesk(self._runner)


class AsyncDesk(_Things, Awaiting):
    def __init__(self, runner: PlanRunner) -> None:
        self._runner = runner


# Verbs that are written once


def test_a_verb_returns_on_one_twin_and_is_awaited_on_the_other() -> None:
    with peer([answer({"id": "a"})], [answer({"id": "b"})]) as (_, context):
        assert context.one("things/a") == {"id": "a"}
        assert asyncio.run(context.to_async().one("things/b")) == {"id": "b"}


def test_an_attribute_that_asks_is_awaited_on_the_async_twin() -> None:
    things = answer({"things": [{"id": "a"}]})
    with peer([things], [things]) as (_, context):
        assert context.all == ["a"]

        async def main() -> list[str]:
            return await context.to_async().all

        assert asyncio.run(main()) == ["a"]


@pytest.mark.parametrize("twin", ["blocking", "awaited"])
def test_a_plan_hears_of_a_refusal_where_it_asked(twin: str) -> None:
    refusal, second = answer({"detail": "no"}, "409 Conflict"), answer({"id": "b"})
    connections = ([refusal, second],) if twin == "blocking" else ([refusal], [second])
    with peer(*connections) as (_, context):
        assert (context.forgiving() if twin == "blocking" else asyncio.run(context.to_async().forgiving())) == "409 b"


def test_verbs_explain_themselves() -> None:
    assert str(inspect.signature(Desk.one)) == "(self, name: str, *, method: str = 'GET', body: object = None) -> Any"
    assert inspect.iscoroutinefunction(AsyncDesk.one)
    assert not inspect.iscoroutinefunction(Desk.one)
    text = pydoc.plain(pydoc.render_doc(Desk))
    assert "one(self, name: str" in text
    assert "One thing." in text
    assert "All things." in text


# Connections


def test_calls_follow_each_other_on_one_connection() -> None:
    with peer([answer({"id": each}) for each in "abc"]) as (server, context):
        assert [context.one("x")["id"] for _ in range(3)] == ["a", "b", "c"]
        assert server.opened == 1


def test_threads_do_not_share_a_connection_at_the_same_time() -> None:
    with peer([answer({"id": "a"})], [answer({"id": "b"})]) as (server, context):
        both = threading.Barrier(2, timeout=PATIENCE_S)
        found: list[str] = []

        def ask() -> None:
            both.wait()
            found.append(context.one("x")["id"])

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(found) == 2
        assert server.opened <= 2


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads, which the child does not need
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_a_connection_of_its_own() -> None:
    with peer([answer({"id": "a"}), answer({"id": "c"})], [answer({"id": "b"})]) as (server, context):
        context.one("x")
        if (child := os.fork()) == 0:
            signal.alarm(int(PATIENCE_S))  # it ends, whatever happens to it
            os._exit(0 if context.one("y") == {"id": "b"} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert context.one("z") == {"id": "c"}
        assert server.opened == 2


def test_a_runner_that_is_sent_to_another_process_has_connections_of_its_own() -> None:
    """As multiprocessing does, where it starts processes anew."""
    with peer([answer({"id": "a"})], [answer({"id": "b"})], account="shop") as (_, context):
        context.one("x")
        copy = pickle.loads(pickle.dumps(context))
        assert (copy._runner.account, copy.one("y")) == ("shop", {"id": "b"})
        copy._runner.transport.close()


def test_a_connection_that_was_closed_while_it_waited_is_replaced() -> None:
    with peer([answer({"id": "a"})], [answer({"id": "b"})]) as (server, context):
        context.one("x")
        assert server.closed.acquire(timeout=PATIENCE_S)
        assert context.one("x", method="POST", body={}) == {"id": "b"}


def test_what_may_safely_be_repeated_is_sent_again() -> None:
    with peer([answer({"id": "a"}), None], [answer({"id": "b"})]) as (server, context):
        context.one("x")
        assert context.one("y") == {"id": "b"}
        assert server.opened == 2


@pytest.mark.parametrize("twin", ["blocking", "awaited"])
def test_what_may_have_been_carried_out_is_never_sent_again(twin: str, subtests: pytest.Subtests) -> None:
    """The server reads it and closes; whether it did what was asked, only it knows."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with (
            subtests.test(method),
            peer([answer({"id": "a"}), None], [answer({"id": "b"}), answer({"id": "c"})]) as (server, context),
        ):
            context.one("x")
            with pytest.raises(Unreachable, match=f"Whether this {method} was carried out is not known"):
                told(context, twin, method)
            assert sum(each.startswith(method.encode()) for each in server.requests) == 1
            assert context.one("y") == {"id": "b"}


@pytest.mark.parametrize("twin", ["blocking", "awaited"])
def test_an_answer_that_breaks_off_leaves_it_open_as_well(twin: str) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
    with (
        peer([begun]) as (_, context),
        pytest.raises(Unreachable, match="Whether this POST was carried out is not known"),
    ):
        told(context, twin, "POST")


@pytest.mark.parametrize("twin", ["blocking", "awaited"])
def test_an_answer_that_is_late_leaves_it_open_as_well(twin: str) -> None:
    with peer([None, None]) as (_, context):
        with pytest.raises(Unreachable, match=r"within 0\.02 s\. Whether this POST was carried out is not known"):
            told(context, twin, "POST", timeout_s=0.02)
        context._runner.transport.close()


def told(context: "Desk", twin: str, method: str, timeout_s: float = PATIENCE_S) -> None:
    """Make a call, blocking or awaited, whose answer is no matter."""

    def plan() -> CallPlan[None]:
        yield HttpCall(method=method, path="x", body={}, timeout_s=timeout_s)

    context._runner.run(plan()) if twin == "blocking" else asyncio.run(context._runner.run_async(plan()))


def test_a_call_that_cannot_have_been_read_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks while the request is still written, unseen before: half a request is none."""
    with peer([answer({"id": "a"})], [answer({"id": "b"})]) as (server, context):
        context.one("x")
        assert server.closed.acquire(timeout=PATIENCE_S)
        monkeypatch.setattr(
            "sandbox.testkit.transport._is_open", lambda sock: True
        )  # it closes only after that was asked
        (kept,) = context._runner.transport._idle
        kept.sock.shutdown(socket.SHUT_WR)
        assert context.one("y", method="POST", body={}) == {"id": "b"}


def test_a_call_to_the_gateway_is_never_sent_again() -> None:
    with peer([answer({"id": "a"}), None], [None], [answer({"id": "c"})]) as (server, context):
        context.one("x")
        with pytest.raises(Unreachable):
            context.submit()
        assert sum(each.startswith(b"POST /ng/v1/sendsms") for each in server.requests) == 1
        assert b"Authorization: Bearer a-token" in server.requests[-1]


def test_calls_to_the_gateway_need_no_connection_each() -> None:
    with peer([answer({"id": each}) for each in "abc"]) as (server, context):
        assert [context.submit()["id"] for _ in range(3)] == ["a", "b", "c"]
        assert server.opened == 1


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with peer([answer({"id": "a"})]) as (_, context):
        assert context.one("x") == {"id": "a"}


def test_closing_lets_go_of_kept_connections() -> None:
    with peer([answer({"id": "a"}), None]) as (server, context):
        context.one("x")
        context._runner.transport.close()
        assert server.closed.acquire(timeout=PATIENCE_S)


# What is asked


def test_the_account_is_named_and_values_are_written_as_in_json() -> None:
    with peer([answer({})], account="shop & co") as (server, context):
        call = HttpCall[Any](method="GET", path="x", query={"unowned": True, "to": None, "text": "*a b*"})
        assert context._runner.target(call) == "/_sandbox/v1/x?unowned=true&text=%2Aa+b%2A&account=shop+%26+co"
        assert context._runner.target(HttpCall(method="GET", path="/readyz")) == "/readyz"
        context.one("x")
        assert server.requests[0].startswith(b"GET /_sandbox/v1/x?account=shop+%26+co HTTP/1.1\r\n")


def test_lone_surrogates_reach_the_sandbox_as_json_escapes() -> None:
    with peer([answer({})]) as (server, context):
        context.one("x", method="POST", body={"text": "\ud800"})
        assert server.requests[0].endswith(b'{"text": "\\ud800"}')


@pytest.mark.parametrize("url", ["127.0.0.1:2081", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port", ""])
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(Unreachable, match=r"wanted one like http://127\.0\.0\.1:2081"):
        Transport(url)


# What comes back


def refusal_of(status: str, body: object) -> Refused:
    with peer([answer(body, status, "application/problem+json")]) as (_, context):
        with pytest.raises(Refused) as caught:
            context.one("x")
        return caught.value


def test_a_refusal_names_every_field() -> None:
    errors = [
        {"field": "limit", "message": "limit has to be a whole number."},
        {"field": "shortcode", "message": 'There is no "shortcode" here. Did you mean shortcodes?'},
        {"field": "source", "message": "There is no step expct.", "line": 3, "column": 5},
    ]
    error = refusal_of("400 Bad Request", {"title": "The call is invalid", "detail": "…", "errors": errors})
    assert str(error).splitlines() == [
        "The call is invalid",
        "  limit has to be a whole number.",
        '  There is no "shortcode" here. Did you mean shortcodes?',
        "  line 3, column 5: There is no step expct.",
    ]
    assert (error.status, error.exit_code, len(error.problem["errors"])) == (400, 2, 3)


def test_a_refusal_of_the_gateway_is_told_with_its_hints() -> None:
    errors = [{"field": "to", "code": "msisdn_malformed", "message": "to is wrong.", "hint": "Send digits."}]
    error = refusal_of("400 Bad Request", {"status_code": 400, "message": "1 field is invalid", "errors": errors})
    assert str(error) == "1 field is invalid\n  to is wrong. Send digits."


def test_a_refusal_without_fields_is_told_as_it_is() -> None:
    error = refusal_of("409 Conflict", {"title": "Not in this state", "detail": "It was delivered."})
    assert str(error) == "It was delivered."
    assert error.exit_code == 1


def test_an_answer_without_words_names_its_status() -> None:
    assert "502" in str(refusal_of("502 Bad Gateway", []))


def test_what_is_not_json_is_text() -> None:
    with peer([answer("48974: hello", content_type="text/plain")]) as (_, context):
        assert context.one("x") == "48974: hello"


def test_an_answer_without_a_body_is_an_empty_object() -> None:
    with peer([b"HTTP/1.1 204 No Content\r\n\r\n", answer({})]) as (_, context):
        assert context.one("x", method="DELETE") == {}


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH\r\n", answer("{", content_type="application/json")])
def test_what_is_no_sandbox_is_unreachable(said: bytes) -> None:
    with peer([said], [said]) as (_, context):
        with pytest.raises(Unreachable):
            context.one("x")
        with pytest.raises(Unreachable):
            asyncio.run(context.to_async().one("x"))


@pytest.mark.parametrize("twin", ["blocking", "awaited"])
def test_where_nothing_listens_the_remedy_is_named(twin: str) -> None:
    context = Desk(PlanRunner(Transport("http://127.0.0.1:1")))
    with pytest.raises(Unreachable, match="ninebits-sandbox serve"):
        context.one("x") if twin == "blocking" else asyncio.run(context.to_async().one("x"))


@pytest.mark.parametrize("twin", ["blocking", "awaited"])
def test_an_answer_that_does_not_come_is_told_with_its_time(twin: str) -> None:
    def plan() -> CallPlan[None]:
        yield HttpCall(method="GET", path="x", timeout_s=0.02)

    with peer([None, None]) as (_, context):
        runner = context._runner
        with pytest.raises(Unreachable, match=r"not answered within 0\.02 s"):
            runner.run(plan()) if twin == "blocking" else asyncio.run(runner.run_async(plan()))
        runner.transport.close()


# The event loop


def test_an_awaited_call_lets_the_loop_go_on() -> None:
    """The answer comes only after something else has run in the same loop."""
    go = threading.Event()

    class Late(Peer):
        def _take(self, reader: Any) -> bool:
            return super()._take(reader) and go.wait(PATIENCE_S)

    server = Late([answer({"id": "a"})])

    async def main() -> Any:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(AsyncDesk(PlanRunner(Transport(server.url))).one("x"))
            tasks.create_task(release())
        return asking.result()

    async def release() -> None:
        go.set()

    try:
        assert asyncio.run(main()) == {"id": "a"}
    finally:
        server.close()


def test_a_call_that_is_cancelled_lets_go_of_its_connection() -> None:
    with peer([None, None]) as (server, context):

        async def main() -> None:
            async with asyncio.timeout(0.05):
                await context.to_async().one("x")

        with pytest.raises(TimeoutError):
            asyncio.run(main())
        assert server.closed.acquire(timeout=PATIENCE_S)


def test_a_connection_that_was_given_back_is_not_ended_by_who_leaves_late() -> None:
    """It may carry somebody else's call by then."""
    looking, go, happened = threading.Event(), threading.Event(), list[str]()

    class Connection:
        @property
        def sock(self) -> Any:
            looking.set()
            go.wait(PATIENCE_S)
            return self

        def shutdown(self, how: int) -> None:
            happened.append("ended")

    def give_back() -> None:
        waiter.watch(None)
        happened.append("given back")

    waiter = _Waiter()
    waiter.watch(cast(Any, Connection()))
    leaving, giving = threading.Thread(target=waiter.leave), threading.Thread(target=give_back)
    leaving.start()
    assert looking.wait(PATIENCE_S)
    giving.start()
    giving.join(0.05)  # long enough for one that does not wait for the other
    go.set()
    leaving.join()
    giving.join()
    assert happened == ["ended", "given back"]
