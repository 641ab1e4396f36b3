"""The pytest plugin: fixtures, a marker and report sections. See testing.py for what the fixtures give.

At the top only pytest is imported, the rest inside the fixtures, so that it costs nothing where no test uses it.
"""

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from sandbox.hostile import HostileEndpoint
    from sandbox.testing import AsyncHandset, AsyncSandbox, Handset, Sandbox, Server

T = TypeVar("T")

_MARKS = ("scenario", "strict", "settings", "allow_refused", "allow_failed_deliveries", "allow_unfinished")
_ALLOWED = tuple(name for name in _MARKS if name.startswith("allow_"))
_NO_SOCKET = "A test tried to use socket."  # pytest-socket

_sandbox = pytest.StashKey["Sandbox"]()  # of a test that uses one
_failed = pytest.StashKey[bool]()  # whether the test itself failed


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ninebits", "ninebits-sandbox")
    for name, metavar, what in (
        ("url", "URL", "Run tests against the sandbox at this address, instead of one in this process."),
        ("control-token", "TOKEN", "Control token of that sandbox."),
    ):
        ini = f"ninebits_{name.replace('-', '_')}"
        group.addoption(f"--ninebits-{name}", dest=ini, metavar=metavar, help=f"{what} Also {_environment(ini)}.")
        parser.addini(ini, what)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "ninebits(scenario=None, strict=True, settings={}, allow_refused=False, allow_failed_deliveries=False, "
        "allow_unfinished=False): the test's account on the sandbox, the scenario that is played, and what may have "
        "gone wrong when the test is over.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hook: add what happened on the sandbox to the report of a failed test."""
    report = yield
    if call.excinfo is not None:
        item.stash[_failed] = True
    if report.failed and report.when != "teardown" and (ninebits := item.stash.get(_sandbox, None)) is not None:
        from sandbox.testing import ExpectationFailed

        told = call.excinfo is not None and call.excinfo.errisinstance(ExpectationFailed)  # by the failure itself
        report.sections += [(f"ninebits {title}", text) for title, text in ninebits.report(brief=told)]
    return report


def _setting(config: pytest.Config, name: str) -> str | None:
    """From the command line, else the environment, else the ini file."""
    return config.getoption(name) or os.environ.get(_environment(name)) or config.getini(name) or None


def _environment(name: str) -> str:
    return name.upper().replace("NINEBITS_", "NINEBITS_SANDBOX_")


def _worker(name: str) -> int:
    """A number for a process of pytest-xdist: that of `gw3` is 3, that of a name that somebody chose is a long one."""
    import hashlib
    import re

    if found := re.fullmatch("gw(0|[1-9][0-9]{0,3})", name):
        return int(found[1])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])


@pytest.fixture(scope="session")
def ninebits_settings() -> Mapping[str, Any]:
    """Settings of the server in this process, such as `max_text`; override it with a fixture of your own."""
    return {}


@pytest.fixture(scope="session")
def ninebits_server(request: pytest.FixtureRequest, ninebits_settings: Mapping[str, Any]) -> "Iterator[Server]":
    """A sandbox: in a thread, on a free port, in memory, with a clock that stands still; or that of --ninebits-url."""
    worker = _worker(os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
    url, token = _setting(request.config, "ninebits_url"), _setting(request.config, "ninebits_control_token")
    with ExitStack() as stack:
        with _sockets():
            from sandbox import testing

            if url is None:
                server = testing.start(worker=worker, **ninebits_settings)
            else:
                server = testing.attach(url, token, run=os.environ.get("PYTEST_XDIST_TESTRUNUID"), worker=worker)
            started = _or_fail("There is no sandbox for the tests", lambda: stack.enter_context(server))
        yield started


@contextmanager
def _sockets() -> Iterator[None]:
    """Lift what pytest-socket has forbidden the test that comes first: all tests get the same sandbox, or its failure.

    What is imported here keeps the real socket for good, too.
    """
    if (guard := sys.modules.get("pytest_socket")) is None:
        yield
        return
    import _socket
    import socket

    guarded = {name: getattr(socket, name) for name in ("socket", "getaddrinfo", "gethostbyname")}
    guard.enable_socket()
    connect = socket.socket.connect
    socket.socket.connect = _socket.socket.connect  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        for name, value in guarded.items():
            setattr(socket, name, value)


@pytest.fixture
def ninebits(request: pytest.FixtureRequest, ninebits_server: "Server") -> "Iterator[Sandbox]":
    """An account of the test's own on a sandbox: what your application sends to `url` with `token`, and is sent."""
    request.node.stash[_failed] = False  # a test may be run again
    marked = _marked(request.node)
    settings = dict(marked.get("settings", {}))
    if "strict" in marked:
        settings["strict"] = marked["strict"]
    with ExitStack() as stack:
        account = ninebits_server.account(**settings)
        sandbox = _or_fail("The test's account cannot be made as marked", lambda: stack.enter_context(account))
        request.node.stash[_sandbox] = sandbox
        stack.callback(request.node.stash.__delitem__, _sandbox)
        if (scenario := marked.get("scenario")) is not None:
            beside = request.path.parent / scenario  # a file that stands by the test
            is_file = "\n" not in str(scenario) and beside.suffix in (".yaml", ".yml") and beside.is_file()
            chosen = beside if is_file else scenario
            _or_fail("The test's scenario cannot be played", lambda: sandbox.scenario(chosen))
        yield sandbox
        if not request.node.stash.get(_failed, False):
            allowed = {name: marked.get(name, False) for name in _ALLOWED}
            _or_fail("The test passed, but", lambda: sandbox.assert_clean(**allowed))


def _marked(node: pytest.Item) -> dict[str, Any]:
    """What `ninebits` marks say; the one nearest to the test has the last word."""
    marked: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("ninebits"))):
        for name in mark.kwargs:
            if name not in _MARKS:
                from sandbox.values.kinds import nearest

                pytest.fail(f"@pytest.mark.ninebits has no {name}. {nearest(name, _MARKS)}", pytrace=False)
        if mark.args:
            pytest.fail(f"@pytest.mark.ninebits takes names: {', '.join(_MARKS)}; not {mark.args!r}.", pytrace=False)
        settings = {**marked.get("settings", {}), **mark.kwargs.get("settings", {})}
        marked |= {**mark.kwargs, "settings": settings}
    return marked


def _or_fail(what: str, do: Callable[[], T]) -> T:
    """What is done, or a failure that says why not without a traceback through this plugin."""
    from sandbox.errors import SandboxError

    try:
        return do()
    except (SandboxError, OSError, AssertionError) as error:
        reason = str(error)
    except (RuntimeError, UserWarning) as error:  # the warning where warnings are errors
        if not str(error).startswith(_NO_SOCKET):
            raise
        what, reason = "The test may not reach the sandbox", f"{error} Allow it: pytest --allow-hosts=127.0.0.1."
    separator = "\n" if "\n" in reason else " "
    pytest.fail(f"{what}:{separator}{reason}", pytrace=False)


@pytest.fixture
def handset_factory(ninebits: "Sandbox") -> "Callable[..., Handset]":
    """`handset_factory(telco="mtn", label=None)`: one more handset, with a number that no other test has."""
    return ninebits.handset


@pytest.fixture
def handset(handset_factory: "Callable[..., Handset]") -> "Handset":
    """A handset with a number that no other test has."""
    return handset_factory()


@pytest.fixture
def ninebits_hostile() -> "Iterator[HostileEndpoint]":
    """An application that misbehaves: `ninebits.client_url = ninebits_hostile.url("hangs")`."""
    from sandbox.hostile import HostileEndpoint

    with HostileEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def async_ninebits(ninebits: "Sandbox") -> "AsyncSandbox":
    """The account of `ninebits`, for async tests: its methods are awaited, and do not block the event loop."""
    return ninebits.to_async()


@pytest.fixture
def async_handset_factory(async_ninebits: "AsyncSandbox") -> "Callable[..., AsyncHandset]":
    """As `handset_factory`, for async tests."""
    return async_ninebits.handset


@pytest.fixture
def async_handset(async_handset_factory: "Callable[..., AsyncHandset]") -> "AsyncHandset":
    """As `handset`, for async tests."""
    return async_handset_factory()
