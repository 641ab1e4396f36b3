"""The composition root: builds the services from the settings once, and serves them in the foreground or in a thread.

The only module that knows all others. Only the order of start and stop is decided here.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module

from sandbox.asgi.app import build
from sandbox.clock import Clock
from sandbox.core import dispatcher
from sandbox.core.accounts import AccountCache
from sandbox.core.bus import Bus
from sandbox.core.control import Control
from sandbox.core.dispatcher import Dispatcher
from sandbox.core.faults import LiveFaults
from sandbox.core.gateway import Gateway
from sandbox.core.network import Network, RetentionPolicy, trim_by_age
from sandbox.core.scenario_runner import ScenarioRunner
from sandbox.core.scheduler import Scheduler
from sandbox.core.services import Listeners, Services
from sandbox.core.waits import Watch
from sandbox.errors import CannotListen, SandboxError, SettingsError
from sandbox.http import server as http_server
from sandbox.http.access import MAX_HEADERS, MAX_TARGET, refusal
from sandbox.http.limits import ConnectionLimits
from sandbox.model import Account, Event, TimerKind
from sandbox.settings import Settings, url_of
from sandbox.store import accounts as stored_accounts
from sandbox.store import faults as stored_faults
from sandbox.store import journal, messages, retention
from sandbox.store.database import Database, TimerChange, Tx
from sandbox.webhooks.poster import Poster

log = logging.getLogger(__name__)

LATE = (  # what is otherwise imported when somebody first needs it, because a start can do without
    *("jinja2", "markupsafe", "regex", "yaml", "ssl", "importlib.metadata"),
    *("sandbox.rules.findings", "sandbox.scenario.record", "sandbox.scenario.script", "sandbox.core.findings"),
    *("sandbox.transfer.rows", "sandbox.asgi.api_reference", "sandbox.webhooks.doctor"),
)
STOP_GRACE_S = 3.0  # how long attempts under way may take to end at a stop; then they are `interrupted`


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address at which others reach a sandbox."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        return url_of(self.host, self.port, tls=self.tls)


def import_late() -> None:
    """Import now what may not be importable later."""
    for name in LATE:
        import_module(name)


def listen(settings: Settings) -> tuple[socket.socket, Address]:
    """Bind the address of the settings. Raises CannotListen with the remedy."""
    try:
        sock = http_server.listen(settings.host, settings.port)
    except OSError as error:
        raise CannotListen(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Stop what listens there, or give "
            "another address with --host and --port (--port 0 takes any free one)."
        ) from error
    return sock, Address(host=settings.host, port=sock.getsockname()[1], tls=settings.ssl_certfile is not None)


def _check_certificate(settings: Settings) -> None:
    """Raise SettingsError if the files of TLS cannot be used."""
    if settings.ssl_certfile is None:
        return
    import ssl  # which a start without TLS can do without

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password="")  # else it asks the terminal
    except OSError as error:  # SSLError is one
        raise SettingsError(
            f"TLS cannot be served with the certificate {settings.ssl_certfile} and the key {settings.ssl_keyfile}: "
            f"{error}. Give a certificate and its key, without a password, as PEM files."
        ) from error


def control_token_for(settings: Settings) -> str | None:
    """The control token in force: beyond loopback there is always one, unless the settings insist on none."""
    if settings.control_token is not None:
        return settings.control_token
    if settings.beyond_loopback and not settings.insecure_no_auth:
        return secrets.token_urlsafe(24)
    return None


@asynccontextmanager
async def open_services(
    settings: Settings, address: Address, control_token: str | None, origin: Mapping[str, str] | None = None
) -> AsyncIterator[Services]:
    """The services of a running sandbox, started in order and stopped in reverse.

    `origin` says where each setting was given (see settings.Loaded), for those who look at them.
    """
    clock = Clock.virtual() if settings.clock == "virtual" else Clock.system()
    bus = Bus()
    database = Database(settings.db)
    scheduler = Scheduler(
        database, clock, concurrency=settings.webhook_concurrency, per_queue=settings.webhook_per_host
    )
    database.committed = partial(_committed, bus, scheduler)
    database.open()
    poster = Poster(deadline_s=settings.webhook_deadline_s, own_addresses=lambda: [(address.host, address.port)])
    try:
        keeping = RetentionPolicy(messages=settings.max_messages, age_s=round(settings.max_age_s))
        accounts = AccountCache(await database.write(partial(_settle_in, settings, clock, keeping)))
        faults = LiveFaults(await database.read(stored_faults.stored))
        runner = ScenarioRunner(database, clock, accounts, faults, loop_limit=settings.loop_limit)
        await runner.open()
        network = Network(database, clock, accounts, runner, keeping=keeping, backlog=settings.webhook_backlog)
        watch = Watch(database, clock, scheduler, bus, faults)
        deliveries = Dispatcher(database, clock, accounts, faults, poster, rate_limit=scheduler.rate_limit)
        scheduler.on(TimerKind.WEBHOOK, deliveries.begin)
        scheduler.on(TimerKind.WEBHOOK_MANUAL, deliveries.begin)
        scheduler.on(TimerKind.ORIGINATE, network.due)
        scheduler.on(TimerKind.WINDOW, runner.due)
        scheduler.on(TimerKind.LATER, runner.due)
        scheduler.add_chore("retention", partial(trim_by_age, keeping))
        services = Services(
            settings=settings,
            origin=origin or {},
            control_token=control_token,
            database=database,
            clock=clock,
            accounts=accounts,
            faults=faults,
            bus=bus,
            scheduler=scheduler,
            gateway=Gateway(database, clock, accounts, faults, runner, keeping=keeping, max_text=settings.max_text),
            runner=runner,
            network=network,
            control=Control(database, clock, accounts, faults, runner, scheduler, network, bus, watch),
            watch=watch,
            listeners=Listeners(),
        )
        async with _at_work(scheduler, bus, faults):
            yield services
    finally:
        await poster.close()
        await database.close()


@asynccontextmanager
async def _at_work(scheduler: Scheduler, bus: Bus, faults: LiveFaults) -> AsyncIterator[None]:
    """Run timers during the block, and let those that are under way at its end come to theirs, if that is soon."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(scheduler.run())
            try:
                yield
            finally:
                bus.close()
                faults.close()
                scheduler.stop()
                await asyncio.wait([running], timeout=STOP_GRACE_S)
                running.cancel()
    except BaseExceptionGroup as group:  # of one: whichever came first cancelled the other
        raise group.exceptions[0] from None


def _committed(bus: Bus, scheduler: Scheduler, events: Sequence[Event], timers: Sequence[TimerChange]) -> None:
    if timers:
        scheduler.added(timers)
    if events:
        bus.publish(events)


def _settle_in(settings: Settings, clock: Clock, keeping: RetentionPolicy, tx: Tx) -> Sequence[Account]:
    """At start: the accounts of the settings take their place, and what a crash cut off is taken up again."""
    messages.catch_up(tx)
    known = {account.name: account for account in stored_accounts.stored(tx)}
    edited = stored_accounts.edited(tx)
    for account in settings.accounts:
        old = known.get(account.name)
        # A client_url that was set at run time survives, as long as the settings name none.
        survives = account.client_url is None and old is not None and account.name in edited
        if survives and old is not None:
            account = replace(account, client_url=old.client_url)
        for other in known.values():
            if other.token == account.token and other.name != account.name:
                raise SandboxError(
                    f"The token of the account {account.name} belongs to the account {other.name}, which the database "
                    "holds. Give it another token or that account's name, or another database file with --db."
                )
        stored_accounts.put(tx, account, edited=survives)
        known[account.name] = account
    clock.move_to(journal.newest_ms(tx))  # a clock that was moved on before a restart does not go back
    now_ms = clock.now_ms()
    dispatcher.recover(tx, known, now_ms)
    retention.trim(tx, keep=keeping.messages, oldest_ms=now_ms - keeping.age_s * 1000)
    return list(known.values())


def _end_waits(services: Services) -> None:
    """End whatever a stop would wait for: event streams, and calls that a fault keeps waiting."""
    services.bus.close()
    services.faults.close()


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        max_connections=settings.max_connections,
        max_headers=MAX_HEADERS,
        max_target=MAX_TARGET,
        max_body=max(settings.max_body, settings.max_control_body),
        header_deadline_s=settings.header_deadline_s,
        body_deadline_s=settings.body_deadline_s,
        refusal=partial(refusal, root_path=settings.root_path or ""),
    )


async def serve(
    settings: Settings,
    sock: socket.socket,
    address: Address,
    control_token: str | None,
    *,
    origin: Mapping[str, str] | None = None,
    on_ready: Callable[[Services, http_server.HttpServer], None],
) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM, or until the server that `on_ready` gets is stopped."""
    _check_certificate(settings)
    async with open_services(settings, address, control_token, origin) as services:
        server = http_server.HttpServer(
            build(services, hang_up=http_server.hang_up),
            ready=partial(on_ready, services),
            end_streams=partial(_end_waits, services),
            lifespan=False,  # open_services is
            grace_s=5,
            limits=_connection_limits(settings),
            certfile=settings.ssl_certfile,
            keyfile=settings.ssl_keyfile,
        )
        await server.serve(sockets=[sock])


def run(
    settings: Settings,
    *,
    demo: bool = False,
    origin: Mapping[str, str] | None = None,
    on_ready: Callable[[Services, Address, str | None], None],
) -> None:
    """Serve in the foreground, with `demo` beside a sample application. Raises SandboxError when it cannot start.

    `origin` is as for `open_services`. `on_ready` gets the services, the address, and the demo's `client_url`, if any.
    """
    sock, address = listen(settings)
    token = control_token_for(settings)
    with closing(sock), _demo(settings, address) if demo else nullcontext() as demo_url:
        if demo_url is not None:
            first, *others = settings.accounts
            settings = replace(settings, accounts=(replace(first, client_url=demo_url), *others))
            origin = {**(origin or {}), "client_url": "flag --demo"}

        def tell(services: Services, _: http_server.HttpServer) -> None:
            on_ready(services, address, demo_url)

        # A second Ctrl+C does not wait for what is under way, which is lost as little as in a crash.
        with asyncio.Runner(loop_factory=http_server.loop_factory()) as runner, suppress(KeyboardInterrupt):
            runner.run(serve(settings, sock, address, token, origin=origin, on_ready=tell))


@contextmanager
def _demo(settings: Settings, address: Address) -> Iterator[str]:
    """Run the sample application in a thread of its own; yields the `client_url` to give it."""
    from sandbox.demo import survey

    own = replace(settings, host="127.0.0.1", port=address.port + 1, ssl_certfile=None, ssl_keyfile=None)
    try:
        sock, _ = listen(own)
    except CannotListen:  # the next port is a habit, not a need
        sock, _ = listen(replace(own, port=0))
    app = survey.build(base_url=address.url, token=settings.accounts[0].token)
    with http_server.application(app, sock) as url:
        yield f"{url}/sms"


@contextmanager
def in_thread(settings: Settings, origin: Mapping[str, str] | None = None) -> Iterator[tuple[Address, Services]]:
    """Serve in a thread of its own while the block runs; what goes wrong there is raised here."""
    sock, address = listen(settings)
    served: list[Services] = []

    async def serving(started: http_server.Started) -> None:
        def on_ready(services: Services, server: http_server.HttpServer) -> None:
            served.append(services)
            started(server)

        await serve(settings, sock, address, control_token_for(settings), origin=origin, on_ready=on_ready)

    with closing(sock), http_server.in_thread(serving, "sandbox-server"):
        yield address, served[0]
