"""A sandbox in a process of its own, as it is where gevent or eventlet have replaced this process's threads."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import testing
from sandbox.errors import SandboxError
from sandbox.settings import Settings
from sandbox.system import greenlets
from sandbox.testing import ExpectationFailed, Server
from sandbox.testkit import child_process
from sandbox.testkit.transport import Refused
from tests.conftest import EXAMPLE, PATIENCE_S, Receiver
from tests.processes import own_environment


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(greenlets, "replace_threads", lambda: True)
        with testing.start(max_text=50) as it:
            patch.undo()
            yield it


def test_it_is_the_tests_own_and_has_the_settings_that_were_given(server: Server, receiver: Receiver) -> None:
    assert server.in_process
    with server.account(client_url=receiver.url) as ninebits:
        handset = ninebits.handset()
        ninebits.client.submit({**EXAMPLE, "to": handset.number}, token=ninebits.token)
        assert handset.wait_for_message("*cinema?*")
        assert handset.reply("yesterday").status_code == 200
        with pytest.raises(Refused, match="50"):
            ninebits.client.submit({**EXAMPLE, "to": handset.number, "message": "x" * 51}, token=ninebits.token)
        ninebits.assert_clean(allow_refused=True)


def test_a_test_begins_at_the_present(server: Server) -> None:
    with server.account() as first:
        first.clock.advance(3600)
    with server.account() as second:
        assert abs(second.client.clock()["ahead_s"]) < 60
        assert first.account != second.account


def test_a_call_with_a_token_of_nobody_counts_against_the_test_in_which_it_comes(server: Server) -> None:
    for looks in (True, False):
        with server.account() as first:
            with pytest.raises(Refused):
                first.client.submit({**EXAMPLE}, token="the-wrong-token")
            if looks:
                with pytest.raises(ExpectationFailed, match="token that no account has"):
                    first.assert_clean()
        with server.account() as second:
            second.assert_clean()


def test_what_stands_in_the_way_of_its_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(port=taken.getsockname()[1], db=":memory:")
        with pytest.raises(SandboxError, match="Stop what listens there"), child_process.serving(settings):
            pass
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o700)
    for executable in (tmp_path / "missing", silent):
        monkeypatch.setattr(sys, "executable", str(executable))
        with pytest.raises(SandboxError, match="name it with --ninebits-url"), child_process.serving(settings):
            pass


def test_an_error_of_the_block_is_the_block_s_and_ends_it() -> None:
    with pytest.raises(BrokenPipeError), child_process.serving(Settings(port=0, db=":memory:")) as (url, _):
        raise BrokenPipeError
    host, port = url.removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=PATIENCE_S)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads, which no child here needs
def test_a_process_that_is_forked_meanwhile_does_not_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kill, killed = subprocess.Popen.kill, list[int]()

    def note(child: "subprocess.Popen[bytes]") -> None:
        killed.append(child.pid)
        kill(child)

    monkeypatch.setattr(subprocess.Popen, "kill", note)
    with child_process.serving(Settings(port=0, db=":memory:")):
        if (forked := os.fork()) == 0:
            signal.alarm(int(PATIENCE_S))
            signal.pause()  # with all that its parent had open, until it is killed
    os.kill(forked, signal.SIGKILL)
    os.waitpid(forked, 0)
    assert killed == []  # for not having ended by itself


PARENT = """
from sandbox.testkit import child_process
from sandbox.settings import Settings

with child_process.serving(Settings(port=0, db=":memory:")) as (url, _):
    print(url, flush=True)
    input()
"""


def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        (sys.executable, "-c", PARENT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=own_environment(),
    ) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline().strip().removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=PATIENCE_S) as sock:
            parent.kill()
            assert sock.recv(1) == b""  # it is closed at its end
