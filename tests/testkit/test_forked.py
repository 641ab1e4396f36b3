"""A process that was forked in the middle of a test, as by multiprocessing or by a server with workers: its end is not
that of what its parent has."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from sandbox import testing
from sandbox.system import greenlets
from sandbox.testing import Server
from tests.conftest import PATIENCE_S

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # it has threads, which no child here needs
]


class InChild(BaseException):
    """Takes a child out of everything that its parent is in, as a `sys.exit` would."""


def fork(work: Callable[[], object]) -> None:
    """Do something in a child, which is then taken out of here by InChild."""
    if (child := os.fork()) == 0:
        signal.alarm(int(PATIENCE_S))  # it ends, whatever happens to it
        work()
        raise InChild
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b"{}"]


def whole_test(start: Callable[[], Any]) -> None:
    """Serve, fork, and go on using what there was before the child ended."""
    with start() as server, server.account() as ninebits:
        ninebits.client_url = application
        handset = ninebits.handset()
        assert handset.send("before", to="48974").state == "delivered"
        fork(lambda: handset.send("from the child", to="48974"))
        assert handset.send("after", to="48974").state == "delivered"
        assert [each.text for each in ninebits.messages(direction="mo")] == ["before", "from the child", "after"]


@pytest.mark.parametrize("where", ["in a thread", "in a child process", "elsewhere"])
def test_a_child_that_ends_removes_nothing_of_its_parents(
    server: Server, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greenlets, "replace_threads", lambda: where == "in a child process")
    try:
        whole_test((lambda: testing.attach(server.url)) if where == "elsewhere" else testing.start)
    except InChild:
        os._exit(0)


def test_the_accounts_of_a_child_and_its_parent_have_names_of_their_own(server: Server) -> None:
    reader, writer = os.pipe()

    def own() -> None:
        with server.account() as its:
            os.write(writer, its.account.encode())

    try:
        fork(own)
        with server.account() as mine:
            assert mine.account != os.read(reader, 100).decode()
    except InChild:
        os._exit(0)
    finally:
        os.close(reader)
        os.close(writer)
