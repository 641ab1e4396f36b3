"""The composition root: builds the house from its settings once, and serves it in the foreground or in a thread.

The only file that knows all rooms. Nothing is decided here but the order in which things start and stop.
"""

import asyncio
import logging
import secrets
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import uvicorn

from sandbox.bus import Bus
from sandbox.clock import Clock
from sandbox.config import Settings, url_of
from sandbox.control import Control
from sandbox.errors import CannotListen, SandboxError
from sandbox.events import Entry
from sandbox.gateway import Gateway
from sandbox.model import Account, TimerKind
from sandbox.network import Keeping, Network
from sandbox.scheduler import Scheduler
from sandbox.store import accounts as stored_accounts
from sandbox.store import journal, messages
from sandbox.store.accounts import Directory
from sandbox.store.database import Database, Due, Tx
from sandbox.web.access import App
from sandbox.web.app import build
from sandbox.web.house import House
from sandbox.web.live import Listeners
from sandbox.webhooks import dispatcher
from sandbox.webhooks.dispatcher import Dispatcher
from sandbox.webhooks.poster import Poster

log = logging.getLogger(__name__)

UNREAD_GRACE_S = 0.2  # how long a stop waits for clients to take what is written to them
STOP_GRACE_S = 3.0  # how long attempts under way may take to end at a stop; then they are `interrupted`


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a sandbox listens, as others reach it."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        return url_of(self.host, self.port, tls=self.tls)


def listen(settings: Settings) -> tuple[socket.socket, Address]:
    """Bind the address of the settings. Raises CannotListen with the remedy."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        sock.listen(2048)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise CannotListen(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Stop what listens there, or give "
            "another address with --host and --port (--port 0 takes any free one)."
        ) from error
    return sock, Address(host=settings.host, port=sock.getsockname()[1], tls=settings.ssl_certfile is not None)


def control_token_for(settings: Settings) -> str | None:
    """The control token in force: beyond loopback there is always one, unless the settings insist on none."""
    if settings.control_token is not None:
        return settings.control_token
    if settings.beyond_loopback and not settings.insecure_no_auth:
        return secrets.token_urlsafe(24)
    return None


@asynccontextmanager
async def open_house(settings: Settings, address: Address, control_token: str | None) -> AsyncIterator[House]:
    """Everything that lives while the sandbox runs, started in order and stopped in reverse."""
    clock = Clock.virtual() if settings.clock == "virtual" else Clock.system()
    bus = Bus()
    database = Database(settings.db)
    scheduler = Scheduler(database, clock, concurrency=settings.webhook_concurrency, per_lane=settings.webhook_per_host)
    database.committed = partial(_committed, bus, scheduler)
    database.open()
    poster = Poster(deadline_s=settings.webhook_deadline_s, own_addresses=lambda: [(address.host, address.port)])
    try:
        keeping = Keeping(messages=settings.max_messages, age_s=round(settings.max_age_s))
        accounts = Directory(await database.write(partial(_settle_in, settings, clock, keeping)))
        network = Network(database, clock, accounts, keeping=keeping, backlog=settings.webhook_backlog)
        postman = Dispatcher(database, clock, accounts, poster, pace=scheduler.pace)
        scheduler.on(TimerKind.WEBHOOK, postman.begin)
        scheduler.on(TimerKind.WEBHOOK_MANUAL, postman.begin)
        scheduler.on(TimerKind.ORIGINATE, network.due)
        house = House(
            settings=settings,
            control_token=control_token,
            database=database,
            clock=clock,
            accounts=accounts,
            bus=bus,
            scheduler=scheduler,
            gateway=Gateway(database, clock, accounts, keeping=keeping, max_text=settings.max_text),
            network=network,
            control=Control(database, clock, accounts, scheduler, network, bus),
            listeners=Listeners(),
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(scheduler.run())
            try:
                yield house
            finally:
                bus.close()
                scheduler.stop()
                await asyncio.wait([running], timeout=STOP_GRACE_S)
                running.cancel()
    finally:
        await poster.close()
        await database.close()


def _committed(bus: Bus, scheduler: Scheduler, news: Sequence[Entry], due: Sequence[Due]) -> None:
    if due:
        scheduler.added(due)
    if news:
        bus.publish(news)


def _settle_in(settings: Settings, clock: Clock, keeping: Keeping, tx: Tx) -> Sequence[Account]:
    """At start: the accounts of the settings take their place, and what a crash cut off is taken up again."""
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
    dispatcher.recover(tx, now_ms)
    messages.trim(tx, keep=keeping.messages, oldest_ms=now_ms - keeping.age_s * 1000)
    return list(known.values())


class _Server(uvicorn.Server):
    """uvicorn, except that event streams end first: it would wait for them for ever."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None], ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was obeyed is not raised again: the house is still to be closed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        unread = asyncio.get_running_loop().call_later(UNREAD_GRACE_S, self._drop_unread)
        await super().shutdown(sockets)
        unread.cancel()
        for connection in list(self.server_state.connections):  # the loop cannot be closed before they are
            connection.transport.abort()

    def _drop_unread(self) -> None:
        """Let go of clients that do not take their answers: uvicorn would wait for them, and so would the loop."""
        for connection in list(self.server_state.connections):
            if connection.transport.get_write_buffer_size():
                connection.transport.abort()


def uvicorn_config(app: App, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # the journal is the access log
        lifespan="off",  # open_house is
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=5,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )


async def serve(
    settings: Settings,
    sock: socket.socket,
    address: Address,
    control_token: str | None,
    *,
    on_ready: Callable[[House], None] = lambda _: None,
    on_server: Callable[[uvicorn.Server], None] = lambda _: None,
) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM, or until the server that `on_server` got is told to stop."""
    async with open_house(settings, address, control_token) as house:
        config = uvicorn_config(build(house), settings)
        server = _Server(config, house.bus.close, partial(on_ready, house))
        on_server(server)
        await server.serve(sockets=[sock])


def run(settings: Settings, *, demo: bool = False, on_ready: Callable[[House, Address, str | None], None]) -> None:
    """Serve in the foreground, with `demo` beside a sample application. Raises SandboxError when it cannot start.

    `on_ready` gets the house, its address, and the demo's `client_url` if there is one.
    """
    sock, address = listen(settings)
    token = control_token_for(settings)
    with closing(sock), _demo(settings, address) if demo else nullcontext() as demo_url:
        if demo_url is not None:
            first, *others = settings.accounts
            settings = replace(settings, accounts=(replace(first, client_url=demo_url), *others))

        def tell(house: House) -> None:
            on_ready(house, address, demo_url)

        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, sock, address, token, on_ready=tell))


@contextmanager
def _demo(settings: Settings, address: Address) -> Iterator[str]:
    """Run the sample application in a thread of its own; yields the `client_url` to give it."""
    from sandbox.demo import survey

    own = replace(settings, host="127.0.0.1", port=address.port + 1, ssl_certfile=None, ssl_keyfile=None)
    try:
        sock, place = listen(own)
    except CannotListen:  # the next port is a habit, not a need
        sock, place = listen(replace(own, port=0))
    app = survey.build(base_url=address.url, token=settings.accounts[0].token)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="sandbox-demo", daemon=True)
    thread.start()
    try:
        yield f"{place.url}/sms"
    finally:
        server.should_exit = True
        thread.join()
        sock.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for this system
        return None
    return uvloop.new_event_loop


@contextmanager
def in_thread(settings: Settings) -> Iterator[tuple[Address, House]]:
    """Serve in a thread of its own while the block runs; what goes wrong there is raised here."""
    sock, address = listen(settings)
    ready = threading.Event()
    houses: list[House] = []
    servers: list[uvicorn.Server] = []
    errors: list[BaseException] = []

    def on_ready(house: House) -> None:
        houses.append(house)
        ready.set()

    def body() -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(
                    serve(
                        settings,
                        sock,
                        address,
                        control_token_for(settings),
                        on_ready=on_ready,
                        on_server=servers.append,
                    )
                )
        except BaseException as error:
            errors.append(error)
        finally:
            sock.close()
            ready.set()

    thread = threading.Thread(target=body, name="sandbox-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        if not errors:
            yield address, houses[0]
    finally:
        if servers:
            servers[0].should_exit = True
        thread.join()
        if errors:
            raise errors[0]
