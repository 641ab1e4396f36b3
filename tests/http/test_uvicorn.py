"""What we use of uvicorn beyond what it documents, in one list. An upgrade that takes any away fails here, by name.

`sandbox/http/limits.py` and `sandbox/http/server.py` derive from uvicorn's classes. What these do is held by the tests
of the two, of stops and of slow clients. pyproject.toml bounds the version from above; to raise the bound, run
everything.
"""

import ast
import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sandbox.http import limits
from sandbox.http import server as http_server

# Class of uvicorn -> names that we read, set, call or override.
PRIVATE = {
    HttpToolsProtocol: {
        "connections",  # all that are open, a set that the protocols share
        "cycle",  # request and answer that are under way, or were the last
        "flow",  # may be replaced once a connection is made
        "headers",  # of the request, as its callbacks bring them
        "parser",  # httptools' own
        "pipeline",  # (cycle, application) of requests that wait, the next one last
        "scope",  # of the request that was read last; None before the first
        "server_state",
        "transport",
        "url",  # of the request, as its callbacks bring it
        "connection_lost",
        "connection_made",
        "data_received",
        "on_headers_complete",
        "on_message_complete",
        "on_response_complete",  # sets a timer for each answer, which is why ours does without
        "shutdown",
    },
    RequestResponseCycle: {
        "disconnected",
        "message_event",  # wakes who waits for a body
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "transport",  # all that it writes to
    },
    ServerState: {"connections", "default_headers", "tasks", "total_requests"},
    FlowControl: {"pause_reading", "read_paused", "resume_reading"},
    uvicorn.Server: {
        "capture_signals",
        "config",
        "force_exit",
        "handle_exit",
        "lifespan",
        "main_loop",  # looks ten times a second
        "on_tick",  # counts tenths of a second
        "serve",
        "server_state",
        "servers",
        "should_exit",
        "shutdown",  # waits a tenth of a second
        "started",
        "startup",
    },
}


def instances() -> Iterator[object]:
    async def app(scope: object, receive: object, send: object) -> None:
        """Is never called."""

    config = uvicorn.Config(app, interface="asgi3", log_config=None, lifespan="off", ws="none")
    config.load()
    state = ServerState()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    server.servers = []
    wanted = inspect.signature(RequestResponseCycle.__init__).parameters
    yield from (state, server, FlowControl(asyncio.Transport()))
    protocol = HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())
    protocol.on_message_begin()
    yield protocol
    yield RequestResponseCycle(**dict.fromkeys(list(wanted)[1:]))  # type: ignore[arg-type]


@pytest.fixture
def names() -> dict[type, set[str]]:
    """The names that uvicorn's objects have."""

    async def found() -> dict[type, set[str]]:
        return {type(each): set(dir(each)) for each in instances()}

    return asyncio.run(found())


def test_uvicorn_still_has_what_we_use(names: dict[type, set[str]]) -> None:
    missing = {cls.__name__: sorted(used - names[cls]) for cls, used in PRIVATE.items()}
    assert {name: some for name, some in missing.items() if some} == {}


def test_the_list_has_all_that_we_use(names: dict[type, set[str]]) -> None:
    used = {
        node.attr
        for module in (limits, http_server)
        for node in ast.walk(ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    overridden = {name for cls in (limits.HttpConnection, limits._Flow, http_server.HttpServer) for name in vars(cls)}
    theirs = {name for some in names.values() for name in some if not name.startswith("__")}
    ours = {"_transport", "run"}  # of an answer, and of asyncio's runner
    listed = {name for some in PRIVATE.values() for name in some}
    assert (used | overridden) & theirs - ours == listed


def test_what_we_override_takes_the_same_arguments() -> None:
    pairs = [
        (limits.HttpConnection, HttpToolsProtocol),
        (limits._Flow, FlowControl),
        (http_server.HttpServer, uvicorn.Server),
    ]
    for ours, theirs in pairs:
        for name, method in vars(ours).items():
            if callable(method) and not name.startswith("__") and (other := getattr(theirs, name, None)):
                wanted = [each.name for each in inspect.signature(other).parameters.values()]
                assert [each.name for each in inspect.signature(method).parameters.values()] == wanted, name


def test_the_protocol_is_called_as_uvicorn_calls_it() -> None:
    taken = list(inspect.signature(HttpToolsProtocol.__init__).parameters)[1:]
    assert list(inspect.signature(limits.ConnectionLimits.protocol).parameters)[1:] == taken


def test_an_answer_is_sent_by_a_method_of_its_cycle() -> None:
    """Which is how `hosting.hang_up` finds the connection."""
    assert inspect.isfunction(RequestResponseCycle.send)
    assert next(iter(inspect.signature(RequestResponseCycle.send).parameters)) == "self"


def test_a_status_line_is_the_whole_first_line_of_an_answer() -> None:
    assert STATUS_LINE[408] == b"HTTP/1.1 408 Request Timeout\r\n"
