"""SQLite refuses: the disk is full, broken or held by another program. Nothing is acknowledged that is not stored, and
the sandbox goes on as soon as it can.

The calls of SQLite that fail are failed below our code, in the connection; and once the disk is really full.
"""

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.core import dispatcher, scheduler
from sandbox.core.services import Services
from sandbox.errors import SandboxError, StorageError
from sandbox.model import Msisdn, Shortcode, TextRequest
from sandbox.store import database, file
from tests.commands.shell import Shell
from tests.conftest import Bench, Receiver, Running
from tests.faulty import eventually, fail, first_of, in_loop, statuses, used
from tests.processes import Server, receiving, serving

pytestmark = pytest.mark.proof("T3")

KINDS = {
    "full": ("SQLITE_FULL", "database or disk is full"),
    "i/o": ("SQLITE_IOERR_WRITE", "disk I/O error"),
    "busy": ("SQLITE_BUSY", "database is locked"),
}
HANDSET = "2348020000000"


class Trouble:
    """Which call of SQLite fails: the n-th from when it is armed, or that and all after it until `lift`."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._left: int | None = None
        self._kind = "full"
        self._lasting = False
        self._only = ""
        self.struck = 0

    def arm(self, kind: str, number: int, *, lasting: bool = False, only: str = "") -> None:
        """`only` in threads whose name begins like this."""
        with self._changing:
            self._left, self._kind, self._lasting, self._only = number, kind, lasting, only
            self.struck = 0

    def lift(self) -> None:
        with self._changing:
            self._left = None

    def meet(self, connection: sqlite3.Connection) -> None:
        """Every call passes here before it is made."""
        with self._changing:
            if self._left is None or not threading.current_thread().name.startswith(self._only):
                return
            self._left -= 1
            if self._left > 0:
                return
            self.struck += 1
            if not self._lasting:
                self._left = None
        code, words = KINDS[self._kind]
        if connection.in_transaction and self._kind != "busy":  # as SQLite does by itself
            sqlite3.Connection.execute(connection, "ROLLBACK")
        error = sqlite3.OperationalError(words)
        error.sqlite_errorname = code
        raise error


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """Every connection to SQLite that is made in this test meets it."""
    it = Trouble()

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> "Cursor":
            it.meet(self.connection)
            super().execute(sql, parameters)
            return self

        def fetchall(self) -> list[Any]:
            it.meet(self.connection)
            return super().fetchall()

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
            return self.cursor(Cursor).execute(sql, parameters)

        def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
            it.meet(self)
            return super().executescript(sql_script)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    for module in (scheduler, dispatcher):
        monkeypatch.setattr(module, "AGAIN_S", 0.02)
    return it


Serving = Callable[..., Any]


@pytest.fixture
def bench(serving: Serving, trouble: Trouble, tmp_path: Path, receiver: Receiver) -> Iterator[Bench]:
    """An account with an application, on a sandbox whose file meets the trouble of this test."""
    with serving(db=str(tmp_path / "sandbox.db")) as running:
        bench = first_of(running)
        bench.patch_account(client_url=receiver.url)
        yield bench


# What is answered --------------------------------------------------------------------------------------------------


def clear(response: requests.Response) -> bool:
    """Whether an answer is one that its surface may give to a good call; a 503 says why, in that surface's shape."""
    if response.status_code < 300:
        return True
    if response.status_code != 503:
        return False
    path = response.request.path_url
    if path.startswith("/ng/"):
        return response.json()["status_code"] == 503 and "database" in response.text
    if path.startswith("/_sandbox/"):
        problem = response.json()
        kind = response.headers["Content-Type"]
        return (problem["status"], kind) == (503, "application/problem+json") and "database" in problem["detail"]
    return "database" in response.text and "Traceback" not in response.text


class Story:
    """What an application, handsets and people do, over and over, and what they were told."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._told = 0
        self._on = True
        self.sent: dict[str, str] = {}
        self.owed: dict[str, bytes] = {}
        self.refused: list[str] = []
        self.unclear: list[str] = []
        self.answers: Counter[int] = Counter()

    def play(self) -> None:
        self._told += 1
        text = f"text {self._told}"
        handset = f"/handsets/{HANDSET}"
        sent = self._note(self._bench.submit(message=text))
        if sent.status_code == 200:
            self.sent[sent.json()["reference_id"]] = text
        else:
            self.refused.append(text)
        if self._on:
            texted = self._call("POST", f"{handset}/send", {"text": text, "to": "48974", "wait": False})
            if texted.status_code == 201:
                delivery = texted.json()["webhook_delivery"]
                self.owed[delivery["id"]] = delivery["body"].encode()
        for state in ("off", "on"):
            if self._call("PATCH", handset, {"state": state}).status_code == 200:
                self._on = state == "on"
        self._call("POST", "/faults", {"on": "sendsms", "effect": {"status": 429}, "match": {"text": "never"}})
        self._call("DELETE", "/faults")
        run = self._call("POST", "/scenarios/opt-out/runs", {})
        if run.status_code == 201:
            self._call("POST", f"/scenarios/opt-out/runs/{run.json()['id']}/stop")
        self._call("GET", "/messages", pattern="text")
        self._call("GET", "/messages/wait", timeout=0)
        self._call("PUT", "/clock", {"action": "advance", "seconds": 1})
        for path in ("/", "/webhooks", "/readyz"):
            self._note(self._bench.sandbox.request("GET", path))

    def _call(self, method: str, path: str, body: object = None, **query: str | int) -> requests.Response:
        return self._note(self._bench.call(method, path, body, **query))

    def _note(self, response: requests.Response) -> requests.Response:
        self.answers[response.status_code] += 1
        if not clear(response):
            self.unclear.append(f"{response.request.method} {response.request.path_url}: {response.text}")
        return response


def stored(bench: Bench) -> dict[str, str]:
    """The text of every MT message, by its identifier."""
    found: dict[str, str] = {}
    query: dict[str, str | int] = {"limit": 500, "direction": "mt"}
    while True:
        page = bench.get("/messages", **query)
        found |= {each["id"]: each["text"] for each in page["messages"]}
        if page["next"] is None:
            return found
        query["next"] = page["next"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "until it is mended"])
def test_nothing_is_acknowledged_that_is_not_stored_whichever_call_of_sqlite_fails(
    bench: Bench,
    trouble: Trouble,
    receiver: Receiver,
    sized: Callable[[int, int], int],
    kind: str,
    lasting: bool,
    record_property: Callable[[str, object], None],
) -> None:
    story, most = Story(bench), sized(40, 300)
    for number in range(1, most + 1):
        trouble.arm(kind, number, lasting=lasting)
        while not trouble.struck:
            story.play()
        trouble.lift()
        assert story.unclear == [], f"call {number} failed"
    response = bench.call("PUT", "/clock", {"action": "advance", "seconds": 3600})
    assert response.status_code == 200
    kept = stored(bench)
    assert {each: kept.get(each) for each in story.sent} == story.sent
    assert set(kept.values()).isdisjoint(story.refused)
    states = {each: bench.get(f"/webhook-deliveries/{each}")["state"] for each in story.owed}
    assert set(states.values()) == {"delivered"}
    received = {each.body for each in receiver.received}
    assert set(story.owed.values()) <= received
    how = "lasting" if lasting else "once"
    told = f"{story.answers.total()} calls, {story.answers[503]} answered 503, 0 lost"
    record_property("figure", f"{kind} ({how}), n = 1…{most}: {told}")


# A file that is taken in ---------------------------------------------------------------------------------------------

MESSAGES = 500


def file_of_messages() -> bytes:
    """An exported file: a head, a handset, and messages for three transactions, each of which stands there twice."""
    lines: list[dict[str, object]] = [
        {"type": "export", "version": 1},
        {"type": "handset", "msisdn": HANDSET, "label": "Ada", "telco": "mtn", "state": "on"},
    ]
    message = {"type": "message", "direction": "mt", "from": "48974", "to": HANDSET, "session_id": "s", "telco": "mtn"}
    for number in range(MESSAGES):
        moment = f"2024-01-02T23:50:37.{number // 2:03}000Z"
        told = {"id": f"m{number + 1}", "text": f"text {number // 2}", "sent_date": moment, "at": moment}
        lines.append({**message, **told, "state": "arrived"})
    return "".join(f"{json.dumps(each)}\n" for each in lines).encode()


def take_in(bench: Bench, file: bytes) -> requests.Response:
    path = f"/_sandbox/v1/import?account={bench.account}"
    return bench.sandbox.request("POST", path, data=file, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("kind", KINDS)
def test_an_import_that_a_database_stops_says_how_far_it_came_and_goes_on_from_there(
    bench: Bench, trouble: Trouble, sized: Callable[[int, int], int], kind: str
) -> None:
    file, stops = file_of_messages(), set()
    for number in range(1, 10_000, sized(149, 7)):
        trouble.arm(kind, number, lasting=True, only="sandbox-writer")
        answered = take_in(bench, file)
        trouble.lift()
        there = Counter(stored(bench).values())
        if answered.status_code == 201:
            break
        assert answered.status_code == 503
        assert answered.headers["Content-Type"] == "application/problem+json"
        assert "send the same file again" in answered.json()["detail"]
        came = answered.json()["imported"]
        assert came["messages"] == there.total()
        assert came["left"]["messages"] == MESSAGES - there.total()
        handset, of_lines = int(came["lines"] > 1), MESSAGES + 2
        assert (came["lines"], came["of_lines"]) == (1 + handset + there.total(), of_lines)
        assert came["handsets"] == handset
        again = take_in(bench, file).json()
        assert (again["messages"], again["already_there"]["messages"]) == (MESSAGES - there.total(), there.total())
        assert (again["lines"], again["left"]["messages"]) == (of_lines, 0)
        assert set(Counter(stored(bench).values()).values()) == {2}
        stops.add(there.total())
        bench.post("/reset", status=200)
    assert answered.status_code == 201
    assert there.total() == MESSAGES
    assert len(stops) == 3  # in the first transaction, in the second and in the third


def test_the_command_says_how_far_a_file_came_and_goes_on_from_there(
    bench: Bench, trouble: Trouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sandbox.commands import transfer

    monkeypatch.setattr(transfer, "PART", 15_000)
    (tmp_path / "all.jsonl").write_bytes(file_of_messages())
    shell, file = Shell(bench), str(tmp_path / "all.jsonl")
    trouble.arm("full", 700, lasting=True, only="sandbox-writer")
    done = shell("import", file, "--json")
    trouble.lift()
    assert done.exit_code == 1
    came, there = json.loads(done.stdout), len(stored(bench))
    assert 0 < there < MESSAGES
    assert (came["messages"], came["left"]["messages"]) == (there, MESSAGES - there)
    assert (came["lines"], came["of_lines"]) == (2 + there, 2 + MESSAGES)
    first, words, remedy = done.stderr.splitlines()
    assert "no room left" in first
    assert words.startswith(f"  {file} is in up to line {2 + there} of {2 + MESSAGES}: imported handsets: 1, ")
    assert "Import it again" in remedy
    again = shell.json("import", file)
    assert (again["messages"], again["already_there"]["messages"]) == (MESSAGES - there, there)
    assert len(stored(bench)) == MESSAGES


# At the start ------------------------------------------------------------------------------------------------------


@contextmanager
def half_done(serving: Serving, db: Path, receiver: Receiver) -> Iterator[Running]:
    """A sandbox with a webhook delivery that waits for its retry, and a scenario that is played."""
    with serving(db=str(db)) as running:
        bench = first_of(running)
        bench.patch_account(client_url=receiver.url)
        receiver.answer_next(500)
        bench.post(f"/handsets/{HANDSET}/send", {"text": "hello", "to": "48974"})
        bench.post("/scenarios/happy-survey/runs")
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_at_which_a_call_of_sqlite_fails_ends_with_what_to_do_or_goes_on(
    serving: Serving, trouble: Trouble, tmp_path: Path, receiver: Receiver, kind: str
) -> None:
    db = tmp_path / "sandbox.db"
    with half_done(serving, db, receiver):
        pass
    refused = 0
    for number in range(1, 400):
        trouble.arm(kind, number)
        said = None
        try:
            with serving(db=str(db)) as running:
                struck = trouble.struck
                trouble.lift()
                assert first_of(running).submit().status_code == 200
        except SandboxError as error:
            said = error
        if said is not None:
            refused += 1
            assert said.exit_code in (4, 5)
            assert "--db" in str(said) or "Free some space" in str(said)
        elif not struck:
            break
    assert refused > 10
    with serving(db=str(db)) as running:
        bench = first_of(running)
        bench.call("PUT", "/clock", {"action": "advance", "seconds": 3600})
        found = bench.get("/webhook-deliveries")["webhook_deliveries"]
        assert {each["state"] for each in found} == {"delivered"}


def test_a_clock_that_cannot_be_frozen_goes_on_and_one_that_cannot_be_resumed_stands_still(
    bench: Bench, trouble: Trouble
) -> None:
    for action, before, after in (("resume", True, False), ("freeze", False, True)):
        trouble.arm("full", 1, lasting=True, only="sandbox-writer")
        assert bench.call("PUT", "/clock", {"action": action}).status_code == 503
        assert bench.get("/clock")["frozen"] is before
        trouble.lift()
        assert bench.call("PUT", "/clock", {"action": action}).status_code == 200
        assert bench.get("/clock")["frozen"] is after


def test_a_clock_that_cannot_be_brought_to_the_systems_time_stays_where_it_was(bench: Bench, trouble: Trouble) -> None:
    assert bench.call("PUT", "/clock", {"action": "advance", "seconds": 3600}).status_code == 200
    for number in count(1):
        trouble.arm("full", number, lasting=True, only="sandbox-writer")
        told = bench.call("PUT", "/clock", {"action": "system"})
        trouble.lift()
        if told.status_code == 200:
            break
        assert bench.get("/clock")["ahead_s"] > 3000, f"call {number} failed"
    assert number > 3
    assert abs(bench.get("/clock")["ahead_s"]) < 60


def test_a_clock_that_was_moved_is_told_as_moved_though_it_cannot_be_written(bench: Bench, trouble: Trouble) -> None:
    bench.call("PUT", "/clock", {"action": "advance", "seconds": 0})  # what is done at a start is over
    trouble.arm("full", 1, lasting=True, only="sandbox-writer")
    told = bench.call("PUT", "/clock", {"action": "advance", "seconds": 3600})
    trouble.lift()
    assert told.status_code == 200
    assert told.json()["ahead_s"] > 3000


def test_a_reset_that_fails_leaves_the_clock_where_it_was(bench: Bench, trouble: Trouble) -> None:
    assert bench.call("PUT", "/clock", {"action": "advance", "seconds": 3600}).status_code == 200
    before = bench.get("/clock")["now"]
    trouble.arm("full", 1, lasting=True, only="sandbox-writer")
    assert bench.sandbox.request("POST", "/_sandbox/v1/reset", json={}).status_code == 503
    trouble.lift()
    assert bench.get("/clock")["now"] >= before


def test_an_account_whose_change_or_removal_fails_stays_as_it_was_and_where_it_was(
    bench: Bench, trouble: Trouble
) -> None:
    assert bench.sandbox.request("POST", "/_sandbox/v1/accounts", json={"name": "b", "token": "b"}).status_code == 201
    before = bench.get("/accounts")
    attempts: list[tuple[str, object]] = [
        ("DELETE", None),
        ("PATCH", {"token": "another"}),
        ("PATCH", {"retry": "none"}),
    ]
    for method, body in attempts:
        trouble.arm("full", 1, lasting=True, only="sandbox-writer")
        assert bench.call(method, f"/accounts/{bench.account}", body).status_code == 503
        trouble.lift()
        assert bench.get("/accounts") == before
    assert bench.submit().status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_whose_count_cannot_be_stored_strikes_the_next_call(bench: Bench, trouble: Trouble, kind: str) -> None:
    once = fail(bench, times=1, status=429)
    twice = fail(bench, times=2, status=418)
    trouble.arm(kind, 1, lasting=True, only="sandbox-writer")
    assert statuses(bench, 3) == [503, 503, 503]
    trouble.lift()
    assert [used(bench, each) for each in (once, twice)] == [0, 0]
    assert statuses(bench, 4) == [429, 418, 418, 200]
    assert [used(bench, each) for each in (once, twice)] == [1, 2]
    told = [each["problems"][0]["message"] for each in bench.get("/requests", verdict="refused")["requests"][::-1]]
    assert [re.findall("[0-9] of [0-9]", each) for each in told] == [["1 of 1"], ["1 of 2"], ["2 of 2"]]


def test_room_that_a_failed_reset_made_is_not_given_to_texts(
    serving: Serving, trouble: Trouble, tmp_path: Path
) -> None:
    texting = TextRequest(
        account="default", msisdn=Msisdn(HANDSET), text="hello", shortcode=Shortcode("48974"), new=True
    )

    async def reset_and_text(services: Services) -> list[object]:
        """In one commit."""
        return list(
            await asyncio.gather(
                services.control.reset("default"), services.network.originate(texting), return_exceptions=True
            )
        )

    with serving(db=str(tmp_path / "sandbox.db"), webhook_backlog=10) as running:
        bench = first_of(running)
        bench.patch_account(client_url="http://127.0.0.1:9/nobody-listens")
        send = {"text": "hello", "to": "48974", "wait": False}
        for _ in range(10):
            bench.post(f"/handsets/{HANDSET}/send", send)
        bench.call("PUT", "/clock", {"action": "advance", "seconds": 0})  # the first attempts are over
        for number in count(1):
            trouble.arm("full", number, lasting=True, only="sandbox-writer")
            told = in_loop(running, reset_and_text(running.services))
            trouble.lift()
            if not any(isinstance(each, StorageError) for each in told):
                break
            assert bench.call("POST", f"/handsets/{HANDSET}/send", send).status_code == 503, f"call {number} failed"
        assert number > 10


# Held by another program -------------------------------------------------------------------------------------------


def test_those_who_write_together_wait_once_for_another_program_that_holds_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    statements = file.connect

    def connect(path: str) -> sqlite3.Connection:
        connection = statements(path)
        connection.set_trace_callback(begun.append)
        return connection

    monkeypatch.setattr(file, "BUSY_S", 0.05)
    monkeypatch.setattr(file, "connect", connect)
    path = tmp_path / "sandbox.db"

    async def play() -> list[object]:
        it = database.Database(str(path))
        it.open()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begun.clear()
            written = await asyncio.gather(
                *(it.write(lambda tx: tx.number()) for _ in range(50)), return_exceptions=True
            )
        assert await it.write(lambda tx: "and on it goes") == "and on it goes"
        await it.close()
        return list(written)

    written = asyncio.run(play())
    assert {type(each) for each in written} == {StorageError}
    assert "Close the program that holds it" in str(written[0])
    assert begun.count("BEGIN IMMEDIATE") <= 4  # the first goes alone, the others together


# Those who listen --------------------------------------------------------------------------------------------------


def test_an_event_stream_ends_when_the_store_cannot_be_read_and_misses_nothing_when_it_comes_again(
    bench: Bench, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"{bench.sandbox.url}/_sandbox/v1/events"
    with requests.Session() as session:
        session.trust_env = False
        with session.get(address, stream=True, timeout=10) as events:
            lines = events.iter_lines()
            assert next(lines).startswith(b"retry")
            trouble.arm("i/o", 1, lasting=True, only="sandbox-reader")
            identifier = bench.sent()
            rest = list(lines)  # comes to its end
            trouble.lift()
        assert not any(identifier.encode() in line for line in rest)
        with session.get(f"{address}?after=0", stream=True, timeout=10) as events:
            assert any(identifier.encode() in line for line in events.iter_lines())
    assert [each.getMessage() for each in caplog.records if each.exc_info] == []


# Timers ------------------------------------------------------------------------------------------------------------


def test_a_timer_whose_handler_fails_holds_up_no_other_and_is_tried_again(
    bench: Bench, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    services = bench.sandbox.services
    handlers = services.scheduler._handlers
    broken = True

    def fail(handler: Any, tx: Any, timer: Any) -> Any:
        if broken and "never" in timer.data:
            raise LookupError("a mistake of ours")
        return handler(tx, timer)

    for kind, handler in list(handlers.items()):
        monkeypatch.setitem(handlers, kind, partial(fail, handler))
    for text in ("never", "always"):
        bench.post(f"/handsets/{HANDSET}/send", {"text": text, "to": "48974", "delay_s": 1}, status=202)
    bench.call("PUT", "/clock", {"action": "advance", "seconds": 2})
    assert [each["text"] for each in bench.get("/messages")["messages"]] == ["always"]
    assert "a mistake of ours" in caplog.text
    broken = False
    bench.call("PUT", "/clock", {"action": "advance", "seconds": 60})
    assert [each["text"] for each in bench.get("/messages")["messages"]] == ["never", "always"]


# A disk that is really full ----------------------------------------------------------------------------------------


def play_until_full(server: Server) -> tuple[dict[str, str], dict[str, bytes]]:
    """Send and reply until ten calls were refused; what was acknowledged. Nothing is answered but 2xx and 503."""
    sent: dict[str, str] = {}
    owed: dict[str, bytes] = {}
    refused = 0
    for number in range(5000):
        text = f"{number} " + "x" * 1000
        answers = [server.submit(text), server.texted(text), server.call("GET", "/_sandbox/v1/messages")]
        assert all(clear(each) for each in answers), [each.text for each in answers if not clear(each)]
        if answers[0].status_code == 200:
            sent[answers[0].json()["reference_id"]] = text
        if answers[1].status_code == 201:
            delivery = answers[1].json()["webhook_delivery"]
            owed[delivery["id"]] = delivery["body"].encode()
        refused += sum(each.status_code == 503 for each in answers)
        if refused >= 10:
            return sent, owed
    raise AssertionError("the disk was never full")


def assert_kept(server: Server, sent: dict[str, str], owed: dict[str, bytes], bodies: list[bytes]) -> None:
    server.settle(1)
    kept = {each["id"]: each["text"] for each in server.exported("message")}
    assert {each: kept.get(each) for each in sent} == sent
    states = {each["id"]: each["state"] for each in server.exported("webhook_delivery")}
    assert {states.get(each) for each in owed} <= {"delivered"}
    assert set(owed.values()) <= set(bodies)


def test_a_file_that_may_not_grow_any_more_loses_nothing_and_goes_on_when_it_may(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system does not limit other processes")
    flags = {"db": tmp_path / "sandbox.db"}
    with receiving() as receiver:
        with serving(tmp_path, {**flags, "client-url": receiver.url}) as server:
            assert server.send("a first one") is not None
            largest = max(each.stat().st_size for each in tmp_path.iterdir())
            _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (largest + 600_000, hard))
            sent, owed = play_until_full(server)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert server.send("it goes on") is not None
            assert_kept(server, sent, owed, receiver.bodies)
            server.kill()
        with serving(tmp_path, flags) as server:
            assert_kept(server, sent, owed, receiver.bodies)
    assert sent
    assert owed
    record_property("figure", f"file size limit: {len(sent) + len(owed)} acknowledged before it was full, 0 lost")


def small_disk(folder: Path, *, filled: str) -> list[str]:
    """What runs a program with a disk of 1 MB in place of `folder`, that only it sees, and that ends with it."""
    fill = f'mount -t tmpfs -o size=1m sandbox "$0" && head -c {filled} /dev/zero > "$0/filler" && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", fill, str(folder)]


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where this user may not mount a disk that only one program sees."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    command = [*small_disk(tmp_path_factory.mktemp("disk"), filled="1k"), "true"]
    if subprocess.run(command, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("this user may not mount a disk")


def test_a_disk_that_fills_up_loses_nothing_and_goes_on_when_there_is_room(
    disks: None, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with receiving() as receiver:
        flags = {"db": disk / "sandbox.db", "client-url": receiver.url}
        with serving(tmp_path, flags, through=small_disk(disk, filled="500k")) as server:
            sent, owed = play_until_full(server)
            seen = Path(f"/proc/{server.process.pid}/root{disk}")
            (seen / "filler").unlink()
            assert eventually(lambda: server.send("it goes on"))
            assert_kept(server, sent, owed, receiver.bodies)
    assert sent
    assert owed
    record_property("figure", f"full disk: {len(sent) + len(owed)} acknowledged before it was full, 0 lost")


def test_a_start_on_a_full_disk_is_exit_code_4_with_what_to_do(disks: None, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [sys.executable, "-m", "sandbox.cli", "serve", "--port=0", f"--db={disk / 'sandbox.db'}"]
    for filled in ("1020k", "1000k", "960k", "900k"):
        done = subprocess.run(
            [*small_disk(disk, filled=filled), *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 4, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert "room" in done.stderr
