"""How a sandbox ends, and how it refuses to start: at once, with one message that says what to do, and nothing lost.

Real processes, real signals, real files; a file that is refused has the same bytes afterwards.
"""

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from sandbox.store.database import Database
from sandbox.store.file import SCHEMA_VERSION
from tests.commands.shell import INTERRUPTIBLE
from tests.faulty import eventually
from tests.processes import Server, receiving, serving, started

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")

STOPS_WITHIN_S = 12.0

# Ends --------------------------------------------------------------------------------------------------------------


def gone(server: Server) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=1).close()
    except OSError:
        return True
    return False


def end(server: Server, signals: Sequence[signal.Signals]) -> tuple[int, str]:
    """Send signals, each when the one before was heard. The exit code, and what was said."""
    for each in signals:
        server.process.send_signal(each)
        eventually(lambda: gone(server))
    code = server.process.wait(STOPS_WITHIN_S)
    assert server.process.stderr is not None
    return code, server.process.stderr.read()


@pytest.mark.parametrize(
    ("signals", "pending"),
    [
        pytest.param([signal.SIGTERM], 1000, id="SIGTERM"),
        pytest.param([signal.SIGINT], 50, id="Ctrl+C"),
        pytest.param([signal.SIGINT, signal.SIGINT], 50, id="Ctrl+C twice"),
    ],
)
def test_a_stop_with_pending_webhook_deliveries_to_a_hanging_application_loses_none(
    tmp_path: Path, signals: Sequence[signal.Signals], pending: int
) -> None:
    with receiving() as receiver:
        receiver.hold(lambda _: True)
        flags = {"db": tmp_path / "sandbox.db", "client-url": receiver.url}
        with serving(tmp_path, flags, program=("-c", INTERRUPTIBLE), stderr=subprocess.PIPE) as server:
            owed = [delivery["body"].encode() for n in range(pending) if (delivery := server.reply(f"text {n}"))]
            assert receiver.held.wait(STOPS_WITHIN_S)
            assert end(server, signals) == (0, "")
        assert len(owed) == pending
        under_way = Counter(receiver.bodies)
        receiver.release()
        with serving(tmp_path, flags) as server:
            server.settle(3600)  # an attempt that hung for long enough before the stop waits for its retry
            states = Counter(each["state"] for each in server.exported("webhook_delivery"))
        assert states == {"delivered": pending}
        assert Counter(receiver.bodies) == Counter(owed) + under_way  # twice only what was under way at the stop


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem, key.pem, and locked.pem: that key with a password."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make certificates")
    folder = tmp_path_factory.mktemp("tls")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost",
        "rsa -aes256 -passout pass:secret -in key.pem -out locked.pem",
    ):
        subprocess.run([openssl, *command.split()], check=True, capture_output=True, cwd=folder)
    return folder


def test_a_stop_does_not_wait_for_a_tls_client_that_keeps_its_connection(certificate: Path, tmp_path: Path) -> None:
    flags = {
        "db": ":memory:",
        "ssl-certfile": certificate / "cert.pem",
        "ssl-keyfile": certificate / "key.pem",
    }
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, flags, stderr=subprocess.PIPE))
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        context = ssl.create_default_context(cafile=certificate / "cert.pem")
        context.check_hostname = False
        plain = stack.enter_context(socket.create_connection(address, timeout=STOPS_WITHIN_S))
        client = stack.enter_context(context.wrap_socket(plain))
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(3) == 0


# Refuses to start --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What stands in the way: `prepare` puts it into an empty folder. `said` is what the one message has to name."""

    prepare: Callable[[Path], object]
    flags: Mapping[str, object] = field(default_factory=dict)
    exit_code: int
    said: Sequence[str]
    through: Sequence[str] = ()


def written(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def nothing(_: Path) -> None:
    pass


def database(folder: Path) -> Path:
    """A database of a sandbox's own, with nothing in it."""
    path = folder / "sandbox.db"

    async def make() -> None:
        it = Database(str(path))
        it.open()
        await it.close()

    asyncio.run(make())
    return path


def damaged(folder: Path) -> None:
    path = database(folder)
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = b"\xa5" * 4096
    path.write_bytes(content)


def of_another_version(folder: Path) -> None:
    with closing(sqlite3.connect(database(folder), isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def of_another_program(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "sandbox.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE photographs (name TEXT)")


def read_only_file(folder: Path) -> None:
    database(folder).chmod(0o400)


def read_only_folder(folder: Path) -> None:
    folder = folder / "folder"
    folder.mkdir()
    database(folder)
    folder.chmod(0o500)


# What may not be written is written all the same by root, unless that power is taken away.
NO_POWER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()

DB = {"db": "sandbox.db"}
TLS = {"db": ":memory:", "ssl-certfile": "cert.pem", "ssl-keyfile": "key.pem"}
REFUSALS = {
    "settings that are no TOML": Refusal(
        prepare=written("ninebits-sandbox.toml", b"port = ["), exit_code=2, said=["ninebits-sandbox.toml", "TOML"]
    ),
    "settings that are no text": Refusal(
        prepare=written("ninebits-sandbox.toml", b"\xff\xfe\x00"), exit_code=2, said=["ninebits-sandbox.toml"]
    ),
    "settings that nobody may read": Refusal(
        prepare=lambda folder: (folder / "ninebits-sandbox.toml").touch(0o000),
        exit_code=2,
        said=["ninebits-sandbox.toml", "Permission denied"],
        through=NO_POWER,
    ),
    "a setting that nobody knows": Refusal(
        prepare=written("ninebits-sandbox.toml", b"prot = 1\n"), exit_code=2, said=["prot", "Did you mean port?"]
    ),
    "no certificate": Refusal(prepare=nothing, flags=TLS, exit_code=2, said=["cert.pem", "PEM"]),
    "a certificate that is none": Refusal(
        prepare=lambda folder: [(folder / name).write_text("secret") for name in ("cert.pem", "key.pem")],
        flags=TLS,
        exit_code=2,
        said=["cert.pem", "PEM"],
    ),
    "an address of somebody else": Refusal(
        prepare=nothing, flags={"db": ":memory:", "host": "203.0.113.1"}, exit_code=3, said=["203.0.113.1", "--host"]
    ),
    "a damaged database": Refusal(prepare=damaged, flags=DB, exit_code=4, said=["damaged", "not touched", "--db"]),
    "a text": Refusal(
        prepare=written("sandbox.db", b"Dear diary,\n"), flags=DB, exit_code=4, said=["not a database", "--db"]
    ),
    "a database of a newer sandbox": Refusal(
        prepare=of_another_version, flags=DB, exit_code=4, said=[f"schema {SCHEMA_VERSION + 1}", "--db"]
    ),
    "a database of another program": Refusal(
        prepare=of_another_program, flags=DB, exit_code=4, said=["another program's", "--db"]
    ),
    "a folder": Refusal(
        prepare=lambda folder: (folder / "sandbox.db").mkdir(), flags=DB, exit_code=4, said=["directory", "--db"]
    ),
    "a folder that is a file": Refusal(
        prepare=written("folder", b""), flags={"db": "folder/sandbox.db"}, exit_code=4, said=["folder", "--db"]
    ),
    "a file that may not be written": Refusal(
        prepare=read_only_file, flags=DB, exit_code=4, said=["Permission denied", "--db"], through=NO_POWER
    ),
    "a folder that may not be written": Refusal(
        prepare=read_only_folder,
        flags={"db": "folder/sandbox.db"},
        exit_code=4,
        said=["folder/sandbox.db", "--db"],
        through=NO_POWER,
    ),
}


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file in a folder, but for locks, which hold nothing."""
    files = (each for each in folder.rglob("*") if each.is_file() and not each.name.endswith("-lock"))
    return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def refused(folder: Path, flags: Mapping[str, object], through: Sequence[str] = ()) -> tuple[int, str]:
    """The exit code of a server that cannot start, and what it says."""
    process = started(folder, flags, through=through, stderr=subprocess.PIPE)
    shown, said = process.communicate(timeout=20)
    assert "Traceback" not in said, said
    assert shown == ""
    return process.returncode, said


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for each in tmp_path.iterdir():  # pytest has to be able to remove it
        each.chmod(0o700)


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_what_stands_in_the_way_of_a_start_is_told_in_one_message_and_is_not_touched(
    folder: Path, refusal: Refusal
) -> None:
    if refusal.through and shutil.which(refusal.through[0]) is None:
        pytest.skip(f"there is no {refusal.through[0]}")
    refusal.prepare(folder)
    before = contents(folder)
    code, said = refused(folder, refusal.flags, refusal.through)
    assert code == refusal.exit_code, said
    assert [each for each in refusal.said if each not in said] == [], said
    # settings are complained about all at once, a line each below the first
    assert said.count("\n") == (2 if "These settings" in said else 1)
    assert contents(folder) == before


def test_a_key_with_a_password_is_exit_code_2_and_nobody_is_asked(certificate: Path, tmp_path: Path) -> None:
    flags = {"db": ":memory:", "ssl-certfile": certificate / "cert.pem", "ssl-keyfile": certificate / "locked.pem"}
    code, said = refused(tmp_path, flags)
    assert (code, said.count("\n")) == (2, 1)
    assert "without a password" in said


def test_a_taken_port_is_exit_code_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused(tmp_path, {"port": taken.getsockname()[1]})
    assert (code, said.count("\n")) == (3, 1)
    assert "--port" in said
    assert not (tmp_path / ".ninebits-sandbox").exists()


def test_a_second_sandbox_on_one_database_is_exit_code_5_and_the_first_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, DB) as server:
        assert server.send("before") is not None
        code, said = refused(tmp_path, DB)
        assert server.send("after") is not None
        assert [each["text"] for each in server.exported("message")] == ["before", "after"]
    assert (code, said.count("\n")) == (5, 1)
    assert "--db" in said


def test_a_sandbox_that_could_not_start_leaves_its_database_to_the_next(tmp_path: Path) -> None:
    damaged(tmp_path)
    assert refused(tmp_path, DB)[0] == 4
    for each in tmp_path.glob("sandbox.db*"):
        if not each.name.endswith("-lock"):
            each.unlink()
    with serving(tmp_path, DB) as server:
        assert requests.get(f"{server.url}/readyz", timeout=10).status_code == 200
