"""Makes the picture in the README: python docs/screenshots.py

It plays the demo survey in a sandbox of its own, in memory, and photographs the conversation in the installed Chromium.
"""

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
HANDSET = "2348031234567"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def call(port: int, method: str, path: str, body: object) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def wait_for_text(port: int, text: str) -> None:
    """Return when the application has sent a text like this."""
    for line in event_lines(port):
        if line.startswith(b"data: ") and text in line.decode():
            return


def event_lines(port: int) -> Iterator[bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/_sandbox/v1/events?after=0")
    with connection.getresponse() as stream:
        yield from stream
    connection.close()


def main() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "sandbox.cli", "serve", "--demo", "--db", ":memory:", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = 0
        for line in server.stdout:
            if found := re.search(r"Base URL +http://127\.0\.0\.1:(\d+)", line):
                port = int(found[1])
            if "Ctrl+C" in line:
                break
        handset = f"/_sandbox/v1/handsets/{HANDSET}"
        call(port, "PATCH", handset, {"label": "Amina"})
        call(port, "POST", f"{handset}/send", {"text": "CINEMA", "to": "48974"})
        wait_for_text(port, "When was the last time")
        call(port, "POST", f"{handset}/reply", {"text": "yesterday, at the Silverbird in Ikeja"})
        wait_for_text(port, "Which film")
        call(port, "POST", f"{handset}/reply", {"text": "Things Fall Apart. Tickets were ₦3,500!"})
        wait_for_text(port, "How was it")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
            page = browser.new_page(viewport={"width": 1120, "height": 720}, color_scheme="light")
            page.goto(f"http://127.0.0.1:{port}/c/48974/{HANDSET}")
            page.get_by_role("textbox", name=re.compile("message|reply|text", re.IGNORECASE)).last.fill("5")
            page.screenshot(path=HERE / "conversation.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
