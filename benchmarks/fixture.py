"""What does a test pay for the sandbox? Server, account and call, beside pytest-httpserver in the same run.

    python benchmarks/fixture.py [--rounds 15] [--json]

One process, with everything imported before; rounds take turns. `account` is one of a test's own, made and removed;
`checks` is what the fixture looks at when a test is over. Without pytest-httpserver its figures are left out.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from side_by_side import BODY, median, spread

from sandbox import testing

Figures = dict[str, list[float]]
ACCOUNTS = 50
CALLS = 100


@contextmanager
def timed(figures: Figures, name: str, each: int = 1) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    figures.setdefault(name, []).append((time.perf_counter() - begun) * 1000 / each)


def sandbox(figures: Figures) -> None:
    with timed(figures, "server start"):
        starting = testing.start()
        server = starting.__enter__()
    server.client.ready()
    with timed(figures, "account", ACCOUNTS):
        for _ in range(ACCOUNTS):
            with server.account():
                pass
    with server.account() as ninebits:
        ninebits.client_url = answer
        handset = ninebits.handset()
        ninebits.client.submit({**BODY, "to": handset.number}, token=ninebits.token)
        with timed(figures, "checks", CALLS):
            for _ in range(CALLS):
                ninebits.assert_clean()
        with timed(figures, "call", CALLS):
            for _ in range(CALLS):
                handset.messages()
        with timed(figures, "awaited call", CALLS):
            asyncio.run(awaited(ninebits.to_async()))
        with timed(figures, "reply", CALLS):
            for _ in range(CALLS):
                handset.reply("yesterday")
    with timed(figures, "server stop"):
        starting.__exit__(None, None, None)


async def awaited(ninebits: testing.AsyncSandbox) -> None:
    for _ in range(CALLS):
        await ninebits.messages()


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """The application: an ASGI callable that takes every reply."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def httpserver(figures: Figures, server_class: Callable[[], Any]) -> None:
    """pytest-httpserver's fixture: a server for all tests, `clear` between them, and its checks."""
    server = server_class()
    with timed(figures, "server start"):
        server.start()
    with timed(figures, "account", ACCOUNTS):
        for _ in range(ACCOUNTS):
            server.clear()
    with timed(figures, "checks", CALLS):
        for _ in range(CALLS):
            server.check()
    with timed(figures, "server stop"):
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        from pytest_httpserver import HTTPServer as other
    except ImportError:
        other = None
    ours: Figures = {}
    theirs: Figures = {}
    for number in range(options.rounds + 1):
        if number == 1:  # the first round imports, compiles and fills caches
            ours.clear()
            theirs.clear()
        sandbox(ours)
        if other is not None:
            httpserver(theirs, other)
    if options.json:
        print(json.dumps({"sandbox_ms": medians(ours), "pytest_httpserver_ms": medians(theirs)}))
        return
    print(f"{'ms':<14} {'sandbox':>8} {'noise':>6}   {'pytest-httpserver':>17} {'noise':>6}")
    for name, values in ours.items():
        other = f"{median(theirs[name]):17.2f} {spread(theirs[name]):>6}" if name in theirs else f"{'-':>17}"
        print(f"{name:<14} {median(values):8.2f} {spread(values):>6}   {other}")


def medians(figures: Figures) -> dict[str, float]:
    return {name: median(values) for name, values in figures.items()}


if __name__ == "__main__":
    main()
