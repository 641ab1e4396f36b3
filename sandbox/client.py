"""Python clients of control API and gateway: a blocking one, on the standard library alone, and an async one.

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
    CallPlan,
    HttpCall,
    PlanRunner,
    Transport,
    endpoint,
    plan_method,
)
from sandbox.testkit.transport import Json as Json
from sandbox.testkit.transport import Refused as Refused

GRACE_S = 10.0  # more than the sandbox was asked to wait
ADVANCE_S = 600.0  # to play all that comes due, with ten seconds for each webhook that hangs


class Endpoints:
    """Every endpoint, described once. On an instance of this class a method returns the call, for use in plans."""

    @endpoint
    def submit(self, body: Mapping[str, object], *, token: str) -> HttpCall[Json]:
        """Send an MT message as an application would. Raises Refused with the gateway's problems."""
        return HttpCall(method="POST", path="/ng/v1/sendsms", body=dict(body), token=token)

    @endpoint
    def list(self, /, plural: str, **filters: object) -> HttpCall[Json]:
        """A list, newest first: `messages`, `requests`, `handsets`, `webhook-deliveries`, `accounts`, `faults`,
        `scenarios`, `runs`, `findings`; `{"<plural>": […], "next": cursor or None}`."""
        return HttpCall(method="GET", path=plural, query=filters)

    @endpoint
    def get(self, plural: str, id: str) -> HttpCall[Json]:
        """One object of a list, with all that is known of it."""
        return HttpCall(method="GET", path=f"{plural}/{_quoted(id)}")

    @endpoint
    def wait(self, /, *, timeout: float = 5.0, **filters: object) -> HttpCall[Json]:
        """Wait until `count` messages fit the filters, at most `timeout` real seconds.

        Answers `{"satisfied", "messages", "near_misses", "seq"}`, also when they did not come.
        """
        query = {"timeout": timeout, **filters}
        return HttpCall(method="GET", path="messages/wait", query=query, timeout_s=timeout + GRACE_S)

    @endpoint
    def verify(
        self,
        match: Mapping[str, object],
        *,
        exactly: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        within: float = 0.0,
        after: int | None = None,
    ) -> HttpCall[Json]:
        """Say how many messages fit, or come to fit within real seconds; without a number, at least one should.

        Answers in the shape of `wait`.
        """
        times = {"exactly": exactly, "at_least": at_least, "at_most": at_most}
        body = {"match": _given(match), "times": _given(times), "within": within, "after": after}
        return HttpCall(method="POST", path="verify", body=_given(body), timeout_s=within + GRACE_S)

    @endpoint
    def reply(self, /, msisdn: str, text: str, **more: Any) -> HttpCall[Json]:
        """Reply from a handset to the last MT; answers `{message, webhook_delivery}` after the first attempt.

        `more`: `session_id`, `to`, `delay_s`, and `wait` (False, or so many seconds).
        """
        return _waiting("POST", f"handsets/{_quoted(msisdn)}/reply", {"text": text, **more})

    @endpoint
    def send(self, /, msisdn: str, text: str, *, to: str, **more: Any) -> HttpCall[Json]:
        """Send a text that the handset starts by itself, in a new session; else as `reply`."""
        return _waiting("POST", f"handsets/{_quoted(msisdn)}/send", {"text": text, "to": to, **more})

    @endpoint
    def change_handset(self, /, msisdn: str, **changes: object) -> HttpCall[Json]:
        """Give a handset another `label`, `telco` or `state` (on, off)."""
        return HttpCall(method="PATCH", path=f"handsets/{_quoted(msisdn)}", body=changes)

    @endpoint
    def transcript(self, msisdn: str, as_: str = "text", shortcode: str | None = None) -> HttpCall[str]:
        """A handset's conversation as `text`, as a `scenario` or as a `pytest` function."""
        query = {"as": as_, "shortcode": shortcode}
        return HttpCall(method="GET", path=f"conversations/{_quoted(msisdn)}/transcript", query=query)

    @endpoint
    def attempt(self, /, id: str, **more: Any) -> HttpCall[Json]:
        """Attempt a webhook delivery now, and answer it after that."""
        return _waiting("POST", f"webhook-deliveries/{_quoted(id)}/attempt", more)

    @endpoint
    def redeliver(self, /, id: str, **more: Any) -> HttpCall[Json]:
        """Deliver the same bytes again, or with `body="…"` others; answers the new webhook delivery after its first
        attempt."""
        return _waiting("POST", f"webhook-deliveries/{_quoted(id)}/redeliver", more)

    @endpoint
    def cancel(self, id: str) -> HttpCall[Json]:
        """Cancel a webhook delivery."""
        return HttpCall(method="POST", path=f"webhook-deliveries/{_quoted(id)}/cancel", body={})

    @endpoint
    def add_fault(
        self,
        on: str,
        effect: Mapping[str, object],
        *,
        times: int | None = 1,
        match: Mapping[str, object] | None = None,
    ) -> HttpCall[Json]:
        """Let the next `times` calls (None: all) of `sendsms` or `webhook` that fit `match` fail by `effect`:
        `status`, `body`, `delay_s`, `drop`, `hold`."""
        body = {"on": on, "effect": _given(effect), "times": times, "match": _given(match or {})}
        return HttpCall(method="POST", path="faults", body=body)

    @endpoint
    def remove_fault(self, id: str) -> HttpCall[Json]:
        return HttpCall(method="DELETE", path=f"faults/{_quoted(id)}")

    @endpoint
    def clear_faults(self) -> HttpCall[Json]:
        """Remove all faults of the account."""
        return HttpCall(method="DELETE", path="faults")

    @endpoint
    def put_scenario(self, name: str, source: str) -> HttpCall[Json]:
        """Add or replace a scenario of the account's own. Raises Refused with line and column of each error."""
        return HttpCall(method="PUT", path=f"scenarios/{_quoted(name)}", body={"source": source})

    @endpoint
    def remove_scenario(self, name: str) -> HttpCall[Json]:
        return HttpCall(method="DELETE", path=f"scenarios/{_quoted(name)}")

    @endpoint
    def start_run(self, name: str, msisdn: str | None = None) -> HttpCall[Json]:
        """Play a scenario, for one handset, or for the one that gets the first message that fits."""
        return HttpCall(method="POST", path=f"scenarios/{_quoted(name)}/runs", body=_given({"msisdn": msisdn}))

    @endpoint
    def get_run(self, name: str, id: str) -> HttpCall[Json]:
        return HttpCall(method="GET", path=f"scenarios/{_quoted(name)}/runs/{_quoted(id)}")

    @endpoint
    def stop_run(self, name: str, id: str) -> HttpCall[Json]:
        return HttpCall(method="POST", path=f"scenarios/{_quoted(name)}/runs/{_quoted(id)}/stop", body={})

    @endpoint
    def doctor(self, /, **more: object) -> HttpCall[Json]:
        """Check the way to `client_url` (or `url`); with `post=True` to its JSON answer as well."""
        return HttpCall(method="POST", path="doctor", body=more)

    @endpoint
    def clock(self) -> HttpCall[Json]:
        """`{now, frozen, ahead_s, due}`; one clock for all accounts."""
        return HttpCall(method="GET", path="clock")

    @endpoint
    def set_clock(self, action: str, seconds: float | None = None) -> HttpCall[Json]:
        """`freeze`, `resume`, `system`, or `advance` by seconds, which answers after everything due has run.

        `resume` runs on from where it stands; `system` runs at the system's time, and timers keep their distance.
        """
        body = _given({"action": action, "seconds": seconds})
        return HttpCall(method="PUT", path="clock", body=body, timeout_s=ADVANCE_S)

    @endpoint
    def add_account(self, /, name: str, token: str, **settings: object) -> HttpCall[Json]:
        """Add an account; `settings` as in an `[[accounts]]` table."""
        return HttpCall(method="POST", path="accounts", body={"name": name, "token": token, **settings})

    @endpoint
    def change_account(self, /, name: str, **settings: object) -> HttpCall[Json]:
        return HttpCall(method="PATCH", path=f"accounts/{_quoted(name)}", body=settings)

    @endpoint
    def remove_account(self, name: str) -> HttpCall[Json]:
        """Remove an account and everything recorded under its name."""
        return HttpCall(method="DELETE", path=f"accounts/{_quoted(name)}")

    @endpoint
    def reset(self) -> HttpCall[Json]:
        """Forget what was recorded for the account; without one, for all, and the clock goes back."""
        return HttpCall(method="POST", path="reset", body={})

    @endpoint
    def export(self) -> HttpCall[str]:
        """All that is recorded for the account, as JSON Lines."""
        return HttpCall(method="GET", path="export")

    @endpoint
    def import_(self, lines: str | bytes) -> HttpCall[Json]:
        """Take in what `export` gave; answers how many of each were written, and how many were there already.

        A Refused of status 503 says in `problem["imported"]` how far it came; the same lines again go on from there.
        """
        body = lines.encode() if isinstance(lines, str) else lines
        return HttpCall(method="POST", path="import", body=body, timeout_s=ADVANCE_S)

    @plan_method
    def ready(self) -> CallPlan[bool]:
        """Whether the sandbox answers and its database does."""
        try:
            yield HttpCall(method="GET", path="/readyz")
        except (Unreachable, Refused):
            return False
        return True


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _waiting(method: str, path: str, body: dict[str, Any]) -> HttpCall[Json]:
    wait = body.get("wait")
    seconds = wait if isinstance(wait, int | float) and not isinstance(wait, bool) else 0
    return HttpCall(method=method, path=path, body=body, timeout_s=max(TIMEOUT_S, seconds + GRACE_S))


class ClientMethods(Endpoints):
    def __init__(self, url: str, *, account: str | None = None, control_token: str | None = None) -> None:
        self._runner = PlanRunner(Transport(url, control_token), account)

    @classmethod
    def over(cls, runner: PlanRunner) -> Self:
        """A client that shares a runner with others."""
        it = cls.__new__(cls)
        it._runner = runner
        return it

    @property
    def url(self) -> str:
        return self._runner.transport.url

    @property
    def account(self) -> str | None:
        return self._runner.account

    def close(self) -> None:
        """Close the connections that are kept for the next call."""
        self._runner.transport.close()


class SandboxClient(ClientMethods, Blocking):
    """The blocking client of one sandbox, in the name of one account (`account` None: the default one)."""

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
        """Iterate over events, from the one after `after` or from now on. Ends when the sandbox stops."""
        call: HttpCall[Json] = HttpCall(method="GET", path="events", query={"after": after})
        for line in self._runner.transport.stream(self._runner.target(call), self._runner.headers(call)):
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def exported(self) -> Iterator[bytes]:
        """The answer of `export`, piece by piece. Raises Unreachable if it breaks off."""
        call: HttpCall[str] = HttpCall(method="GET", path="export")
        return self._runner.transport.stream(self._runner.target(call), self._runner.headers(call), _blocks)

    def for_account(self, account: str | None) -> "SandboxClient":
        """A client of the same sandbox in the name of another account (None: the default one)."""
        return SandboxClient.over(PlanRunner(self._runner.transport, account))


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    return iter(lambda: response.read1(64 * 1024), b"")  # a line would not notice the end of a broken connection


class AsyncSandboxClient(ClientMethods, Awaiting):
    """The async client: the same methods, awaited; it never blocks the event loop."""
