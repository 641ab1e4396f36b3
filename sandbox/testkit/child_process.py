"""A sandbox in a child process, for tests whose own process cannot host one: python -m sandbox.testkit.child_process.

The child gets its settings on stdin, prints where it answers, and ends when stdin says so, or ends with its parent. The
end of stdin alone would come too late where a process was forked from the parent: that holds it open, too.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sandbox.errors import SandboxError
from sandbox.settings import Settings

STOP_S = 10.0  # for the child's end
END = b"."  # what tells it to
_INSTEAD = "Run a sandbox by itself (ninebits-sandbox serve), and name it with --ninebits-url."


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Serve in a child process while the block runs; yields the address and the control token.

    Raises SandboxError with what the child said if it cannot start.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = (sys.executable, "-P", "-m", "sandbox.testkit.child_process")  # with this process's modules, no folder's
    given, parent = pickle.dumps(settings), os.getpid()
    try:
        child = subprocess.Popen(  # noqa: S603 -- nobody gives it arguments
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as error:
        raise SandboxError(f"It needs a process of its own, which cannot be started ({error}). {_INSTEAD}") from None
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        with suppress(BrokenPipeError):  # it has ended already
            child.stdin.write(len(given).to_bytes(4) + given)
            child.stdin.flush()
        said = child.stdout.readline()  # the child sees to it that it does not take for ever
        if not said:
            raise SandboxError(f"It needs a process of its own, which ended before it answered. {_INSTEAD}")
        found = json.loads(said)
        if "error" in found:
            raise SandboxError(found["error"])
        yield found["url"], found["control_token"]
    finally:
        with suppress(BrokenPipeError):
            if os.getpid() == parent:  # one that was forked from it has no child to end
                child.stdin.write(END)
            child.stdin.close()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def main() -> None:
    """Entry point of the child process. Its threads are real, whatever those of its parent are."""
    from sandbox import server  # which the parent can do without

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the parent as well, who decides
    size = int.from_bytes(sys.stdin.buffer.read(4))
    settings = pickle.loads(sys.stdin.buffer.read(size))  # noqa: S301 -- from its parent
    try:
        with server.in_thread(settings) as (address, services):
            _say(url=address.url, control_token=services.control_token)
            sys.stdin.buffer.read(len(END))
    except SandboxError as error:
        _say(error=str(error))


def _say(**what: str | None) -> None:
    with suppress(BrokenPipeError):  # the parent is gone
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
