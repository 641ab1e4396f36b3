"""An import that does not come to its end, or is not alone: whatever happens, the same file sent again makes it whole.

A disk that is full is the business of test_failing_database.py.
"""

import json
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.processes import HANDSET, PATIENCE_S, Server, serving, talking

MESSAGES = 1_500


def file_of_messages(server: Server) -> bytes:
    """An exported file, in which each message stands twice; of today, so that none is too old to be kept."""
    today = server.get("/clock")["now"][:10]
    lines: list[dict[str, object]] = [{"type": "export", "version": 1}]
    message = {"type": "message", "direction": "mo", "from": HANDSET, "to": "48974", "session_id": "s", "telco": "mtn"}
    for number in range(MESSAGES):
        moment = f"{today}T00:00:{number // 2 // 1000:02}.{number // 2 % 1000:03}000Z"
        told = {"id": f"m{number + 1}", "text": f"text {number // 2}", "sent_date": moment, "at": moment}
        lines.append({**message, **told, "state": "unrouted"})
    return "\n".join(map(json.dumps, lines)).encode()


def take_in(server: Server, file: bytes) -> dict[str, Any]:
    """What an import is answered, on a connection of its own."""
    with talking() as session:
        answered = session.post(
            f"{server.url}/_sandbox/v1/import",
            data=file,
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE_S,
        )
    assert answered.status_code == 201, answered.text
    found: dict[str, Any] = answered.json()
    return found


def count(server: Server) -> int:
    """How many messages there are."""
    return len(server.exported("message"))


def wait_until_it_has_begun(server: Server) -> None:
    assert server.get("/messages/wait", direction="mo", timeout=PATIENCE_S)["satisfied"]


def assert_whole_when_sent_again(server: Server, file: bytes) -> None:
    there = count(server)
    assert there > 0
    again = take_in(server, file)
    assert (again["messages"], again["already_there"]["messages"]) == (MESSAGES - there, there)
    texts = Counter(each["text"] for each in server.exported("message"))
    assert (len(texts), set(texts.values())) == (MESSAGES // 2, {2})


def test_a_file_whose_import_was_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    flags = {"db": tmp_path / "sandbox.db"}
    with ThreadPoolExecutor(1) as threads:
        with serving(tmp_path, flags) as server:
            file = file_of_messages(server)
            under_way = threads.submit(take_in, server, file)
            wait_until_it_has_begun(server)
            server.kill()
        assert under_way.exception() is None or isinstance(under_way.exception(), requests.ConnectionError)
        with serving(tmp_path, flags) as server:
            assert_whole_when_sent_again(server, file)


def test_a_file_whose_sender_left_is_taken_in_once_though_it_is_sent_again_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path, {"db": tmp_path / "sandbox.db"}) as server:
        file = file_of_messages(server)
        address = urlsplit(server.url)
        head = f"POST /_sandbox/v1/import HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port or 80), PATIENCE_S) as leaving:
            leaving.sendall(f"{head}Content-Length: {len(file)}\r\n\r\n".encode() + file)
            wait_until_it_has_begun(server)
        take_in(server, file)
        again = take_in(server, file)
        assert (again["messages"], again["already_there"]["messages"]) == (0, MESSAGES)
        assert count(server) == MESSAGES


def test_a_file_that_is_cut_off_on_the_way_is_not_begun(tmp_path: Path) -> None:
    with serving(tmp_path, {"db": tmp_path / "sandbox.db"}) as server:
        file = file_of_messages(server)
        address = urlsplit(server.url)
        head = f"POST /_sandbox/v1/import HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port or 80), PATIENCE_S) as leaving:
            leaving.sendall(f"{head}Content-Length: {len(file)}\r\n\r\n".encode() + file[: len(file) // 2])
            leaving.shutdown(socket.SHUT_WR)
            while leaving.recv(65536):  # until the server has noticed
                pass
        assert count(server) == 0


def test_the_same_file_sent_twice_at_once_is_there_once(tmp_path: Path) -> None:
    together = threading.Barrier(2)
    with serving(tmp_path, {"db": tmp_path / "sandbox.db"}) as server, ThreadPoolExecutor(2) as threads:
        file = file_of_messages(server)

        def send() -> dict[str, Any]:
            together.wait(PATIENCE_S)
            return take_in(server, file)

        answered = [each.result() for each in [threads.submit(send) for _ in range(2)]]
        assert sum(each["messages"] for each in answered) == MESSAGES
        assert sum(each["already_there"]["messages"] for each in answered) == MESSAGES
        assert count(server) == MESSAGES


def test_an_account_that_is_removed_while_a_file_is_taken_in_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, {"db": tmp_path / "sandbox.db"}) as server, ThreadPoolExecutor(1) as threads:
        file = file_of_messages(server)
        made = server.call("POST", "/_sandbox/v1/accounts", {"name": "other", "token": "other"})
        assert made.status_code == 201

        def send() -> int:
            with talking() as session:
                url, headers = f"{server.url}/_sandbox/v1/import?account=other", {"Content-Type": "application/json"}
                return session.post(url, data=file, headers=headers, timeout=PATIENCE_S).status_code

        under_way = threads.submit(send)
        server.get("/messages/wait", account="other", direction="mo", timeout=PATIENCE_S)
        assert server.call("DELETE", "/_sandbox/v1/accounts/other").status_code == 204
        assert under_way.result() in (201, 404)  # 201: it was faster
        server.call("POST", "/_sandbox/v1/accounts", {"name": "other", "token": "other"})
        assert server.get("/messages", account="other")["messages"] == []
