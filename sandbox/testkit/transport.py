"""HTTP transport of the clients, blocking and async, and decorators by which a method is written once for both.

The standard library, and anyio where a call is awaited. See client.py for the calls that there are.
"""

import inspect
import json
import os
import re
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import update_wrapper, wraps
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from socket import MSG_PEEK, SHUT_RDWR, socket
from threading import Lock
from types import MethodType
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar, cast, get_args, overload
from urllib.parse import urlencode, urlsplit

from sandbox.errors import SandboxError, Unreachable

Json = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT_S = 40.0  # for an answer
KEPT = 8  # connections that wait for their next request
SAFE = ("GET", "HEAD")  # may be sent again when nobody knows whether they were carried out (RFC 9110, 9.2.1)


class Refused(SandboxError):
    """The sandbox answered with an error: `status` and `problem`, its whole body."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem
        self.exit_code = 2 if status in (400, 401, 403, 415) else 1
        errors = problem.get("errors") or ()
        said = problem.get("title" if errors else "detail") or problem.get("message") or f"It answered {status}."
        super().__init__("\n".join([str(said), *(f"  {_error(each)}" for each in errors)]))


def _error(error: Json) -> str:
    name, said = error.get("field"), str(error.get("message"))
    if error.get("line"):
        said = f"line {error['line']}, column {error.get('column')}: {said}"
    elif name and not re.search(rf"\b{re.escape(str(name))}\b", said):
        said = f"{name}: {said}"
    return f"{said} {error.get('hint') or ''}".rstrip()


@dataclass(frozen=True, kw_only=True)  # with slots too, Python 3.11 could not make a Call[str]
class HttpCall(Generic[T]):
    """One request to a sandbox, whose answer is a T: an object of JSON, or the text of anything else."""

    method: str
    path: str  # within the control API, or with a slash in front from the sandbox's root
    query: Mapping[str, object] = field(default_factory=dict)
    body: object = None  # sent as JSON; bytes are sent as they are
    token: str | None = None  # of the gateway; without it, the control token
    timeout_s: float = TIMEOUT_S


CallPlan = Generator[HttpCall[Any], Any, T]
"""What a method does: a generator that yields calls, is sent their answers, and returns a result."""


class Wire(NamedTuple):
    """A request as it is sent."""

    method: str
    target: str
    body: bytes | None
    headers: Mapping[str, str]
    timeout_s: float


Answer = tuple[int, str, bytes]
"""Status, content type, body."""


# How a call travels ------------------------------------------------------------------------------------------------


class _Lost(Exception):
    """An exchange that failed with `error`. `whole`: all of the request went out, so that it may be carried out."""

    def __init__(self, error: OSError | HTTPException, whole: bool) -> None:
        self.error = error
        self.whole = whole


class _Waiter:
    """Cancellation of a call that a thread makes for an awaiting task: when it calls `leave`, the connection ends."""

    def __init__(self) -> None:
        self._left = False
        self._connection: HTTPConnection | None = None
        self._lock = Lock()  # a connection is not ended while it goes on to whoever calls next

    def leave(self) -> None:
        with self._lock:
            self._left = True
            if (connection := self._connection) is not None and (sock := connection.sock) is not None:
                with suppress(OSError):  # it is closed already
                    sock.shutdown(SHUT_RDWR)  # which wakes the thread, as closing does not

    def watch(self, connection: HTTPConnection | None) -> None:
        """What to end from now on. Raises ConnectionAbortedError if nobody waits any more."""
        with self._lock:
            self._connection = connection
            if self._left and connection is not None:
                raise ConnectionAbortedError("Nobody waits for the answer.")


class Transport:
    """HTTP/1.1 to one sandbox, for any number of threads, event loops and forked processes.

    Connections are kept for the next call of the same process. Proxies of the environment are not asked: a sandbox is
    never behind one. Raises Unreachable with the remedy.
    """

    def __init__(self, url: str, control_token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.control_token = control_token
        parts = urlsplit(self.url)
        try:
            self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:  # a port that is no number
            self._host = ""
        if parts.scheme not in ("http", "https") or not self._host:
            raise Unreachable(f"{url!r} is no address of a sandbox; wanted one like http://127.0.0.1:2081.")
        self._tls = parts.scheme == "https"
        self._prefix = parts.path
        self._idle: list[HTTPConnection] = []
        self._process = os.getpid()  # whose the idle connections are
        weakref.finalize(self, _close_all, self._idle)

    def __reduce__(self) -> tuple[type["Transport"], tuple[str, str | None]]:
        """In another process it has connections of its own."""
        return Transport, (self.url, self.control_token)

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        _close_all(self._idle)

    def send(self, wire: Wire, waiter: _Waiter | None = None) -> Answer:
        """Make a request and read its answer.

        It is sent a second time only if it was not read, on a connection that was closed while it waited, or if it is
        SAFE.
        """
        waiter = waiter or _Waiter()
        try:
            if (kept := self._kept(wire.timeout_s)) is not None:
                try:
                    return self._exchange(kept, wire, waiter)
                except _Lost as lost:
                    if not isinstance(lost.error, ConnectionError) or (lost.whole and wire.method not in SAFE):
                        raise
            return self._exchange(self._connect(wire.timeout_s), wire, waiter)
        except _Lost as lost:
            said = self._unreachable(lost.error, wire.timeout_s)
            if lost.whole and wire.method not in SAFE:
                said = self._doubtful(wire, said if isinstance(lost.error, TimeoutError) else None)
            raise said from None

    def _exchange(self, connection: HTTPConnection, wire: Wire, waiter: _Waiter) -> Answer:
        whole = False
        try:
            if connection.sock is None:
                connection.connect()
            waiter.watch(connection)
            with suppress(BrokenPipeError, ConnectionResetError):  # an answer may come before all of a body went
                connection.request(wire.method, self._prefix + wire.target, wire.body, dict(wire.headers))
                whole = True
            with connection.getresponse() as response:
                found = response.status, response.headers.get_content_type(), response.read()
            waiter.watch(None)
        except (OSError, HTTPException) as error:
            connection.close()
            raise _Lost(error, whole) from None
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None and not self._tls and len(self._idle) < KEPT:
            self._idle.append(connection)
        else:
            connection.close()
        return found

    async def send_async(self, wire: Wire) -> Answer:
        """As `send`, in a thread, without blocking the event loop, be it asyncio's or trio's.

        What is waited for is a socket, whose time-out is in real seconds whatever time a test tells the loop.
        """
        from anyio import CapacityLimiter, to_thread  # 50 ms that a command line does not need

        waiter, alone = _Waiter(), CapacityLimiter(1)  # as many threads as calls: one may wait for what another does
        try:
            return await to_thread.run_sync(self.send, wire, waiter, abandon_on_cancel=True, limiter=alone)
        finally:
            waiter.leave()

    def stream(
        self,
        target: str,
        headers: Mapping[str, str],
        pieces: Callable[[HTTPResponse], Iterable[bytes]] = iter,
    ) -> Iterator[bytes]:
        """An answer that is long or has no end, on a connection of its own: its lines, or what `pieces` makes of it."""
        connection = self._connect(None)
        try:
            connection.request("GET", self._prefix + target, None, dict(headers))
            with connection.getresponse() as response:
                if response.status != 200:
                    _checked(response.status, response.headers.get_content_type(), response.read(), self.url)
                yield from pieces(response)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error, None) from None
        finally:
            connection.close()

    def _kept(self, timeout_s: float) -> HTTPConnection | None:
        """A connection that waits for its next request, if there is one."""
        if self._process != os.getpid():  # forked: they are the other process's, which goes on to use them
            _close_all(self._idle)
            self._process = os.getpid()
        while self._idle:
            try:
                kept = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if _is_open(kept.sock):
                kept.sock.settimeout(timeout_s)
                return kept
            kept.close()
        return None

    def _connect(self, timeout_s: float | None) -> HTTPConnection:
        if self._tls:
            return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=_tls_context())
        return HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _unreachable(self, error: Exception, timeout_s: float | None) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable(f"The sandbox at {self.url} has not answered within {timeout_s:g} s.")
        return Unreachable(
            f"No sandbox answers at {self.url} ({error or type(error).__name__}). Start one with: ninebits-sandbox "
            "serve; or name its address with --url or NINEBITS_SANDBOX_URL."
        )

    def _doubtful(self, wire: Wire, late: Unreachable | None) -> Unreachable:
        said = late or f"The sandbox at {self.url} closed the connection before it had answered."
        return Unreachable(
            f"{said} Whether this {wire.method} was carried out is not known: look there before you send it again."
        )


def _close_all(connections: list[HTTPConnection]) -> None:
    while connections:
        connections.pop().close()


def _is_open(sock: socket) -> bool:
    """Whether the other side has not closed a connection that waits."""
    try:
        sock.setblocking(False)
        sock.recv(1, MSG_PEEK)  # its end, or bytes that nobody asked for
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _tls_context() -> Any:
    import ssl

    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class PlanRunner:
    """Runs plans over a transport, in the name of one account (None: the default one)."""

    transport: Transport
    account: str | None = None

    def run(self, plan: CallPlan[T]) -> T:
        """Make the calls of a plan one after the other, and return its result."""
        __tracebackhide__ = True
        try:
            call = next(plan)
            while True:
                try:
                    answer = _checked(*self.transport.send(self._wire(call)), self.transport.url)
                except SandboxError as error:
                    call = plan.throw(error)
                else:
                    call = plan.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def run_async(self, plan: CallPlan[T]) -> T:
        """As `run`, without blocking the event loop."""
        __tracebackhide__ = True
        try:
            call = next(plan)
            while True:
                try:
                    answer = _checked(*await self.transport.send_async(self._wire(call)), self.transport.url)
                except SandboxError as error:
                    call = plan.throw(error)
                else:
                    call = plan.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def target(self, call: HttpCall[Any]) -> str:
        if call.path.startswith("/"):
            return call.path
        given = {name: _in_query(value) for name, value in call.query.items() if value is not None}
        if self.account is not None:
            given["account"] = self.account
        return f"/_sandbox/v1/{call.path}" + (f"?{urlencode(given)}" if given else "")

    def headers(self, call: HttpCall[Any]) -> Mapping[str, str]:
        token = call.token or self.transport.control_token
        made = {"Content-Type": "application/json"}  # which a control API takes for whatever changes something
        return {**made, "Authorization": f"Bearer {token}"} if token else made

    def _wire(self, call: HttpCall[Any]) -> Wire:
        body = call.body if call.body is None or isinstance(call.body, bytes) else json.dumps(call.body).encode()
        return Wire(call.method, self.target(call), body, self.headers(call), call.timeout_s)


def _in_query(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _checked(status: int, content_type: str, body: bytes, url: str) -> Any:
    """The content of an answer. Raises Refused if that is an error, Unreachable if it is no sandbox's."""
    found: Any = {}
    if is_json := content_type in ("application/json", "application/problem+json"):
        try:
            found = json.loads(body)
        except ValueError:
            raise Unreachable(f"What answers at {url} is no sandbox: its JSON is none.") from None
    if status >= 300:
        raise Refused(status, found if isinstance(found, dict) else {})
    return found if is_json or status == 204 else body.decode(errors="replace")


# Methods that are written once -------------------------------------------------------------------------------------


class Blocking:
    """Base of objects whose plan methods block: they return when they are done."""

    _runner: PlanRunner

    def _drive(self, plan: CallPlan[T]) -> T:
        __tracebackhide__ = True
        return self._runner.run(plan)


class Awaiting:
    """Base of objects whose plan methods are awaited."""

    _runner: PlanRunner

    async def _drive(self, plan: CallPlan[T]) -> T:
        __tracebackhide__ = True
        return await self._runner.run_async(plan)


class plan_method(Generic[P, T]):
    """Decorator of a method written as a plan: it returns a T on a Blocking object, and is awaited on an Awaiting one.

    Plan methods do not call each other through `self`, which would run them instead of joining their plans; what two of
    them share is a plain generator method.
    """

    def __init__(self, plan: Callable[Concatenate[Any, P], CallPlan[T]]) -> None:
        @wraps(plan)
        def at_once(it: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
            __tracebackhide__ = True
            result: T = it._drive(plan(it, *args, **kwargs))
            return result

        @wraps(plan)
        async def awaited(it: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
            __tracebackhide__ = True
            result: T = await it._drive(plan(it, *args, **kwargs))
            return result

        signature = inspect.signature(plan)
        result = get_args(signature.return_annotation)[-1]
        said = signature.replace(return_annotation=None if result is type(None) else result)
        at_once.__signature__ = awaited.__signature__ = said  # type: ignore[attr-defined]
        self._at_once, self._awaited = at_once, awaited
        update_wrapper(cast(Any, self), plan)

    @overload
    def __get__(self, it: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, it: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, it: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, it: object, owner: type) -> Any:
        function = self._awaited if issubclass(owner, Awaiting) else self._at_once
        return function if it is None else MethodType(function, it)


class plan_property(property, Generic[T]):
    """Read-only property that makes a call: its value on a Blocking object, an awaitable on an Awaiting one."""

    def __init__(self, plan: Callable[[Any], CallPlan[T]]) -> None:
        super().__init__(lambda it: it._drive(plan(it)))
        self.__doc__ = plan.__doc__

    @overload
    def __get__(self, it: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, it: Blocking, owner: type | None = None) -> T: ...
    @overload
    def __get__(self, it: Awaiting, owner: type | None = None) -> Coroutine[Any, Any, T]: ...
    def __get__(self, it: Any, owner: type | None = None) -> Any:
        return super().__get__(it, owner)


class endpoint(Generic[P, T]):
    """Decorator of a method that describes one call: it makes the call on a Blocking or Awaiting object, and returns
    the HttpCall itself on any other."""

    def __init__(self, describe: Callable[Concatenate[Any, P], HttpCall[T]]) -> None:
        @wraps(describe)
        def plan(it: Any, /, *args: P.args, **kwargs: P.kwargs) -> CallPlan[T]:
            answer: T = yield describe(it, *args, **kwargs)
            return answer

        self._method = plan_method(plan)
        self._describe = describe
        update_wrapper(cast(Any, self), describe)

    @overload
    def __get__(self, it: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, it: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, it: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, it: object, owner: type) -> Callable[P, HttpCall[T]]: ...
    def __get__(self, it: object, owner: type) -> Any:
        if it is None or isinstance(it, Blocking | Awaiting):
            return self._method.__get__(it, owner)
        return MethodType(self._describe, it)
