"""What a real browser makes of sixty hostile texts, and of a page of another origin that wants at the sandbox.

Each text arrives while its page is looked at, so that the page's own scripts have to deal with it. Afterwards nothing
has run, nothing was asked of anybody else, and the page has the elements that a harmless text would give it.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile_texts import CORPUS, is_hidden, is_sendable, shown, twin

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.proof("T12")]

SENDABLE = {name: text for name, text in CORPUS.items() if is_sendable(text)}

# Before any script of a page: dialogs and violations of the policy are noted, and so is what is told and copied.
WATCH = """
  window.seen = [];
  for (const name of ["alert", "confirm", "prompt", "open"]) window[name] = () => seen.push(name);
  document.addEventListener("securitypolicyviolation", (event) => seen.push(event.violatedDirective));
  window.told = [];
  window.Notification = class {
    static permission = "granted";
    static requestPermission = async () => "granted";
    constructor(title, options) { told.push([title, options.body]); }
    close() {}
  };
"""

# The elements of the live parts of a document, without the signs of what cannot be seen.
ELEMENTS = """(html) => {
  const page = html === null ? document : new DOMParser().parseFromString(html, "text/html");
  const all = page.querySelectorAll("[data-live], [data-live] *:not(.unseen)");
  return [...all].map((each) => [each.nodeName, ...each.getAttributeNames().filter((name) => name !== "open").sort()]);
}"""

FOREIGN = """() => [...document.querySelectorAll("*")].flatMap((each) => each.getAttributeNames()
  .filter((name) => /^on|^style$|^srcdoc$/.test(name)
    || (/^(href|src|action|formaction|data)$/.test(name) && !/^[/#]/.test(each.getAttribute(name))))
  .map((name) => `${each.nodeName} ${name}=${each.getAttribute(name)}`))"""

SPOKEN = """() => [document.title, ...[...document.querySelectorAll("[title], [aria-label]")]
  .flatMap((each) => [each.title, each.ariaLabel ?? ""])].join("\\0")"""


@pytest.fixture
def watched(tab: Callable[..., "Page"], errors: list[str]) -> Callable[[str], "Page"]:
    """Opens a tab that notes what should never happen."""

    def open_(url: str) -> "Page":
        page = tab(f"{url.rpartition('/c/')[0] or url}/requests", permissions=["clipboard-read", "clipboard-write"])
        page.add_init_script(WATCH)
        page.on("dialog", lambda it: errors.append(f"dialog: {it.message}"))  # none may come, so none is answered
        look(page, url)
        return page

    return open_


def look(page: "Page", url: str) -> None:
    page.goto(url)
    page.wait_for_selector("#link[data-state=live]", state="attached")


def nothing_ran(page: "Page", where: str) -> None:
    assert page.evaluate("() => [window.ran, window.seen]") == [None, []], where
    assert page.evaluate(FOREIGN) == [], where
    assert [each for each in page.evaluate(SPOKEN).replace("\0", "") if is_hidden(each)] == [], where


def number(index: int) -> str:
    return f"23480200{index:05d}"


def test_sixty_hostile_texts_arrive_live_and_are_only_read(
    sandbox: Any, application: Any, watched: Callable[[str], "Page"], record_property: Callable[[str, object], None]
) -> None:
    from playwright.sync_api import TimeoutError as NotInTime

    page = watched(sandbox.url)
    for index, (name, text) in enumerate(SENDABLE.items()):
        one, other = number(index), number(1000 + index)
        chat = f"{sandbox.url}/c/48974/{one}"
        look(page, chat)
        sandbox.sends(text, to=one, session=text[:255])
        bubble = page.locator(".bubble.mt .text")
        bubble.wait_for()
        assert bubble.text_content() == shown(text), name
        page.locator("#text").fill(text)
        page.locator("#composer .send").click()
        page.wait_for_selector('.bubble.mo[data-state="delivered"]')
        typed = text.replace("\r\n", "\n").replace("\r", "\n")  # what a field makes of it
        assert page.locator(".bubble.mo .text").text_content() == shown(typed), name
        assert json.loads(application.next_call()["body"])["message"] == typed, name
        page.evaluate("() => document.querySelectorAll('.wire').forEach((each) => (each.open = true))")
        nothing_ran(page, name)

        sandbox.sends(twin(text), to=other, session=twin(text[:255]))
        answer = sandbox.http.post(f"{sandbox.url}/c/48974/{other}", data={"text": twin(typed)})
        assert answer.status_code == 200
        application.next_call()
        wait = {"from": other, "direction": "mo", "state": "delivered", "timeout": "10"}
        assert sandbox.http.get(f"{sandbox.url}/_sandbox/v1/messages/wait", params=wait).json()["satisfied"]
        harmless = sandbox.http.get(f"{sandbox.url}/c/48974/{other}").text
        wanted = log_of(page, harmless)
        with suppress(NotInTime):  # then the comparison tells what is different
            page.wait_for_function(SAME, arg=wanted)  # the page hears of the state a moment later than of the message's
        assert log_of(page, None) == wanted, name
    record_property("figure", f"{len(SENDABLE)} texts arrived live in Chromium, nothing ran")


# Of the conversation, without the list beside it, which holds all the others as well.
LOG = ELEMENTS.replace("[data-live]", "[data-live=log]")
SAME = f"(wanted) => JSON.stringify(({LOG})(null)) === JSON.stringify(wanted)"


def log_of(page: "Page", html: str | None) -> Any:
    """The elements of the conversation."""
    found = page.evaluate(LOG, html)
    assert found
    return found


def test_hostile_texts_stand_literally_on_every_other_page(
    sandbox: Any, watched: Callable[[str], "Page"], record_property: Callable[[str, object], None]
) -> None:
    """All of them at once, in lists, searches, settings, scenarios, faults, refusals and the presenter's page."""
    page = watched(sandbox.url)
    api = f"{sandbox.url}/_sandbox/v1"
    for index, (name, text) in enumerate(CORPUS.items()):
        fields = {"from": text, "to": number(index), "message": text, "session_id": text, name: text}
        sandbox.http.post(
            f"{sandbox.url}/ng/v1/sendsms", json=fields, headers={"Authorization": "Bearer sandbox-token"}
        )
        if not is_sendable(text):
            continue
        sandbox.http.patch(f"{api}/handsets/{number(index)}", json={"label": text[:80]})
        sandbox.http.post(
            f"{api}/faults",
            json={"on": "sendsms", "effect": {"status": 503}, "match": {"session_id": text[:200], "from": "999"}},
        )
        said = json.dumps(text[:200])
        sandbox.http.put(
            f"{api}/scenarios/evil-{index}",
            json={"source": f"scenario: evil-{index}\ndescription: {said}\nsteps:\n- expect: {{text: {said}}}\n"},
        )
    paths = ["/", "/requests", "/webhooks", "/scenarios", "/settings", "/scenarios/_edit", "/present", "/doctor"]
    paths += [f"/requests/{each['id']}" for each in sandbox.http.get(f"{api}/requests?limit=20").json()["requests"]]
    paths += [f"/c/48974/{number(index)}" for index in (0, 17, 46, 50, 55)]
    paths += [f"/scenarios/evil-{index}" for index in (0, 17, 31)]
    for path in paths:
        page.goto(f"{sandbox.url}{path}")
        if path not in ("/scenarios/_edit", "/doctor"):  # these are not live
            page.wait_for_selector("#link[data-state=live]", state="attached")
        nothing_ran(page, path)
    record_property("figure", f"{len(paths)} pages with {len(CORPUS)} texts, nothing ran")


def test_what_is_copied_is_what_is_seen(sandbox: Any, watched: Callable[[str], "Page"]) -> None:
    page = watched(sandbox.url)
    for index, text in enumerate((CORPUS["terminal"], CORPUS["bidirectional overrides"], CORPUS["script element"])):
        sandbox.sends(text, to=number(index))
        page.goto(f"{sandbox.url}/c/48974/{number(index)}/as/text")
        page.locator("button.copy").first.click()
        page.wait_for_selector("text=Copied")
        copied = page.evaluate("() => navigator.clipboard.readText()")
        assert copied == page.locator(".copyable pre").first.text_content()
        assert not any(map(is_hidden, copied))
        nothing_ran(page, text)


def test_a_notification_is_words(sandbox: Any, watched: Callable[[str], "Page"]) -> None:
    page = watched(sandbox.url)
    page.evaluate(
        """() => {
          localStorage.notify = "on";
          Object.defineProperty(document, "hidden", { get: () => true });
        }"""
    )
    text = CORPUS["image that fails"]
    sandbox.http.patch(f"{sandbox.url}/_sandbox/v1/handsets/{number(1)}", json={"label": text})
    sandbox.sends(text, to=number(1))
    page.wait_for_function("() => window.told.length")
    assert page.evaluate("() => window.told") == [[text, text]]
    nothing_ran(page, text)


# A page of another origin ------------------------------------------------------------------------------------------

TRIES = """<!doctype html><title>evil</title><body><script>
const base = "SANDBOX", got = [];
const api = base + "/_sandbox/v1";
const urls = [base + "/", base + "/settings", api + "/accounts", api + "/messages", api + "/export", base + "/livez",
              base + "/static/page.js", base + "/_sandbox/openapi.json"];
const json = JSON.stringify({ from: "48974", to: "2348020000000", message: "evil", session_id: "x" });
const posts = [
  ["/ng/v1/sendsms", json, "application/json"], ["/ng/v1/sendsms", json, "text/plain"],
  ["/_sandbox/v1/reset", "{}", "application/json"], ["/_sandbox/v1/reset", "{}", "text/plain"],
  ["/_sandbox/v1/handsets/2348020000000/send", '{"text": "evil", "to": "48974"}', "text/plain"],
  ["/settings/reset", "scope=all", "application/x-www-form-urlencoded"],
  ["/c/48974/2348020000000", "text=evil", "application/x-www-form-urlencoded"],
  ["/settings/client-url", "client_url=http://127.0.0.1:9/", "application/x-www-form-urlencoded"],
];
const once = (name, make, good, bad) => new Promise((done) => {
  const it = make();
  it[good] = () => { got.push(name); done(); };
  it[bad] = () => done();
  setTimeout(done, 1500);
});
const ask = (name, url, more) => fetch(url, more).then(
  async (it) => (it.type !== "opaque" || (await it.text())) && got.push(name), () => {});
const element = (tag, of) => () => document.body.appendChild(Object.assign(document.createElement(tag), of));
const tries = [];
for (const url of urls) {
  for (const credentials of ["omit", "include"])
    tries.push(ask(`fetch ${url}`, url, { credentials }));
  tries.push(ask(`no-cors ${url}`, url, { mode: "no-cors" }));
  tries.push(once(`script ${url}`, element("script", { src: url }), "onload", "onerror"));
  tries.push(once(`image ${url}`, element("img", { src: url }), "onload", "onerror"));
}
for (const [path, body, type] of posts) {
  for (const mode of ["cors", "no-cors"])
    tries.push(ask(`post ${path}`, base + path, { method: "POST", body, mode, headers: { "Content-Type": type } }));
  navigator.sendBeacon(base + path, new Blob([body], { type: "text/plain" }));
  navigator.sendBeacon(base + path, new URLSearchParams(body));
  const frame = element("iframe", { name: `f${Math.trunc(performance.now() * 1e3)}${path}` })();
  const form = element("form", { method: "post", action: base + path, target: frame.name })();
  for (const [name, value] of new URLSearchParams(body))
    form.append(Object.assign(document.createElement("input"), { name, value }));
  form.submit();
}
for (const method of ["DELETE", "PUT", "PATCH", "OPTIONS"])
  tries.push(ask(method, api + "/accounts/default", { method, body: method === "OPTIONS" ? null : "{}" }));
tries.push(once("image", element("img", { src: base + "/static/favicon.svg" }), "onload", "onerror"));
tries.push(once("style", element("link", { rel: "stylesheet", href: base + "/static/page.css" }), "onload", "onerror"));
tries.push(once("events", () => new EventSource(api + "/events"), "onopen", "onerror"));
const cookie = { withCredentials: true };
tries.push(once("events with a cookie", () => new EventSource(api + "/events", cookie), "onopen", "onerror"));
const socket = base.replace("http", "ws") + "/_sandbox/v1/events";
tries.push(once("socket", () => new WebSocket(socket), "onopen", "onerror"));
for (const path of ["/", "/settings", "/_sandbox/v1/accounts"]) {
  const frame = element("iframe", { src: base + path })();
  tries.push(new Promise((done) => {
    frame.onload = () => {
      try { if (frame.contentDocument.body.textContent) got.push(`frame ${path}`); } catch {}
      try { if (frame.contentWindow.length) got.push(`frames in ${path}`); } catch {}
      done();
    };
    setTimeout(done, 1500);
  }));
}
Promise.all(tries).then(() => (window.got = got));
</script>"""


@contextmanager
def another_origin(sandbox_url: str) -> Iterator[int]:
    """Serves a page that tries everything. Gives its port."""
    page = TRIES.replace("SANDBOX", sandbox_url).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the same site, and another one
def test_a_page_of_another_origin_gets_nothing_and_changes_nothing(
    sandbox: Any, browser: "Browser", host: str, record_property: Callable[[str, object], None]
) -> None:
    sandbox.sends("a secret text")
    page = browser.new_page()
    look(page, sandbox.url)  # a person has been here, and may have a cookie
    export = f"{sandbox.url}/_sandbox/v1/export"
    before = sandbox.http.get(export).text
    with another_origin(sandbox.url) as port:
        page.goto(f"http://{host}:{port}/")
        page.wait_for_function("() => window.got")
        got = page.evaluate("() => window.got")
        page.close()
    assert got == []
    assert sandbox.http.get(export).text == before
    record_property("figure", f"a page of {host} on another port got nothing and changed nothing")
