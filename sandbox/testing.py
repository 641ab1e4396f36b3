"""The public objects of a test: a sandbox's account, handsets, webhook deliveries; with pytest or without.

    with testing.start() as server, server.account() as ninebits:
        ninebits.client_url = "http://127.0.0.1:8000/sms"
        handset = ninebits.handset()

Methods are written once, for the blocking objects and for the async ones. See testkit/transport.py for how,
testkit/failure_messages.py for the texts of failed tests, and pytest_plugin.py for the fixtures.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack

from sandbox.client import AsyncSandboxClient, SandboxClient
from sandbox.errors import SandboxError
from sandbox.objects.derive import from_json
from sandbox.objects.messages import Difference, Message, NearMiss, Problem, Request, Waited
from sandbox.objects.scenarios import Fault, Finding, Miss
from sandbox.objects.webhooks import Attempt
from sandbox.testkit import failure_messages, own_sandbox
from sandbox.testkit.assertions import (
    CALLS,
    MOST,
    AccountContext,
    AccountFilters,
    Async,
    ExpectationFailed,
    OfAccount,
    Sync,
    as_often,
    awaited,
    found,
    match_of,
    none_came,
    own_requests,
    requests,
    scenery,
    transcript,
    transcripts,
    verified,
)
from sandbox.testkit.controls import (
    AsyncClock,
    AsyncFaults,
    AsyncRun,
    Clock,
    Faults,
    Run,
    ScenarioInvalid,
    known_scenario,
)
from sandbox.testkit.failure_messages import Situation
from sandbox.testkit.handset import (
    AsyncHandset,
    AsyncWebhookDelivery,
    Handset,
    WebhookDelivery,
)
from sandbox.testkit.own_sandbox import Own
from sandbox.testkit.transport import CallPlan, PlanRunner, Transport, plan_method, plan_property

__all__ = [
    "AsyncClock",
    "AsyncFaults",
    "AsyncHandset",
    "AsyncRun",
    "AsyncSandbox",
    "AsyncWebhookDelivery",
    "Attempt",
    "Clock",
    "Difference",
    "ExpectationFailed",
    "Fault",
    "Faults",
    "Finding",
    "Handset",
    "Message",
    "Miss",
    "NearMiss",
    "Problem",
    "Request",
    "Run",
    "Sandbox",
    "ScenarioInvalid",
    "Server",
    "Waited",
    "WebhookDelivery",
    "application",
    "attach",
    "start",
]

D = TypeVar("D", bound=WebhookDelivery | AsyncWebhookDelivery)
R = TypeVar("R", bound=Run | AsyncRun)

SHORTCODE = "48974"  # of the documented example [D]
DRIFT_S = 1.0  # from the present, that a test may begin with
BLOCK = 100_003  # numbers for the handsets of one pytest worker; a prime, so that long numbers of workers spread, too

# Of each operator the number range that is looked at first; wire/numbers.py has them all.
RANGES = {"mtn": "234803", "airtel": "234802", "glo": "234805", "9mobile": "234809"}


class SandboxMethods(OfAccount, Generic[D, R]):
    """An account of its own on a sandbox: what the application sends with `token` to `url`, and what it is sent."""

    _delivery: type[D]
    _run: type[R]

    @property
    def url(self) -> str:
        """The base URL for the application, in place of https://app.9bits.net:2081."""
        return self._context.url

    @property
    def token(self) -> str:
        """The API token for the application."""
        return self._context.token

    @property
    def account(self) -> str:
        """The account's name."""
        return self._context.name

    @property
    def shortcode(self) -> str:
        """The shortcode that handsets text by default: the account's first shortcode, or the documented example's."""
        return self._context.shortcode

    @property
    def client_url(self) -> str | None:
        """The address to which replies are posted. An ASGI or WSGI application may be set: it is served here, at `/`.

        Setting it is a short call to the sandbox, on the async twin too; it does not wait for the application.
        """
        return self._context.client_url

    @client_url.setter
    def client_url(self, value: "str | Callable[..., Any] | None") -> None:
        if callable(value):
            self.serve(value)
        else:
            self._post_to(value)

    def serve(self, app: Callable[..., Any], path: str = "/", *, port: int = 0) -> str:
        """Serve an ASGI or WSGI application in a thread until the test ends; replies are posted to its `path`.

        Returns its address, without the path. Port 0 takes any free one.
        """
        from sandbox.http import server as http_server  # brings uvicorn along

        sock = http_server.listen("127.0.0.1", port)
        base = self._context.hosted.enter_context(http_server.application(app, sock))
        self._post_to(f"{base}/{path.removeprefix('/')}")
        return base

    def _post_to(self, url: str | None) -> None:
        def plan() -> CallPlan[None]:
            yield CALLS.change_account(self._context.name, client_url=url)

        self._runner.run(plan())
        self._context.client_url = url

    def _number(self, number: str | None, telco: str, label: str | None) -> str:
        """A handset's number, by default a new one."""
        if telco not in RANGES:
            raise ValueError(f"{telco!r} is no operator that the sandbox knows; wanted {', '.join(RANGES)}.")
        made = number or self._context.numbers(telco)
        changes = {"label": label, "telco": telco if number else None}
        given = {name: value for name, value in changes.items() if value is not None}

        def plan() -> CallPlan[None]:
            yield CALLS.change_handset(made, **given)

        if given:
            self._runner.run(plan())
        return made

    @plan_method
    def messages(self, text: str | None = None, **filters: Unpack[AccountFilters]) -> CallPlan[list[Message]]:
        """The messages that fit, of both directions, oldest first. `text` is a glob over the whole text."""
        return (yield from found(match_of(text, filters, AccountFilters)))

    @plan_method
    def wait_for(
        self, text: str | None = None, *, timeout: float = 5.0, **filters: Unpack[AccountFilters]
    ) -> CallPlan[Message]:
        """The next message that fits, to whatever handset. Each wait goes on after the message that the last one gave.

        Raises ExpectationFailed if none comes in `timeout` real seconds.
        """
        __tracebackhide__ = True
        return (yield from self._next(text, filters, 1, timeout))[0]

    @plan_method
    def wait_for_messages(
        self, count: int, text: str | None = None, *, timeout: float = 5.0, **filters: Unpack[AccountFilters]
    ) -> CallPlan[list[Message]]:
        """The next `count` messages that fit, once they are there."""
        __tracebackhide__ = True
        return (yield from self._next(text, filters, count, timeout))

    def _next(self, text: str | None, filters: AccountFilters, count: int, timeout: float) -> CallPlan[list[Message]]:
        __tracebackhide__ = True
        match = self._sent(text, filters)
        came = yield from awaited(
            self._context, match, asked=match, count=count, timeout=timeout, after=self._context.cursor
        )
        self._context.cursor = came[-1].seq
        return came

    def _sent(self, text: str | None, filters: AccountFilters) -> dict[str, object]:
        """Messages of the application, unless the other direction is asked for."""
        return {"direction": "mt", **match_of(text, filters, AccountFilters)}

    @plan_method
    def assert_sent(
        self,
        text: str | None = None,
        *,
        times: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        within: float = 0.0,
        **filters: Unpack[AccountFilters],
    ) -> CallPlan[list[Message]]:
        """The application has sent messages that fit, so many `times`, or at least one; or does within real seconds.

        Returns them. All messages of the test count, whatever was waited for.
        """
        __tracebackhide__ = True
        match = self._sent(text, filters)
        return (
            yield from as_often(self._context, match, exactly=times, at_least=at_least, at_most=at_most, within=within)
        )

    @plan_method
    def assert_not_sent(
        self, text: str | None = None, *, within: float = 0.0, **filters: Unpack[AccountFilters]
    ) -> CallPlan[None]:
        """The application has sent no message that fits, and does not within real seconds."""
        __tracebackhide__ = True
        match = self._sent(text, filters)
        yield from none_came(self._context, match, asked=match, within=within)

    @plan_method
    def verify(
        self,
        text: str | None = None,
        *,
        exactly: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        within: float = 0.0,
        after: int | None = None,
        **filters: Unpack[AccountFilters],
    ) -> CallPlan[Waited]:
        """Whether as many messages fit as should, which ones, and which came close. Raises nothing: look at the result.

        `after` leaves out messages up to that number (`seq`).
        """
        return (
            yield from verified(
                self._context,
                self._sent(text, filters),
                exactly=exactly,
                at_least=at_least,
                at_most=at_most,
                within=within,
                after=after,
            )
        )

    @plan_property
    def requests(self) -> CallPlan[list[Request]]:
        """Every call to the gateway, accepted and refused, oldest first; reading them is looking at them.

        Calls with a token that no account has are among them on a sandbox that no one else uses.
        """
        return (yield from requests(self._context))

    @plan_property
    def refused(self) -> CallPlan[list[Request]]:
        """The calls that the gateway refused, with what was wrong; the test does not fail on those that it read."""
        return (yield from requests(self._context, verdict="refused"))

    @plan_property
    def webhook_deliveries(self) -> CallPlan[list[D]]:
        """Every webhook delivery, oldest first."""
        answer = yield CALLS.list("webhook-deliveries", limit=MOST)
        made = []
        for each in reversed(answer["webhook_deliveries"]):
            made.append(self._delivery(self._context, (yield CALLS.get("webhook-deliveries", each["id"]))))
        return made

    @plan_property
    def findings(self) -> CallPlan[list[Finding]]:
        """Findings, what is suspicious about the application, newest first."""
        answer = yield CALLS.list("findings")
        return [from_json(Finding, each) for each in answer["findings"]]

    @plan_method
    def fail_next(
        self, times: int = 1, *, status: int = 503, on: str = "sendsms", body: str | None = None
    ) -> CallPlan[Fault]:
        """Let the next `times` calls to the gateway (or webhooks, with `on="webhook"`) fail with a status."""
        return from_json(Fault, (yield CALLS.add_fault(on, {"status": status, "body": body}, times=times)))

    @plan_method
    def scenario(self, scenario: "str | Path", handset: "str | Handset | AsyncHandset | None" = None) -> CallPlan[R]:
        """Play a scenario: the name of one, a file (a Path, or a name that ends in .yaml), or the YAML itself.

        For a handset, or for the one that gets the first message that fits. Raises ScenarioInvalid.
        """
        name = yield from known_scenario(scenario)
        number = handset.number if isinstance(handset, Handset | AsyncHandset) else handset
        run = yield CALLS.start_run(name, number)
        self._context.plays = True
        return self._run(self._context, run)

    @plan_method
    def reset(self) -> CallPlan[None]:
        """Forget what was recorded for the account, and what was due; the account itself stays."""
        yield CALLS.reset()

    @plan_method
    def transcript(self, handset: "str | Handset | AsyncHandset | None" = None, as_: str = "text") -> CallPlan[str]:
        """The transcript of one handset or of all; of one, `as_` a `scenario` or a `pytest` function as well."""
        if handset is None:
            return (yield from transcripts())
        number = handset if isinstance(handset, str) else handset.number
        return (yield from transcript(number, as_))

    @plan_method
    def assert_clean(
        self, *, allow_refused: bool = False, allow_failed_deliveries: bool = False, allow_unfinished: bool = False
    ) -> CallPlan[None]:
        """Nothing went wrong that the test has not looked at: no call was refused, no webhook was given up, and every
        scenario was played to its end. The fixture asks this when a test is over."""
        __tracebackhide__ = True
        errors = []
        if not allow_refused:
            errors += yield from self._refusals()
        if not allow_failed_deliveries:
            errors += yield from self._exhausted()
        if not allow_unfinished and self._context.plays:
            errors += yield from self._unfinished()
        if errors:
            raise ExpectationFailed("\n\n".join(errors))

    @plan_method
    def report(self, *, brief: bool = False) -> CallPlan[list[tuple[str, str]]]:
        """Sections for the report of a failed test: titles and texts. `brief` leaves out what an
        ExpectationFailed says itself."""
        try:
            scene = yield from scenery(self._context)
            answer = yield CALLS.list("findings")
        except SandboxError as error:
            return [("report", f"What happened could not be read: {error}")]
        findings = failure_messages.findings([from_json(Finding, each) for each in answer["findings"]])
        sections = [("findings", findings)]
        if not brief:
            sections = [
                ("conversation", scene.transcript),
                ("refused calls", failure_messages.refusals(scene)),
                ("near misses", failure_messages.near_misses(self._context.near_misses)),
                *sections,
            ]
        return [(title, text) for title, text in sections if text]

    def _refusals(self) -> CallPlan[list[str]]:
        def unseen(calls: Sequence[Request]) -> Sequence[Request]:
            return [each for each in calls if each.id not in self._context.looked_at and not each.by_fault]

        refused = unseen((yield from own_requests(verdict="refused")))
        scene = Situation(
            url=self.url, called=True, refused=refused, unowned=unseen((yield from self._context.unowned()))
        )
        told = failure_messages.refusals(scene)
        return [told, "If that is meant, read ninebits.refused, or mark the test: allow_refused=True."] if told else []

    def _exhausted(self) -> CallPlan[list[str]]:
        answer = yield CALLS.list("webhook-deliveries", state="exhausted", limit=1)
        if not answer["webhook_deliveries"]:
            return []
        conversations = yield from transcripts()
        told = failure_messages.failed(
            "A webhook was given up after its last retry.",
            Situation(url=self.url, called=True, transcript=conversations),
        )
        return [told, "If that is meant, mark the test: allow_failed_deliveries=True."]

    def _unfinished(self) -> CallPlan[list[str]]:
        answer = yield CALLS.list("runs", limit=MOST)
        told = []
        for each in reversed(answer["runs"]):
            if each["steps"] and each["state"] in ("running", "failed"):
                run = self._run(self._context, each)
                yield from run.played(0)  # the last step may only wait for its time to pass
                if run.shape["state"] != "finished":
                    told.append((yield from run.told()))
        return [*told, "If that is meant, mark the test: allow_unfinished=True."] if told else []


class Sandbox(SandboxMethods[WebhookDelivery, Run], Sync):
    __doc__ = SandboxMethods.__doc__
    _delivery = WebhookDelivery
    _run = Run

    @property
    def clock(self) -> Clock:
        return Clock(self._context)

    @property
    def faults(self) -> Faults:
        return Faults(self._context)

    @property
    def client(self) -> SandboxClient:
        """The control API as it is, for this account."""
        return SandboxClient.over(self._runner)

    def handset(self, number: str | None = None, *, telco: str = "mtn", label: str | None = None) -> Handset:
        """A handset, by default with a number that no other test has."""
        return Handset(self._context, self._number(number, telco, label))

    def to_async(self) -> "AsyncSandbox":
        """The same account, for an async test."""
        return AsyncSandbox(self._context)


class AsyncSandbox(SandboxMethods[AsyncWebhookDelivery, AsyncRun], Async):
    __doc__ = SandboxMethods.__doc__
    _delivery = AsyncWebhookDelivery
    _run = AsyncRun

    @property
    def clock(self) -> AsyncClock:
        return AsyncClock(self._context)

    @property
    def faults(self) -> AsyncFaults:
        return AsyncFaults(self._context)

    @property
    def client(self) -> AsyncSandboxClient:
        """The control API as it is, for this account."""
        return AsyncSandboxClient.over(self._runner)

    def handset(self, number: str | None = None, *, telco: str = "mtn", label: str | None = None) -> AsyncHandset:
        """A handset, by default with a number that no other test has. With a label, this is a short call."""
        return AsyncHandset(self._context, self._number(number, telco, label))


# Where tests run --------------------------------------------------------------------------------------------------


class Server:
    """A sandbox for tests: one of their own in a thread (`start`), or one that runs already (`attach`)."""

    def __init__(self, transport: Transport, *, names: str, first_number: int, own: Own | None = None) -> None:
        self.client = SandboxClient.over(PlanRunner(transport))
        self._transport = transport
        self._names = (f"{names}-{number}" for number in count(1))
        self._handsets = count(first_number)
        self._own = own
        self._open = 0  # accounts
        self._process = os.getpid()
        self._unowned_after = 0

    @property
    def url(self) -> str:
        return self._transport.url

    @property
    def control_token(self) -> str | None:
        return self._transport.control_token

    @property
    def in_process(self) -> bool:
        """Whether the sandbox is this process's own: in a thread, or in a child process where threads are greenlets."""
        return self._own is not None

    @contextmanager
    def account(self, **settings: object) -> Iterator[Sandbox]:
        """An account for one test, removed with all that was recorded for it when the block ends.

        Where it ends in a forked child as well, nothing is removed there of what its parent goes on to use.
        `settings` are those of an `[[accounts]]` table: `strict`, `retry`, `msisdn_format`, `shortcodes` … Raises
        Refused with what is wrong about them.
        """
        if self._own is not None and not self._open and abs(self._own.ahead_s()) > DRIFT_S:
            self.client.reset()  # a test begins at the present, whatever the ones before did to the clock
        process = os.getpid()
        name = next(self._names)
        if process != self._process:  # which goes on to count from where this one was forked
            name = f"{name}-{process}"
        token = str(settings.pop("token", f"{name}-{secrets.token_hex(8)}"))
        self.client.add_account(name, token, **settings)
        runner = PlanRunner(self._transport, name)
        url, shortcodes = settings.get("client_url"), settings.get("shortcodes") or [SHORTCODE]
        context = AccountContext(
            runner=runner,
            name=name,
            token=token,
            shortcode=shortcodes[0] if isinstance(shortcodes, list | tuple) else str(shortcodes).partition(",")[0],
            numbers=self._number,
            unowned=self._unowned,
            client_url=None if url is None else str(url),
        )
        self._open += 1
        try:
            yield Sandbox(context)
        finally:
            if os.getpid() == process:
                self._open -= 1
                context.hosted.close()
                if self._own is not None:  # whether this test looked or not: the next one does not answer for it
                    self._unowned_after = self._own.last_unowned()
                self.client.remove_account(name)

    def _number(self, telco: str) -> str:
        return f"{RANGES[telco]}{next(self._handsets) % 10**7:07}"

    def _unowned(self) -> CallPlan[Sequence[Request]]:
        """Calls whose token no account has, since the last test; on a sandbox of others they may be anybody's."""
        if self._own is None or self._own.last_unowned() <= self._unowned_after:
            return []
        answer = yield CALLS.list("requests", unowned=True, after=self._unowned_after, limit=MOST)
        return [from_json(Request, each) for each in reversed(answer["requests"])]


@contextmanager
def start(*, worker: int = 0, **settings: Any) -> Iterator[Server]:
    """Run a sandbox in a thread while the block lasts: in memory, on a free port, with a clock that stands still.

    Where gevent or eventlet have put greenlets in place of threads, it runs in a child process instead. `settings` are
    the server's; `worker` numbers processes that test the same application at once, so that their handsets differ.
    Raises SandboxError if it cannot be started.
    """
    from sandbox.settings import DEFAULT_ACCOUNT, Settings

    # An application that is configured with the documented token should not be served by any account.
    nobody = replace(DEFAULT_ACCOUNT, token=secrets.token_hex(16))
    chosen = Settings(**{"port": 0, "db": ":memory:", "clock": "virtual", "accounts": (nobody,), **settings})
    with own_sandbox.running(chosen) as (transport, own):
        try:
            yield Server(transport, names="test", first_number=worker * BLOCK + 1, own=own)
        finally:
            transport.close()


@contextmanager
def attach(url: str, control_token: str | None = None, *, run: str | None = None, worker: int = 0) -> Iterator[Server]:
    """Use a sandbox that runs already, perhaps for others as well. Raises Unreachable, or Refused without its token.

    Processes that share a `run` differ by `worker`; without one, names and numbers begin at a place drawn at random.
    """
    digest = hashlib.sha256((run or secrets.token_hex(16)).encode()).digest()
    transport = Transport(url, control_token)
    try:
        server = Server(
            transport,
            names=f"test-{digest[:4].hex()}-{worker}",
            first_number=int.from_bytes(digest[4:8]) + worker * BLOCK,
        )
        server.client.clock()
        yield server
    finally:
        transport.close()


@contextmanager
def application(app: Callable[..., Any]) -> Iterator[str]:
    """Serve an ASGI or WSGI application on a free port of 127.0.0.1 while the block runs; yields its address.

    `Sandbox.serve` does so for one test; this is for an application that serves several.
    """
    from sandbox.http import server as http_server  # brings uvicorn along

    with http_server.application(app) as url:
        yield url
