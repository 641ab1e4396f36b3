"""The endpoint that misbehaves, as its users see it: names, what it remembers, and that nothing of it is left."""

import gc
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from sandbox.errors import NotFound
from sandbox.hostile import HostileEndpoint

PAGE = Path(__file__).parents[1] / "docs" / "testing-with-pytest.md"
EVERY = [(name, variant) for name in HostileEndpoint.behaviours for variant in HostileEndpoint.variants(name)]


@pytest.fixture
def endpoint() -> Iterator[HostileEndpoint]:
    with HostileEndpoint(pause_s=0.01) as it:
        yield it


def post(url: str, body: bytes = b"{}") -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, data=body, allow_redirects=False, timeout=5)


def place(url: str) -> tuple[str, int]:
    host, port = re.findall(r"//([\d.]+):(\d+)/", url)[0]
    return host, int(port)


def test_there_are_26_behaviours_with_a_sentence_each() -> None:
    assert len(HostileEndpoint.behaviours) == 26
    assert all(each.endswith(".") for each in HostileEndpoint.behaviours.values())


def test_the_page_for_users_has_them_all() -> None:
    there = "\n".join(f"| `{name}` | {sentence} |" for name, sentence in HostileEndpoint.behaviours.items())
    assert there in PAGE.read_text(encoding="utf-8")


def test_each_behaviour_has_a_port_of_its_own_on_this_machine(endpoint: HostileEndpoint) -> None:
    places = [place(endpoint.url(behaviour, variant)) for behaviour, variant in EVERY]
    assert {host for host, _ in places} == {"127.0.0.1"}
    assert len(set(places)) == len(EVERY)


def test_the_first_variant_is_meant_where_none_is_named(endpoint: HostileEndpoint) -> None:
    assert endpoint.url("redirects") == endpoint.url("redirects", "301")


@pytest.mark.parametrize(
    ("behaviour", "variant", "hint"),
    [
        ("hang", None, "There is no behaviour 'hang'. Did you mean hangs?"),
        ("redirects", "309", "There is no variant of redirects '309'. Did you mean 30"),
        ("accepts_late", "x", "There is no variant of accepts_late 'x'. Use one of: late, never."),
    ],
)
def test_a_name_that_there_is_not_gets_the_nearest(
    endpoint: HostileEndpoint, behaviour: str, variant: str | None, hint: str
) -> None:
    with pytest.raises(NotFound, match=re.escape(hint)):
        endpoint.url(behaviour, variant)


def test_what_came_in_is_remembered(endpoint: HostileEndpoint) -> None:
    post(endpoint.url("server_errors", "503"), b'{"a": 1}')
    post(endpoint.healthy_url)
    (request,) = endpoint.received_by("server_errors")
    assert (request.variant, request.connection, request.method) == ("503", 1, "POST")
    assert (request.target, request.body) == ("/server_errors/503", b'{"a": 1}')
    assert ("Content-Length", "8") in request.headers
    assert (len(endpoint.received), endpoint.connections["server_errors", "503"]) == (2, 1)


def test_the_healthy_address_answers_as_an_application_should(endpoint: HostileEndpoint) -> None:
    answer = post(endpoint.healthy_url)
    assert (answer.status_code, answer.json()) == (200, {})


def test_a_redirect_leads_to_the_healthy_address(endpoint: HostileEndpoint) -> None:
    assert post(endpoint.url("redirects", "307")).headers["Location"] == endpoint.healthy_url


def test_a_redirect_loop_leads_to_where_it_came_from(endpoint: HostileEndpoint) -> None:
    assert post(endpoint.url("redirect_loop")).headers["Location"] == "/redirect_loop/301"


def test_10_kib_of_the_gzip_bomb_are_10_mib(endpoint: HostileEndpoint) -> None:
    answer = post(endpoint.url("gzip_bomb"))
    assert (int(answer.headers["Content-Length"]) < 16_384, len(answer.content)) == (True, 10 << 20)


def test_it_stops_at_once_whoever_is_connected_and_leaves_nothing_behind() -> None:
    files, threads = len(os.listdir("/dev/fd")), threading.active_count()
    held = []
    with HostileEndpoint() as endpoint:
        for behaviour, variant in EVERY:
            url = endpoint.url(behaviour, variant)
            if behaviour != "refuses":
                with suppress(OSError):  # one of them resets at once, perhaps before it has said that it is connected
                    held.append(socket.create_connection(place(url)))
                    held[-1].sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        for sock in held[5:20]:
            sock.settimeout(0.05)
            with suppress(OSError):
                sock.recv(10)
        begun = time.perf_counter()
    took = time.perf_counter() - begun
    for sock in held:
        sock.close()
    gc.collect()
    assert (len(os.listdir("/dev/fd")), threading.active_count()) == (files, threads)
    assert took < 2
