"""Python clients of the control API and of the gateway: a blocking one, on the standard library alone, and its twin.

Every call is described once, as a value; see testkit/transport.py for how it travels. Imports nothing of the server, so
that a command line or a test of another project can use it without loading one.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse
from typing import Any, Self
from urllib.parse import quote

from sandbox.errors import Unreachable
from sandbox.testkit.transport import (
    TIMEOUT_S,
    Awaiting,
    Blocking,
    Call,
    Link,
    Plan,
    Transport,
    operation,
    verb,
)
from sandbox.testkit.transport import Json as Json
from sandbox.testkit.transport import Refused as Refused

GRACE_S = 10.0  # more than the sandbox was asked to wait
ADVANCE_S = 600.0  # to play all that comes due, with ten seconds for each webhook that hangs


class Calls:
    """Every call, described. An instance of its own answers the calls themselves, for plans to be made of."""

    @operation
    def submit(self, body: Mapping[str, object], *, token: str) -> Call[Json]:
        """Send an MT message as an application would. Raises Refused with the gateway's problems."""
        return Call(method="POST", path="/ng/v1/sendsms", body=dict(body), token=token)

    @operation
    def list(self, /, plural: str, **filters: object) -> Call[Json]:
        """A list, newest first: `messages`, `requests`, `handsets`, `webhook-deliveries`, `accounts`, `faults`,
        `scenarios`, `runs`, `findings`; `{"<plural>": […], "next": cursor or None}`."""
        return Call(method="GET", path=plural, query=filters)

    @operation
    def get(self, plural: str, id: str) -> Call[Json]:
        """One thing of a list, with all that is known of it."""
        return Call(method="GET", path=f"{plural}/{_quoted(id)}")

    @operation
    def wait(self, /, *, timeout: float = 5.0, **filters: object) -> Call[Json]:
        """Wait until `count` messages fit the filters, at most `timeout` real seconds.

        Answers `{"satisfied", "messages", "near_misses", "seq"}`, also when they did not come.
        """
        query = {"timeout": timeout, **filters}
        return Call(method="GET", path="messages/wait", query=query, timeout_s=timeout + GRACE_S)

    @operation
    def verify(
        self,
        match: Mapping[str, object],
        *,
        exactly: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        within: float = 0.0,
        after: int | None = None,
    ) -> Call[Json]:
        """Say how many messages fit, or come to fit within real seconds; without a number, at least one should.

        Answers in the shape of `wait`.
        """
        times = {"exactly": exactly, "at_least": at_least, "at_most": at_most}
        body = {"match": _given(match), "times": _given(times), "within": within, "after": after}
        return Call(method="POST", path="verify", body=_given(body), timeout_s=within + GRACE_S)

    @operation
    def reply(self, /, msisdn: str, text: str, **more: Any) -> Call[Json]:
        """Reply from a handset to the last MT; answers `{message, webhook_delivery}` after the first attempt.

        `more`: `session_id`, `to`, `delay_s`, and `wait` (False, or so many seconds).
        """
        return _waiting("POST", f"handsets/{_quoted(msisdn)}/reply", {"text": text, **more})

    @operation
    def send(self, /, msisdn: str, text: str, *, to: str, **more: Any) -> Call[Json]:
        """Send a text that the handset starts by itself, in a new session; else as `reply`."""
        return _waiting("POST", f"handsets/{_quoted(msisdn)}/send", {"text": text, "to": to, **more})

    @operation
    def change_handset(self, /, msisdn: str, **changes: object) -> Call[Json]:
        """Give a handset another `label`, `telco` or `state` (on, off)."""
        return Call(method="PATCH", path=f"handsets/{_quoted(msisdn)}", body=changes)

    @operation
    def transcript(self, msisdn: str, as_: str = "text", shortcode: str | None = None) -> Call[str]:
        """A handset's conversation as `text`, as a `scenario` or as a `pytest` function."""
        query = {"as": as_, "shortcode": shortcode}
        return Call(method="GET", path=f"conversations/{_quoted(msisdn)}/transcript", query=query)

    @operation
    def attempt(self, /, id: str, **more: Any) -> Call[Json]:
        """Attempt a webhook delivery now, and answer it after that."""
        return _waiting("POST", f"webhook-deliveries/{_quoted(id)}/attempt", more)

    @operation
    def redeliver(self, /, id: str, **more: Any) -> Call[Json]:
        """Deliver the same bytes again, or with `body="…"` others; answers the new webhook delivery after its first
        attempt."""
        return _waiting("POST", f"webhook-deliveries/{_quoted(id)}/redeliver", more)

    @operation
    def cancel(self, id: str) -> Call[Json]:
        """Owe a webhook delivery no longer."""
        return Call(method="POST", path=f"webhook-deliveries/{_quoted(id)}/cancel", body={})

    @operation
    def add_fault(
        self,
        on: str,
        effect: Mapping[str, object],
        *,
        times: int | None = 1,
        match: Mapping[str, object] | None = None,
    ) -> Call[Json]:
        """Let the next `times` calls (None: all) of `sendsms` or `webhook` that fit `match` fail by `effect`:
        `status`, `body`, `delay_s`, `drop`, `hold`."""
        body = {"on": on, "effect": _given(effect), "times": times, "match": _given(match or {})}
        return Call(method="POST", path="faults", body=body)

    @operation
    def remove_fault(self, id: str) -> Call[Json]:
        return Call(method="DELETE", path=f"faults/{_quoted(id)}")

    @operation
    def clear_faults(self) -> Call[Json]:
        """Remove all faults of the account."""
        return Call(method="DELETE", path="faults")

    @operation
    def put_scenario(self, name: str, source: str) -> Call[Json]:
        """Add or replace a scenario of the account's own. Raises Refused with line and column of each complaint."""
        return Call(method="PUT", path=f"scenarios/{_quoted(name)}", body={"source": source})

    @operation
    def remove_scenario(self, name: str) -> Call[Json]:
        return Call(method="DELETE", path=f"scenarios/{_quoted(name)}")

    @operation
    def start_run(self, name: str, msisdn: str | None = None) -> Call[Json]:
        """Play a scenario, for one handset, or for the one that gets the first message that fits."""
        return Call(method="POST", path=f"scenarios/{_quoted(name)}/runs", body=_given({"msisdn": msisdn}))

    @operation
    def get_run(self, name: str, id: str) -> Call[Json]:
        return Call(method="GET", path=f"scenarios/{_quoted(name)}/runs/{_quoted(id)}")

    @operation
    def stop_run(self, name: str, id: str) -> Call[Json]:
        return Call(method="POST", path=f"scenarios/{_quoted(name)}/runs/{_quoted(id)}/stop", body={})

    @operation
    def doctor(self, /, **more: object) -> Call[Json]:
        """Check the way to `client_url` (or `url`); with `post=True` to its JSON answer as well."""
        return Call(method="POST", path="doctor", body=more)

    @operation
    def clock(self) -> Call[Json]:
        """`{now, frozen, ahead_s, due}`; one clock for all accounts."""
        return Call(method="GET", path="clock")

    @operation
    def set_clock(self, action: str, seconds: float | None = None) -> Call[Json]:
        """`freeze`, `resume`, `system`, or `advance` by seconds, which answers after everything due has run.

        `resume` runs on from where it stands; `system` runs at the system's time, and timers keep their distance.
        """
        body = _given({"action": action, "seconds": seconds})
        return Call(method="PUT", path="clock", body=body, timeout_s=ADVANCE_S)

    @operation
    def add_account(self, /, name: str, token: str, **settings: object) -> Call[Json]:
        """Add an account; `settings` as in an `[[accounts]]` table."""
        return Call(method="POST", path="accounts", body={"name": name, "token": token, **settings})

    @operation
    def change_account(self, /, name: str, **settings: object) -> Call[Json]:
        return Call(method="PATCH", path=f"accounts/{_quoted(name)}", body=settings)

    @operation
    def remove_account(self, name: str) -> Call[Json]:
        """Remove an account and everything recorded under its name."""
        return Call(method="DELETE", path=f"accounts/{_quoted(name)}")

    @operation
    def reset(self) -> Call[Json]:
        """Forget what was recorded for the account; without one, for all, and the clock goes back."""
        return Call(method="POST", path="reset", body={})

    @operation
    def export(self) -> Call[str]:
        """All that is recorded for the account, as JSON Lines."""
        return Call(method="GET", path="export")

    @operation
    def import_(self, lines: str | bytes) -> Call[Json]:
        """Take in what `export` gave; answers how many of each were written, and how many were there already.

        A Refused of status 503 says in `problem["imported"]` how far it came; the same lines again go on from there.
        """
        body = lines.encode() if isinstance(lines, str) else lines
        return Call(method="POST", path="import", body=body, timeout_s=ADVANCE_S)

    @verb
    def ready(self) -> Plan[bool]:
        """Whether the sandbox answers and its database does."""
        try:
            yield Call(method="GET", path="/readyz")
        except (Unreachable, Refused):
            return False
        return True


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _waiting(method: str, path: str, body: dict[str, Any]) -> Call[Json]:
    wait = body.get("wait")
    seconds = wait if isinstance(wait, int | float) and not isinstance(wait, bool) else 0
    return Call(method=method, path=path, body=body, timeout_s=max(TIMEOUT_S, seconds + GRACE_S))


class _Client(Calls):
    def __init__(self, url: str, *, account: str | None = None, control_token: str | None = None) -> None:
        self._link = Link(Transport(url, control_token), account)

    @classmethod
    def over(cls, link: Link) -> Self:
        """A client that shares a link with others."""
        it = cls.__new__(cls)
        it._link = link
        return it

    @property
    def url(self) -> str:
        return self._link.transport.url

    @property
    def account(self) -> str | None:
        return self._link.account

    def close(self) -> None:
        """Let go of the connections that wait for the next call."""
        self._link.transport.close()


class SandboxClient(_Client, Blocking):
    """Talks to one sandbox, in the name of one account (`account` None: the default one)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_ready(self, seconds: float) -> bool:
        """Whether the sandbox became ready within `seconds`."""
        pause = threading.Event()
        for _ in range(max(1, round(seconds / 0.05))):
            if self.ready():
                return True
            pause.wait(0.05)
        return False

    def events(self, after: int | None = None) -> Iterator[Json]:
        """What happens, event by event, from the entry after `after` or from now on. Ends when the sandbox stops."""
        call: Call[Json] = Call(method="GET", path="events", query={"after": after})
        for line in self._link.transport.stream(self._link.target(call), self._link.headers(call)):
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def exported(self) -> Iterator[bytes]:
        """What `export` gives, piece by piece. Raises Unreachable if it breaks off."""
        call: Call[str] = Call(method="GET", path="export")
        return self._link.transport.stream(self._link.target(call), self._link.headers(call), _blocks)

    def for_account(self, account: str | None) -> "SandboxClient":
        """A client of the same sandbox in the name of another account (None: the default one)."""
        return SandboxClient.over(Link(self._link.transport, account))


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    return iter(lambda: response.read1(64 * 1024), b"")  # a line would not notice the end of a broken connection


class AsyncSandboxClient(_Client, Awaiting):
    """The same, to be awaited: it never blocks the event loop."""
