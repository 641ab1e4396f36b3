"""A sandbox for the tests of this process alone: in a thread, or in a child process.

The server is imported only where it runs in this process.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sandbox.client import SandboxClient
from sandbox.model import Event, EventType
from sandbox.settings import Settings
from sandbox.system import greenlets
from sandbox.testkit import child_process
from sandbox.testkit.transport import PlanRunner, Transport

if TYPE_CHECKING:
    from sandbox.core.services import Services


class Own(Protocol):
    """What an own sandbox is asked when the account of a test is made or removed."""

    def ahead_s(self) -> float:
        """How far its clock is ahead of the system's."""

    def last_unowned(self) -> int:
        """The number of the last call to the gateway whose token no account has; 0 if there was none."""


class _Inside:
    """A sandbox in a thread of this process, which is asked without HTTP."""

    def __init__(self, services: "Services") -> None:
        self._services = services
        self._last_unowned = 0

    def ahead_s(self) -> float:
        return self._services.clock.ahead_ms / 1000

    def last_unowned(self) -> int:
        return self._last_unowned

    def note(self, entry: Event) -> bool:
        """Filter of a subscription: takes note of an event at once, and lets none be queued."""
        if entry.kind is EventType.MESSAGE_REFUSED and entry.account is None:
            self._last_unowned = entry.seq
        return False


class _Beside:
    """A sandbox in a child process, which is asked by HTTP."""

    def __init__(self, client: SandboxClient) -> None:
        self._client = client

    def ahead_s(self) -> float:
        return float(self._client.clock()["ahead_s"])

    def last_unowned(self) -> int:
        newest = self._client.list("requests", unowned=True, limit=1)["requests"]
        return int(newest[0]["seq"]) if newest else 0


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Transport, Own]]:
    """Run a sandbox while the block lasts: in a thread, or in a child process where threads are greenlets.

    Raises SandboxError if it cannot be started.
    """
    if greenlets.replace_threads():
        with child_process.serving(settings) as (url, control_token):
            transport = Transport(url, control_token)
            yield transport, _Beside(SandboxClient.over(PlanRunner(transport)))
    else:
        from sandbox import server

        if "pyfakefs" in sys.modules:  # which forgets the modules that were imported while it replaced the file system
            server.import_late()
        with server.in_thread(settings) as (address, services):
            own = _Inside(services)
            with services.bus.subscribe(own.note):
                yield Transport(address.url, services.control_token), own
