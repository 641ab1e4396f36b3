"""Commands, run in this process or in one of their own, on a terminal if need be. Nothing in here is a test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import IO, Any

from click.testing import CliRunner, Result

from sandbox.cli import main
from tests.conftest import PATIENCE_S, Bench

# Before click 8.2, standard error has to be asked for; since then it cannot be.
APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
PREFIX = "NINEBITS_SANDBOX_"
NUMBER = "2348020000000"

# A process that a shell started in the background ignores interrupts, and so do those that it starts.
INTERRUPTIBLE = """
import signal
from sandbox.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def environment(**more: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}, **more}


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs commands for the account of a bench, at its own address or another."""

    bench: Bench
    url: str = ""

    def environment(self) -> dict[str, str]:
        return {f"{PREFIX}URL": self.url or self.bench.sandbox.url, f"{PREFIX}ACCOUNT": self.bench.account}

    def __call__(self, *arguments: str, stdin: bytes | str | None = None, **env: str) -> Result:
        """What came of a command; an exception in it is raised here."""
        runner = CliRunner(env={**self.environment(), **env}, **APART)
        return runner.invoke(main, arguments, input=stdin, catch_exceptions=False)

    def json(self, *arguments: str, exit_code: int = 0) -> Any:
        """The JSON that a command prints."""
        done = self(*arguments, "--json")
        assert done.exit_code == exit_code, done.output
        return json.loads(done.stdout)

    def good(self, *arguments: str) -> str:
        """What a command prints that ends with 0."""
        done = self(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    @contextmanager
    def process(self, *arguments: str, stderr: int | IO[bytes] | None = None) -> Iterator[subprocess.Popen[str]]:
        """A command in a process of its own, killed at the end if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, *arguments],
            env=environment(**self.environment()),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def on_terminal(self, *arguments: str) -> tuple[str, str]:
        """What a command shows on a terminal: on stdout, and on stderr."""
        import pty

        ends = pty.openpty(), pty.openpty()
        done = subprocess.Popen(
            [sys.executable, "-m", "sandbox.cli", *arguments],
            env=environment(**self.environment()),
            stdout=ends[0][1],
            stderr=ends[1][1],
        )
        done.wait(PATIENCE_S)
        shown = []
        for reading, writing in ends:
            os.close(writing)
            shown.append(_read(reading))
        return shown[0], shown[1]


def _read(descriptor: int) -> str:
    read = b""
    try:
        while piece := os.read(descriptor, 65536):
            read += piece
    except OSError:  # the end of a terminal
        pass
    os.close(descriptor)
    return read.decode()
