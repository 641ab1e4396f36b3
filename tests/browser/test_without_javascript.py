"""Every page without JavaScript: each form does its work and leads somewhere, or says at the field what is wrong."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from tests.conftest import Bench, Receiver

pytestmark = pytest.mark.browser

CHAT = "/c/48974/2348020000000"
MAIN = "main h1, main h2"

# What is typed into a field of that name; the rest stays as it is.
TYPED = {
    "number": "2348031110000",
    "label": "Ada",
    "text": "CINEMA",
    "q": "234",
    "client_url": "http://127.0.0.1:9/sms",
    "url": "http://127.0.0.1:9/sms",
    "new_name": "team-2",
    "new_token": "a-token-of-team-2",
    "seconds": "1",
    "status": "503",
    "delay": "",
    "msisdn": "",
    "handset": "",
}


@pytest.fixture
def plain(browser: "Browser") -> "Iterator[Page]":
    """A page of a browser that runs no JavaScript; whatever it is refused is an error."""
    with closing(browser.new_context(java_script_enabled=False)) as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("dialog", lambda it: it.accept())
        yield page


@pytest.fixture
def bench(start_sandbox: "Callable[..., Bench]", receiver: "Receiver") -> "Bench":
    """A sandbox in which something of everything has happened."""
    made = start_sandbox()
    made.patch_account(client_url=receiver.url)
    made.sent()
    made.submit(sent_date="yesterday")
    made.post("/handsets/2348020000000/reply", {"text": "Things Fall Apart"})
    receiver.answer_with(500)
    made.post("/handsets/2348020000000/reply", {"text": "again"})
    receiver.answer_with(200)
    made.post("/faults", {"on": "webhook", "match": {"from": "2349090000000"}, "effect": {"status": 503}})
    made.post("/scenarios/opt-out/runs", {})
    return made


def crawled(page: "Page", url: str) -> list[str]:
    """The paths of pages of every kind: those of one kind with other numbers, or other names, only once."""
    ahead, kinds = ["/"], dict[str, str]()
    while ahead:
        path = ahead.pop(0)
        kind = re.sub(r"\d+", "N", re.sub(r"^/scenarios/[a-z][^?]*", "/scenarios/NAME", path))
        kind = re.sub(r"=[^&]*", "=", kind)
        if kind in kinds:
            continue
        answer = page.goto(url + path)
        assert answer is not None
        if "text/html" not in answer.headers["content-type"]:
            continue
        assert answer.status == 200, path
        assert page.locator(MAIN).count() >= 1, path
        kinds[kind] = path
        found = page.locator("a[href]").evaluate_all("(them) => them.map((it) => it.href)")
        ahead += [urldefrag(each).url.removeprefix(url) for each in found if each.startswith(url)]
    return list(kinds.values())


def kind_of(form: "Locator") -> str:
    """Where a form posts, whatever the number or the name of what it is about."""
    action = urlsplit(form.get_attribute("action") or "").path
    return re.sub(r"\d+", "N", re.sub(r"/scenarios/[a-z-]+/", "/scenarios/NAME/", action))


def filled(form: "Locator") -> None:
    """Unfold what a form stands in, and type into its fields."""
    for folded in form.locator("xpath=ancestor::details[not(@open)]").all():
        folded.locator("> summary").click()
    for field in form.locator("input:not([type=hidden], [type=radio], [type=checkbox]), textarea").all():
        value = TYPED.get(field.get_attribute("name") or "")
        if value is not None:
            field.fill(value)


def test_every_form_of_every_page_leads_somewhere(plain: "Page", bench: "Bench") -> None:
    url = bench.sandbox.url
    sent = {"/settings/reset"}  # what the others are tried upon would be gone
    for path in crawled(plain, url):
        while True:  # what a form does may bring others
            plain.goto(url + path)
            found = {kind_of(each): each for each in plain.locator("form:not([method=dialog])").all()[::-1]}
            kind = next((each for each in found if each not in sent), None)
            if kind is None:
                break
            sent.add(kind)
            form = found[kind]
            filled(form)
            button = form.locator("button:not([type=button])").first
            with plain.expect_navigation() as led:
                button.click() if button.count() and button.is_visible() else plain.keyboard.press("Enter")
            assert led.value.status == 200, f"{kind} on {path}: {plain.locator('main').inner_text()}"
            assert plain.locator(MAIN).count() >= 1, f"{kind} on {path}"
    assert {
        "/",
        "/c/N/N",
        "/c/N/N/handset",
        "/webhooks/wN/redeliver",
        "/scenarios/_edit",
        "/scenarios/NAME/runs",
        "/runs/sN/stop",
        "/settings/client-url",
        "/settings/clock",
        "/settings/faults",
        "/settings/faults/fN/remove",
        "/settings/accounts",
        "/doctor",
    } <= sent, sorted(sent)
    plain.goto(f"{url}/settings")
    plain.locator("#confirm > summary").click()
    plain.locator("#reset form button").first.click()
    assert "No conversations yet." in plain.locator(".chats").inner_text()


@pytest.mark.parametrize(
    ("path", "form", "typed", "field", "error"),
    [
        ("/", "#new-handset form", {"number": "0802", "label": "Ada"}, "number", "0802"),
        ("/", "#new-handset form", {"number": "2348031110000", "shortcode": "1"}, "shortcode", "digits"),
        (CHAT, "#composer", {"text": "x" * 1601}, "text", "1600"),
        ("/settings", "#application form", {"client_url": "ftp://example.com"}, "client_url", "http"),
        ("/settings", "form.clock", {"seconds": "soon"}, "seconds", "seconds"),
        ("/settings", "#faults form.grid-form", {"status": "200", "times": "7"}, "status", "400"),
        ("/settings", "#add-account form", {"new_name": "Team 2", "new_shortcodes": "700"}, "new_name", "a-z"),
        ("/doctor", "form.grid-form", {"url": "http://127.0.0.1/" + "x" * 2048}, "url", "2048"),
        ("/scenarios/happy-survey", "#start form", {"msisdn": "0802"}, "msisdn", "0802"),
        ("/scenarios/_edit", "form.editor", {"source": "scenario: x\nsteps: 1"}, "source", "line 2"),
    ],
    ids=lambda it: it if isinstance(it, str) and it.startswith("/") else None,
)
def test_a_error_stands_beside_its_field_and_what_was_typed_is_kept(
    plain: "Page", bench: "Bench", path: str, form: str, typed: dict[str, str], field: str, error: str
) -> None:
    plain.goto(bench.sandbox.url + path)
    for name, value in typed.items():
        box = plain.locator(f"{form} [name={name}]").first
        for folded in box.locator("xpath=ancestor::details[not(@open)]").all():
            folded.locator("> summary").click()
        box.fill(value)
    with plain.expect_navigation() as led:
        plain.locator(f"{form} button:not([type=button])").first.click()
    assert led.value.status == 400
    box = plain.locator(f"{form} [name={field}]").first
    assert box.get_attribute("aria-invalid") == "true"
    said = [plain.locator(f"[id='{each}']") for each in (box.get_attribute("aria-describedby") or "").split()]
    assert any(error in each.locator("xpath=..").inner_text() for each in said)
    for name, value in typed.items():
        assert plain.locator(f"{form} [name={name}]").first.input_value() == value


def test_new_messages_are_read_by_loading_the_page_again(plain: "Page", bench: "Bench") -> None:
    plain.goto(bench.sandbox.url + CHAT)
    bench.sent(message="while nobody reloaded")
    bench.sent(message="elsewhere", to="2348031110000")
    assert "while nobody reloaded" not in plain.locator("#log").inner_text()
    plain.reload()
    assert "while nobody reloaded" in plain.locator("#log").inner_text()
    assert plain.title().startswith("(1) ")
    assert not plain.locator("#link").is_visible()  # nothing claims to be live


def test_what_only_works_with_javascript_is_not_offered(plain: "Page", bench: "Bench") -> None:
    for path in ("/", CHAT, "/requests/r1", "/settings"):
        plain.goto(bench.sandbox.url + path)
        for each in plain.locator("button[type=button]").all():
            assert not each.is_visible(), f"{each.inner_text()} on {path}"


def test_what_is_to_be_copied_can_be_selected(plain: "Page", bench: "Bench") -> None:
    plain.goto(bench.sandbox.url)
    shown = plain.locator(".copyable pre").first
    assert "curl" in shown.inner_text()
    assert shown.evaluate("(it) => getComputedStyle(it).userSelect") != "none"


def test_another_account_is_chosen_with_a_button(plain: "Page", bench: "Bench") -> None:
    made = bench.sandbox.request("POST", "/_sandbox/v1/accounts", json={"name": "team-2", "token": "t"})
    assert made.status_code == 201
    plain.goto(f"{bench.sandbox.url}/requests")
    plain.select_option("#account", "team-2")
    button = plain.locator("form.account button")
    plain.set_viewport_size({"width": 1024, "height": 768})  # where the bar is fullest
    heights = [each.evaluate("(it) => it.offsetHeight") for each in (button, plain.locator("#account"))]
    assert heights[0] <= heights[1], "its word is broken in two lines"
    button.click()
    assert plain.url == f"{bench.sandbox.url}/requests?account=team-2"
    plain.locator("#nav-settings").click()
    assert "account team-2" in plain.locator("#application-title").inner_text()
