"""The pages over real HTTP and without a browser: forms, redirects, errors, hostile text, login."""

import html
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import server
from sandbox.pages import formatting, routes
from sandbox.settings import Settings, account_from
from tests.pages.browsing import Intruders

TOKEN = "sandbox-token"
ADA = "2348020000000"
CHAT = f"/c/48974/{ADA}"


@dataclass
class Application:
    """What stands in for the user's application: it keeps what was posted, and answers as it is told."""

    url: str
    status: int = 200
    answer: bytes = b'{"status": "ok"}'
    posted: list[bytes] = field(default_factory=list)


@dataclass
class Site:
    url: str
    http: requests.Session

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.http.get(self.url + path, allow_redirects=False, **more)

    def post(self, path: str, **form: str) -> requests.Response:
        return self.http.post(self.url + path, data=form or {"_": ""}, allow_redirects=False)

    def text(self, path: str) -> str:
        """A page as it reads: without tags, entities resolved, blanks collapsed."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return read(answer)

    def sends(self, text: str, *, to: str = ADA, session: str = "67543uhn3", **more: object) -> requests.Response:
        """The application sends a message."""
        body = {"from": "48974", "to": to, "message": text, "session_id": session, **more}
        body.setdefault("sent_date", "2024-01-02T23:50:37.000000Z")
        return self.http.post(f"{self.url}/ng/v1/sendsms", json=body, headers={"Authorization": f"Bearer {TOKEN}"})

    def api(self, method: str, path: str, **body: object) -> Any:
        answer = self.http.request(method, f"{self.url}/_sandbox/v1{path}", json=body if method != "GET" else None)
        assert answer.ok, answer.text
        return answer.json()


def read(answer: requests.Response) -> str:
    bare = re.sub(r"<(script|style|svg|title).*?</\1>", "", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())


@pytest.fixture
def application() -> Iterator[Application]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            app.posted.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(app.status)
            self.send_header("content-length", str(len(app.answer)))
            self.end_headers()
            self.wfile.write(app.answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        app = Application(f"http://127.0.0.1:{listening.server_address[1]}/sms")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield app
        listening.shutdown()
        thread.join()


@contextmanager
def serving(settings: Settings) -> Iterator[Site]:
    with server.in_thread(settings) as (address, _), requests.Session() as http:
        http.trust_env = False  # no proxy that this machine may have
        yield Site(address.url, http)


def settings(client_url: str | None = None, **more: Any) -> Settings:
    plain = Settings(port=0, db=":memory:", clock="virtual")
    return replace(plain, accounts=(replace(plain.accounts[0], client_url=client_url),), **more)


@pytest.fixture
def site() -> Iterator[Site]:
    """A sandbox whose account has no client_url."""
    with serving(settings()) as made:
        yield made


@pytest.fixture
def wired(application: Application) -> Iterator[Site]:
    """A sandbox that posts to `application`."""
    with serving(settings(application.url)) as made:
        yield made


# What a first visit teaches ----------------------------------------------------------------------------------------


def test_the_first_page_teaches_base_url_example_and_next_step(site: Site) -> None:
    page = site.text("/")
    assert f"Base URL {site.url}" in page
    assert f"curl {site.url}/ng/v1/sendsms" in page
    assert '"Authorization: Bearer $TOKEN"' in page
    assert "When was the last time you went to the cinema?" in page
    assert "Set your client_url" in page


def test_no_page_shows_a_token(site: Site) -> None:
    site.sends("hello")
    for path in ("/", CHAT, "/requests", "/requests/r1", "/settings"):
        assert TOKEN not in site.get(path).text


def test_pages_run_nothing_inline_and_load_nothing_from_elsewhere(wired: Site) -> None:
    wired.sends("hello")
    wired.post(CHAT, text="hi", session="last")
    for path in ("/", CHAT, "/requests", "/requests/r1", "/webhooks", "/webhooks/w2", "/settings"):
        page = wired.get(path)
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not Intruders.in_page(page.text)


# Conversations -----------------------------------------------------------------------------------------------------


def test_a_message_of_the_application_is_unread_until_somebody_looks(site: Site) -> None:
    site.sends("When was the last time?")
    assert "(1) Conversations" in site.get("/").text
    assert "When was the last time?" in site.text(CHAT)
    assert "<title>Conversations" in site.get("/").text


def test_a_refresh_in_the_background_leaves_a_message_unread(site: Site) -> None:
    site.sends("hello")
    assert site.get(CHAT, headers={"X-Refresh": "background"}).status_code == 200
    assert "(1) Conversations" in site.get("/").text
    assert site.get(CHAT, headers={"X-Refresh": "visible"}).status_code == 200
    assert "(1)" not in site.get("/").text


def test_a_reply_is_posted_in_the_session_of_the_last_message_and_redirects(
    wired: Site, application: Application
) -> None:
    wired.sends("Which film?", session="67543uhn3")
    answer = wired.post(CHAT, text="Things Fall Apart", session="last")
    assert (answer.status_code, answer.headers["location"]) == (303, CHAT)
    assert wait_for_delivery(wired, "w2")["state"] == "delivered"
    assert json.loads(application.posted[0])["session_id"] == "67543uhn3"
    assert "delivered 200 in" in wired.text(CHAT)


def test_a_reply_can_start_a_new_session(wired: Site, application: Application) -> None:
    wired.sends("Which film?", session="67543uhn3")
    wired.post(CHAT, text="CINEMA", session="new")
    wait_for_delivery(wired, "w2")
    assert json.loads(application.posted[0])["session_id"] != "67543uhn3"


def test_line_ends_of_a_browser_become_one_line_feed(wired: Site, application: Application) -> None:
    wired.post(CHAT, text="one\r\ntwo")
    wait_for_delivery(wired, "w1")
    assert json.loads(application.posted[0])["message"] == "one\ntwo"


def test_a_failed_attempt_says_when_the_next_one_comes(wired: Site, application: Application) -> None:
    application.status = 503
    wired.post(CHAT, text="5")
    delivery = wait_for_delivery(wired, "w1")
    at = delivery["next_attempt_at"][11:19]
    assert f"503, retry 1 of 8 at {at}" in wired.text(CHAT)


def test_attempt_now_delivers_what_is_being_retried(wired: Site, application: Application) -> None:
    application.status = 503
    wired.post(CHAT, text="5")
    wait_for_delivery(wired, "w1")
    application.status = 200
    answer = wired.post("/webhooks/w1/attempt", **{"from": "thread"})
    assert answer.headers["location"] == f"{CHAT}#m1"
    assert wait_for_delivery(wired, "w1", "delivered")["state"] == "delivered"


def test_redeliver_leads_to_the_new_webhook_delivery(wired: Site, application: Application) -> None:
    application.status = 404
    wired.post(CHAT, text="5")
    wait_for_delivery(wired, "w1")
    assert "rejected 404" in wired.text("/webhooks/w1")
    application.status = 200
    answer = wired.post("/webhooks/w1/redeliver")
    again = answer.headers["location"].rpartition("/")[2]
    assert wait_for_delivery(wired, again)["state"] == "delivered"
    assert application.posted[0] == application.posted[1]
    assert f"Delivered again as {again}" in wired.text("/webhooks/w1")


def test_cancel_owes_nothing_more(wired: Site, application: Application) -> None:
    application.status = 503
    wired.post(CHAT, text="5")
    wait_for_delivery(wired, "w1")
    wired.post("/webhooks/w1/cancel")
    assert "cancelled" in wired.text("/webhooks/w1")
    assert wired.post("/webhooks/w1/cancel").status_code == 409


def test_without_a_client_url_a_text_says_so_and_leads_to_the_setting(site: Site) -> None:
    site.post(CHAT, text="hello?")
    assert "not sent: no client_url" in site.text(CHAT)
    assert 'href="/settings#application"' in site.get(CHAT).text


def test_an_empty_text_is_complained_about_beside_the_field(site: Site) -> None:
    answer = site.post(CHAT, text="", session="last")
    assert answer.status_code == 400
    assert "There is nothing to send yet" in read(answer)
    assert 'aria-describedby="text-error"' in answer.text


def test_a_text_that_is_too_long_is_kept_in_the_form(site: Site) -> None:
    answer = site.post(CHAT, text="x" * 1601)
    assert answer.status_code == 400
    assert "1601 characters" in read(answer)
    assert "x" * 1601 in answer.text


def test_a_reply_of_a_handset_that_is_off_is_explained_and_kept(site: Site) -> None:
    assert site.post(f"{CHAT}/handset", state="off").status_code == 303
    answer = site.post(CHAT, text="are you there?")
    assert answer.status_code == 409
    assert "Switch it on first" in read(answer)
    assert "are you there?" in answer.text


def test_messages_wait_for_a_handset_that_is_off(site: Site) -> None:
    site.post(f"{CHAT}/handset", state="off")
    site.sends("hello")
    assert "accepted, waits for the handset" in site.text(CHAT)
    site.post(f"{CHAT}/handset", state="on")
    assert "arrived" in site.text(CHAT)


def test_a_label_is_kept_and_found(site: Site) -> None:
    site.sends("hello")
    site.post(f"{CHAT}/handset", label="Ada Obi", telco="glo")
    page = site.text(CHAT)
    assert "Ada Obi" in page
    assert "· glo" in page
    assert "Ada Obi" in site.text("/?q=obi")
    assert "No number or label holds" in site.text("/?q=zzz")


def test_a_number_is_found_the_way_it_is_shown(site: Site) -> None:
    site.sends("hello")
    assert "hello" in site.text("/?q=%2B234+802+000")


def test_a_new_handset_with_a_first_text_starts_a_session(wired: Site, application: Application) -> None:
    answer = wired.post("/", number="+234 802 000 0000", label="Ada", shortcode="48974", telco="mtn", text="CINEMA")
    assert (answer.status_code, answer.headers["location"]) == (303, CHAT)
    wait_for_delivery(wired, "w2")
    assert json.loads(application.posted[0])["message"] == "CINEMA"
    assert json.loads(application.posted[0])["telco"] == "mtn"


def test_a_new_handset_without_a_text_is_listed_all_the_same(site: Site) -> None:
    site.post("/", number=ADA, label="Ada", shortcode="48974")
    assert "Ada no messages yet" in site.text("/")
    assert "No messages between" in site.text(CHAT)


def test_a_wrong_number_is_complained_about_and_everything_typed_is_kept(site: Site) -> None:
    answer = site.post("/", number="08020000000", label='Ada "the first"', shortcode="x", text="CINEMA")
    page = html.unescape(answer.text)
    assert answer.status_code == 400
    assert "a national number" in page
    assert "Use a shortcode of 3 to 15 digits" in page
    for typed in ('value="08020000000"', 'Ada "the first"', "CINEMA"):
        assert typed in page


def test_older_messages_are_a_link_away(site: Site) -> None:
    for number in range(35):
        site.sends(f"message {number:02}")
    newest = site.get(CHAT).text
    assert "message 34" in newest
    assert "message 04" not in newest
    older = re.search(r'href="(/c/[^"]*before=[^"]*)"', newest)
    assert older is not None
    assert "message 04" in site.text(html.unescape(older[1]))


# The wire ----------------------------------------------------------------------------------------------------------


def test_a_bubble_unfolds_to_headers_body_answer_and_curl(site: Site) -> None:
    site.sends("How are you?", ref_id="873ghf", strange=1)
    page = site.text(CHAT)
    assert "content-type application/json" in page
    assert '"message": "How are you?"' in page
    assert '"status_code": 200' in page
    assert "strange" in page
    assert f"curl {site.url}/ng/v1/sendsms" in page


def test_a_refused_request_is_explained(site: Site) -> None:
    site.sends("", to="0802")
    for path in ("/requests?verdict=refused", "/requests/r1"):
        page = site.text(path)
        assert 'to is "0802", a national number.' in page
        assert "Send the number with its country code" in page
    assert "/requests/r1" not in site.get("/requests?verdict=accepted").text


def test_a_call_with_an_unknown_token_is_seen_by_every_account(site: Site) -> None:
    site.http.post(f"{site.url}/ng/v1/sendsms", json={}, headers={"Authorization": "Bearer nobody-knows-me"})
    assert "belongs to no account" in site.text("/requests/r1")
    assert "nobody-knows-me" not in site.get("/requests/r1").text


def test_the_timeline_of_a_webhook_shows_what_was_tried_and_what_is_planned(
    wired: Site, application: Application
) -> None:
    application.status = 500
    application.answer = b'{"error": "<maintenance>"}'
    wired.post(CHAT, text="5")
    wait_for_delivery(wired, "w1")
    page = wired.get("/webhooks/w1").text
    assert page.count("planned") == 8
    assert "&lt;maintenance&gt;" in page
    wired.post("/settings/clock", action="advance", seconds="3600")
    assert "exhausted: 9 attempts, the last 500" in wired.text("/webhooks/w1")
    assert "planned" not in wired.get("/webhooks/w1").text


def test_webhooks_can_be_filtered_by_state(wired: Site) -> None:
    wired.post(CHAT, text="hello")
    wait_for_delivery(wired, "w1")
    assert "w1" in wired.text("/webhooks?state=delivered")
    assert "Nothing is in flight." in wired.text("/webhooks?state=in_flight")
    assert wired.get("/webhooks?state=lost").status_code == 400


# Hostile text ------------------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea></title></script><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "javascript:alert(1)",
    "&lt;b&gt; &amp;amp;",
    "' onfocus='alert(1)' autofocus='",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_literally(site: Site, text: str) -> None:
    site.sends(text, session=text)
    site.post(f"{CHAT}/handset", label=text)
    for path in ("/", CHAT, "/requests", "/requests/r1"):
        assert not Intruders.in_page(site.get(path).text)
    shown = html.unescape(re.sub(r"<[^>]+>", "", site.get(CHAT).text))
    assert shown.count(text) >= 3  # the text, the session, the label


def test_hostile_text_that_is_typed_comes_back_literally(site: Site) -> None:
    text = "</textarea><script>alert(1)</script>" + "x" * 1600
    answer = site.post(CHAT, text=text)
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    assert text in html.unescape(answer.text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\u202eb", "⟨U+202E⟩", id="what turns the line round is named"),
        pytest.param("a\u200bb", "⟨U+200B⟩", id="what is invisible is named"),
        pytest.param("a\x1b[2Jb", "␛", id="an escape has its sign"),
        pytest.param("a\x7fb", "␡", id="delete has its sign"),
        pytest.param("a\u0085b", "⟨U+0085⟩", id="so have the controls above ASCII"),
        pytest.param("a\U000e0041b", "⟨U+E0041⟩", id="tags are named"),
    ],
)
def test_characters_that_nobody_would_see_are_shown(site: Site, text: str, shown: str) -> None:
    site.sends(text)
    page = site.get(CHAT).text
    assert shown in page
    assert text not in page


def test_what_emoji_and_scripts_are_joined_with_stays() -> None:
    for text in ("👩\u200d👩\u200d👧", "می\u200cخواهم", "a\tb\nc", "₦ é"):
        assert not formatting.HIDDEN.search(text)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        pytest.param("plain", "plain", id="a plain word is left alone"),
        pytest.param("it's", "'it'\"'\"'s'", id="a quote ends no quotation"),
        pytest.param("a\nb", r"$'a\x0ab'", id="a line feed is escaped"),
        pytest.param("\x1b]0;x\x07", r"$'\x1b]0;x\x07'", id="an escape never reaches the terminal"),
        pytest.param("a\u202eb", r"$'a\xe2\x80\xaeb'", id="nor does what turns the line round"),
        pytest.param(b"\xff'\\", r"$'\xff\x27\x5c'", id="bytes that are no text survive"),
    ],
)
def test_a_curl_line_quotes_whatever_the_body_holds(body: str | bytes, word: str) -> None:
    assert formatting.shell_word(body) == word


# Settings ----------------------------------------------------------------------------------------------------------


def test_the_client_url_can_be_set_and_removed(site: Site, application: Application) -> None:
    assert site.post("/settings/client-url", client_url=application.url).status_code == 303
    assert application.url in site.get("/settings").text
    site.post("/settings/client-url", action="remove", client_url=application.url)
    assert site.api("GET", "/accounts/default")["client_url"] is None


def test_a_wrong_client_url_is_kept_beside_the_error(site: Site) -> None:
    answer = site.post("/settings/client-url", client_url="localhost:8000/sms")
    assert answer.status_code == 400
    assert 'value="localhost:8000/sms"' in answer.text
    assert 'id="client_url-error"' in answer.text


def test_a_client_url_that_holds_a_password_is_never_shown(site: Site) -> None:
    site.post("/settings/client-url", client_url="https://ada:s3cret@example.com/sms?key=k3y")
    for path in ("/", "/settings"):
        assert "s3cret" not in site.get(path).text
        assert "k3y" not in site.get(path).text


def test_the_clock_is_moved_by_a_form(site: Site) -> None:
    before = site.api("GET", "/clock")["now"]
    assert site.post("/settings/clock", action="advance", seconds="3600").status_code == 303
    assert site.api("GET", "/clock")["now"] > before
    assert site.post("/settings/clock", action="resume").status_code == 303
    assert not site.api("GET", "/clock")["frozen"]
    for seconds in ("", "0", "-1", "soon", "nan", "1e99"):
        answer = site.post("/settings/clock", action="advance", seconds=seconds)
        assert answer.status_code == 400
        assert 'id="seconds-error"' in answer.text


def test_reset_forgets_and_leads_home(site: Site) -> None:
    site.sends("hello")
    answer = site.post("/settings/reset", scope="account")
    assert answer.headers["location"] == "/"
    assert "No conversations yet" in site.text("/")


# Accounts ----------------------------------------------------------------------------------------------------------


def test_links_and_forms_keep_the_chosen_account() -> None:
    shop = account_from({"name": "shop", "token": "shop-token-123"})
    plain = settings()
    with serving(replace(plain, accounts=(*plain.accounts, shop))) as site:
        site.sends("for the default account")
        page = site.get("/?account=shop").text
        assert "for the default account" not in page
        assert re.search(r"<option selected>shop</option>", page)
        answer = site.post("/?account=shop", number=ADA, label="Ada", shortcode="700")
        assert answer.headers["location"] == f"/c/700/{ADA}?account=shop"
        assert 'href="/settings?account=shop"' in page
        assert site.get("/?account=nobody").status_code == 404


# Doors -------------------------------------------------------------------------------------------------------------


def test_errors_are_pages_too(site: Site) -> None:
    for path, status in (("/nope", 404), ("/requests/r99", 404), ("/requests/x", 404), ("/c/x/y", 404)):
        answer = site.get(path)
        assert answer.status_code == status
        assert "To the conversations" in read(answer)
    assert site.http.put(site.url + "/", data="x").status_code in (405, 415)


def test_a_form_that_no_browser_sends_is_refused(site: Site) -> None:
    for body, kind in (
        (b"{}", "application/json"),
        (b"--x--", "multipart/form-data; boundary=x"),
        (b"", "text/plain"),
    ):
        answer = site.http.post(site.url + CHAT, data=body, headers={"Content-Type": kind})
        assert answer.status_code == 415
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"text=%ff", b"text=\xff", b"&".join(b"a=1" for _ in range(99))):
        assert site.http.post(site.url + CHAT, data=body, headers=form).status_code == 400
    assert site.http.post(site.url + CHAT, data=b"text=%00", headers=form).status_code == 400
    assert site.http.post(site.url + CHAT, data=b"text=" + b"x" * 2**20, headers=form).status_code == 413


def test_a_form_of_another_origin_is_refused(site: Site) -> None:
    answer = site.http.post(site.url + CHAT, data={"text": "hi"}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert "hi" not in site.text(CHAT).split()


def test_static_files_come_from_a_fixed_list_and_are_revalidated(site: Site) -> None:
    answer = site.get("/static/page.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    again = site.get("/static/page.css", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/static/../pages.py", "/static/..%2fpages.py", "/static/pages.py", "/static/", "/static/%00"):
        assert site.get(path).status_code == 404


def test_style_and_scripts_of_all_pages_together_stay_small() -> None:
    ours = [each for each in (Path(routes.__file__).parent / "static").iterdir() if each.suffix in (".css", ".js")]
    assert len(ours) > 10
    assert sum(each.stat().st_size for each in ours) < 48_000


def test_login_asks_once_and_the_cookie_opens_every_page() -> None:
    token = "a-control-token-of-some-length"
    with serving(settings(control_token=token)) as site:
        answer = site.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "Control token" in site.text("/login")
        wrong = site.post("/login", token="not-the-token-at-all")
        assert wrong.status_code == 401
        assert "This is not the control token" in read(wrong)
        answer = site.post("/login", token=token)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "path=/" in cookie
        assert token not in cookie
        assert "You are the handset" in site.text("/")


def test_login_is_no_page_where_nothing_is_locked(site: Site) -> None:
    assert site.get("/login").headers["location"] == "/"


# -------------------------------------------------------------------------------------------------------------------


def wait_for_delivery(site: Site, seq: str, state: str | None = None) -> Any:
    """The webhook delivery once an attempt has ended, or once it is in `state`."""
    for _ in range(2000):
        found = site.api("GET", f"/webhook-deliveries/{seq}")
        if found["state"] == state or (state is None and found["state"] not in ("pending", "in_flight")):
            return found
    raise AssertionError(found)
