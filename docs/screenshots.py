"""Photographs every page: python docs/screenshots.py [FOLDER] [PAGE …], in three widths, light and dark.

It fills a sandbox of its own with a small town of handsets and an application with moods. The list of pages is also
what tests/browser/test_accessibility.py examines; the two pictures of the README are renewed when no page is named.
"""

import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.request import urlopen

from sandbox import server
from sandbox.client import SandboxClient
from sandbox.settings import Settings
from sandbox.testkit.transport import Refused

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WIDTHS = {1440: 900, 1024: 768, 390: 844}
LIGHT: Literal["light"] = "light"
DARK: Literal["dark"] = "dark"
SCHEMES = (LIGHT, DARK)

SHORTCODE = "48974"
CONTROL_TOKEN = "a-control-token-of-32-characters"
AMINA = "2348031234567"  # has finished the survey
CHIDI = "2348035550142"  # the application is broken when he answers
BOLA = "2348055550177"  # the application rejects her
NGOZI = "2348095550119"  # reads and writes at length
TUNDE = "2348025550123"  # his handset is off
SADE = "2347035550188"  # another handset off for good: label and number only
SCRIPTED = "2348035550160"

QUESTIONS = (
    "When was the last time you went to the cinema?",
    "Which film did you see?",
    "How was it, from 1 (poor) to 5 (great)?",
)
THANKS = "Thank you! Your answers: {0} / {1} / {2}. Text CINEMA to take the survey again."
LONG = (
    "I saw Ìtàn Àkàrà with my sister at Silverbird, Ikeja. The queue was long and the hall was cold, but the story! "
    "Two women, one stall, and a whole street that changes around them. Tickets were ₦3,500 each and popcorn another "
    "₦1,200, which is too much 😅 Please tell them to show it again at Easter, our cousins from Ọ̀yọ́ are coming then."
)
BROKEN_SCRIPT = """\
scenario: cinema-survey
description: Answers the survey, once late.
handset: {msisdn: any, telco: mtm}
steps:
  - expect: {text: "*cinema?*", witin: 5s}
  - reply: {text: "yesterday", after: 2 hours}
  - expect: {pattern: "(?i)which film", session: same}
"""


# The town ----------------------------------------------------------------------------------------------------------


class Application(ThreadingHTTPServer):
    """What the webhooks reach: answers each phone by `moods`, any other with 200, and takes its time for it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.moods: dict[str, tuple[int, object]] = {}
        self.pauses = iter((0.024, 0.011, 0.148, 0.019, 0.041) * 40)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sms"


class _Answering(BaseHTTPRequestHandler):
    server: Application

    def do_POST(self) -> None:
        reply = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(next(self.server.pauses))
        status, said = self.server.moods.get(reply["from"], (200, {"status": "ok"}))
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Two sandboxes: one full of what people did, and one that is empty and asks for its control token.

    `ids` are what pages of a single thing are found by. The clock of the full one is paused, an hour ahead; that of the
    empty one stands still from the start.
    """

    url: str
    empty_url: str
    ids: Mapping[str, str]
    client: SandboxClient
    token: str

    def says(self, msisdn: str, text: str, *, session: str) -> None:
        """The application sends a text."""
        say(self.client, self.token, msisdn, text, session=session)


@contextmanager
def town() -> Iterator[Town]:
    application = Application()
    serving = threading.Thread(target=application.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    plain = Settings(port=0, db=":memory:")
    try:
        with (
            server.in_thread(plain) as (full, _),
            server.in_thread(Settings(port=0, db=":memory:", clock="virtual", control_token=CONTROL_TOKEN)) as (
                empty,
                _,
            ),
            SandboxClient(full.url) as client,
        ):
            client.set_clock("freeze")
            token = plain.accounts[0].token
            ids = fill(client, token, application)
            yield Town(url=full.url, empty_url=empty.url, ids=ids, client=client, token=token)
    finally:
        application.shutdown()
        serving.join()
        application.server_close()


def say(client: SandboxClient, token: str, msisdn: str, text: str, *, session: str) -> None:
    body = {
        "from": SHORTCODE,
        "to": msisdn,
        "message": text,
        "session_id": session,
        "sent_date": "2026-03-14T09:30:12.482913Z",
    }
    client.submit(body, token=token)


def fill(client: SandboxClient, token: str, application: Application) -> Mapping[str, str]:
    """Let an hour pass in the town. Returns the identifiers of what is worth a page of its own."""

    def said(msisdn: str, text: str, session: str) -> None:
        say(client, token, msisdn, text, session=session)

    def later(seconds: float) -> None:
        client.set_clock("advance", seconds)

    client.change_account("default", client_url=application.url)
    for msisdn, changes in {
        AMINA: {"label": "Amina Bello", "telco": "mtn"},
        CHIDI: {"label": "Chidi", "telco": "mtn"},
        BOLA: {"label": "Bola (test phone)", "telco": "glo"},
        NGOZI: {"label": "Ngozi Okafor", "telco": "9mobile"},
        TUNDE: {"label": "Tunde", "telco": "airtel"},
        SADE: {"label": "Ṣadé", "telco": "mtn", "state": "off"},
    }.items():
        client.change_handset(msisdn, **changes)

    said("2348020000000", QUESTIONS[0], "67543uhn3")  # the documented example
    later(95)
    said("2348061112233", "Your code is 402913. It is valid for ten minutes.", "otp-1")
    later(240)

    client.send(TUNDE, "CINEMA", to=SHORTCODE)
    tunde = client.list("messages", direction="mo")["messages"][0]["session_id"]
    later(2)
    said(TUNDE, QUESTIONS[0], tunde)
    later(31)
    client.reply(TUNDE, "Last week")
    later(1)
    said(TUNDE, QUESTIONS[1], tunde)
    client.change_handset(TUNDE, state="off")
    later(400)
    said(TUNDE, "Are you still there? " + QUESTIONS[1], tunde)
    later(180)

    client.reply("2348020000000", "Yesterday")
    application.moods[BOLA] = (404, {"error": "no survey is open for this number"})
    said(BOLA, QUESTIONS[0], "s-7741")
    later(44)
    client.reply(BOLA, "Not since December")
    later(200)

    client.start_run("late-reply", SCRIPTED)
    said(SCRIPTED, QUESTIONS[0], "s-7750")
    client.start_run("messy-human-input")
    later(60)

    said(NGOZI, QUESTIONS[1], "s-7802")
    later(75)
    client.reply(NGOZI, LONG)
    later(20)
    said(NGOZI, "Thank you, Ngozi! Here is your voucher: NB-4471-KX. Show it at any counter before 30 April.", "s-7802")
    later(180)

    application.moods[CHIDI] = (503, {"error": "database is locked"})
    said(CHIDI, QUESTIONS[0], "s-7811")
    later(12)
    retrying = client.reply(CHIDI, "2 weeks ago, at Filmhouse Surulere")["webhook_delivery"]["id"]
    later(130)

    client.add_fault("sendsms", {"status": 503}, times=2, match={"to": "2348061112233"})
    for wrong in (
        {"to": "0803 123 4567", "message": "Hello from the release test", "sent_date": "yesterday"},
        {"from": SHORTCODE, "to": BOLA, "message": QUESTIONS[1], "session_id": "s-7741", "sent_date": "14/03/2026"},
    ):
        _refused(client, token, wrong)
        later(9)
    _refused(client, "an-old-token", {"from": SHORTCODE, "to": AMINA, "message": "Hello", "session_id": "s-7822"})
    later(90)

    client.send(AMINA, "CINEMA", to=SHORTCODE)
    session = client.list("messages", direction="mo")["messages"][0]["session_id"]
    answers = ("yesterday, at the Silverbird in Ikeja", "Things Fall Apart. Tickets were ₦3,500!", "5")
    for question, answer in zip(QUESTIONS, answers, strict=True):
        later(1)
        said(AMINA, question, session)
        later(16)
        client.reply(AMINA, answer)
    later(1)
    said(AMINA, THANKS.format(*answers), session)
    refused = client.list("requests", verdict="refused")["requests"]
    for read in (AMINA, TUNDE, BOLA):
        urlopen(f"{client.url}/c/{SHORTCODE}/{read}").close()
    return {"refused": refused[-1]["id"], "retrying": retrying}


def _refused(client: SandboxClient, token: str, body: Mapping[str, object]) -> None:
    try:
        client.submit(body, token=token)
    except Refused:
        return
    raise AssertionError(f"the gateway took {body}")


# Pages -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A page as it is photographed and examined. `path` may name one of the town's `ids`."""

    name: str
    path: str
    empty: bool = False  # of the sandbox that nothing has happened in
    act: Callable[["Page"], object] = lambda page: None
    status: int = 200


def unfold(page: "Page") -> None:
    """Show what went over the wire for the newest reply, or for the refused message."""
    bubbles = page.locator(".bubble.refused" if page.locator(".bubble.refused").count() else ".bubble.mo")
    bubbles.last.locator("summary").first.click()
    bubbles.last.evaluate("it => it.scrollIntoView({block: 'start'})")


def write(page: "Page") -> None:
    page.fill("#text", "5, and please show ‘Ìtàn’ again")


def complain(page: "Page") -> None:
    page.fill("#source", BROKEN_SCRIPT)
    page.get_by_role("button", name="Save").click()


def examine(page: "Page") -> None:
    page.check("input[name=post]")
    page.get_by_role("button", name="Examine").click()


def log_in(page: "Page") -> None:
    page.goto(page.url.replace("/login", "/"))
    if page.locator("#token").count():
        page.fill("#token", CONTROL_TOKEN)
        page.get_by_role("button", name="Log in").click()


CHAT = f"/c/{SHORTCODE}"
SCENES = (
    Scene(name="login", path="/login", empty=True),
    Scene(name="home-empty", path="/login", empty=True, act=log_in),
    Scene(name="home", path="/"),
    Scene(name="thread", path=f"{CHAT}/{AMINA}", act=write),
    Scene(name="thread-off", path=f"{CHAT}/{TUNDE}"),
    Scene(name="thread-long", path=f"{CHAT}/{NGOZI}"),
    Scene(name="thread-new", path=f"{CHAT}/{SADE}"),
    Scene(name="thread-retry", path=f"{CHAT}/{CHIDI}", act=unfold),
    Scene(name="thread-refused", path=f"{CHAT}/{BOLA}", act=unfold),
    Scene(name="requests", path="/requests"),
    Scene(name="request", path="/requests/{refused}"),
    Scene(name="webhooks", path="/webhooks"),
    Scene(name="webhooks-none", path="/webhooks?state=cancelled"),
    Scene(name="webhook", path="/webhooks/{retrying}"),
    Scene(name="scenarios", path="/scenarios"),
    Scene(name="scenario", path="/scenarios/late-reply"),
    Scene(name="scenario-edit", path="/scenarios/_edit", act=complain, status=400),
    Scene(name="settings", path="/settings"),
    Scene(name="doctor", path="/doctor", act=examine),
    Scene(name="transcript", path=f"{CHAT}/{AMINA}/as/pytest"),
    Scene(name="api", path="/_sandbox/docs"),
    Scene(name="present", path="/present"),
    Scene(name="error", path="/webhooks/w999999", status=404),
)


def open_scene(page: "Page", town: Town, scene: Scene) -> None:
    """Show a scene in a tab, as far as it can be shown: with its forms sent and its details unfolded."""
    page.goto((town.empty_url if scene.empty else town.url) + scene.path.format_map(town.ids))
    scene.act(page)
    page.wait_for_load_state("load")


def photograph(browser: "Browser", town: Town, scenes: Sequence[Scene], folder: Path) -> int:
    """Every scene in every width and theme. Returns how many pictures there are."""
    for width, height in WIDTHS.items():
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
            )
            page = context.new_page()
            for scene in scenes:
                open_scene(page, town, scene)
                page.screenshot(path=folder / f"{scene.name}-{width}-{scheme}.png", full_page=True)
            context.close()
    return len(scenes) * len(WIDTHS) * len(SCHEMES)


def picture_readme(browser: "Browser", town: Town) -> None:
    """The two pictures of the README: a conversation, and a webhook delivery with its attempts."""
    for name, scene, height, scheme in (
        ("conversation", next(each for each in SCENES if each.name == "thread"), 640, LIGHT),
        ("debugger", next(each for each in SCENES if each.name == "webhook"), 720, DARK),
    ):
        page = browser.new_page(
            viewport={"width": 1000, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        open_scene(page, town, scene)
        page.screenshot(path=HERE / f"{name}.png")
        page.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    names = sys.argv[2:]
    with town() as built, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"), args=QUIET
        )
        if not names:
            built.client.set_clock("system")
            picture_readme(browser, built)
            built.client.set_clock("freeze")
        made = photograph(browser, built, [each for each in SCENES if not names or each.name in names], folder)
        browser.close()
    print(f"{made} pictures in {folder}")


if __name__ == "__main__":
    main()
