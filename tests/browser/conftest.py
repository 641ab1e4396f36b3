"""A real Chromium, a sandbox and an application, each in a place of its own.

Without a browser these tests are skipped and say why; in CI (the environment variable CI) that is a failure.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from sandbox import server
from sandbox.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

# The first that is there. The shell has no windows to draw, and needs a third of the processor time for the same page.
CHROMIUM = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
TOKEN = "sandbox-token"
NUMBER = "2348020000000"


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")  # not session: while it lives, an event loop runs in the main thread
def browser() -> "Iterator[Browser]":
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    found = next((path for path in CHROMIUM if Path(path).exists()), None)
    if found is None:
        _missing(f"there is no {' or '.join(CHROMIUM)}")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield made
        made.close()


class Application:
    """The user's application, in another process."""

    def __init__(self, said: IO[str]) -> None:
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(said,))
        self._reader.start()
        self.url = self._lines.get(timeout=10)

    def _read(self, said: IO[str]) -> None:
        for line in said:
            self._lines.put(line.strip())

    def next_call(self) -> Any:
        """The next POST that it has answered; waits for it."""
        return json.loads(self._lines.get(timeout=10))

    def join(self) -> None:
        self._reader.join()


@pytest.fixture
def application() -> Iterator[Application]:
    command = [sys.executable, str(Path(__file__).with_name("receiver.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        made = Application(process.stdout)
        yield made
        process.terminate()
        made.join()


@dataclass
class Sandbox:
    url: str
    http: requests.Session

    @property
    def chat(self) -> str:
        return f"{self.url}/c/48974/{NUMBER}"

    def sends(self, text: str, *, session: str = "67543uhn3", to: str = NUMBER) -> None:
        """The application sends a message."""
        body = {
            "from": "48974",
            "to": to,
            "message": text,
            "session_id": session,
            "sent_date": "2024-01-02T23:50:37.000000Z",
        }
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert self.http.post(f"{self.url}/ng/v1/sendsms", json=body, headers=headers).ok


Start = Callable[..., AbstractContextManager[Sandbox]]


@pytest.fixture
def start(application: Application) -> Start:
    """Starts sandboxes in memory that post to the application."""

    @contextmanager
    def running(port: int = 0, **settings: Any) -> Iterator[Sandbox]:
        plain = Settings(**{"port": port, "db": ":memory:", "clock": "virtual", **settings})
        account = replace(plain.accounts[0], client_url=application.url)
        with (
            server.in_thread(replace(plain, accounts=(account,))) as (address, _),
            requests.Session() as http,
        ):
            http.trust_env = False  # no proxy that this machine may have
            yield Sandbox(address.url + (plain.root_path or ""), http)

    return running


@pytest.fixture
def sandbox(start: Start) -> Iterator[Sandbox]:
    with start() as made:
        yield made


Open = Callable[..., "Page"]


@pytest.fixture
def errors() -> list[str]:
    """What the browser complained about: errors of scripts, of the console and of its policy, and strange hosts."""
    return []


@pytest.fixture
def tab(browser: "Browser", sandbox: Sandbox, errors: list[str]) -> Iterator[Open]:
    """Opens tabs of one browser; afterwards no error may be left."""
    contexts: list[BrowserContext] = []

    def open_(url: str, **options: Any) -> "Page":
        if not contexts or options:
            contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda it: errors.append(f"console: {it.text}") if it.type == "error" else None)
        page.on("pageerror", lambda it: errors.append(f"script: {it}"))
        page.on(
            "request",
            lambda it: (
                None if urlsplit(it.url).netloc == urlsplit(sandbox.url).netloc else errors.append(f"asked {it.url}")
            ),
        )
        page.goto(url)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("#link[data-state=live]", state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors
