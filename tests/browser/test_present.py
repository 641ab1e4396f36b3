"""A demonstration in front of a room: the presenter's page in a real browser, by keys, by mouse and without scripts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

FRESH = "2348030000000"
SMALLEST = """() => Math.min(...[...document.querySelectorAll(
  '.say p, .say .fine, .speaks h1, .speaks p, #text, #scenario, #doing, #description')
].map((each) => parseFloat(getComputedStyle(each).fontSize)))"""


def runs(sandbox: Any, name: str) -> list[Any]:
    found: list[Any] = sandbox.http.get(f"{sandbox.url}/_sandbox/v1/scenarios/{name}/runs").json()["runs"]
    return found


def test_a_scenario_is_presented_by_keys_alone(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present")
    for _ in range(30):
        page.keyboard.press("j")
        if page.evaluate("() => document.activeElement.value") == "wrong-then-right-answer":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("text=CINEMA")
    sandbox.sends("When were you last at the cinema?", to=FRESH)
    page.wait_for_selector("#typing")
    assert page.locator("#typing .still").count() == 1
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=last week")
    assert page.locator("#typing").count() == 0
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press(" ")
    page.wait_for_selector("#pace[value=pause]")
    page.keyboard.press(" ")
    page.wait_for_selector("#pace[value=go]")


def test_space_belongs_to_whoever_types(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present/48974/{FRESH}")
    page.keyboard.press("r")
    page.keyboard.type("one two f")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=one two f")
    assert page.locator("#pace[value=go]").count() == 1
    page.wait_for_function("() => text.value === ''")  # by the form's own answer; the news may be first
    page.keyboard.press("Escape")
    page.keyboard.press(" ")
    page.wait_for_selector("#pace[value=pause]")


def test_space_after_a_press_of_the_mouse_does_not_press_again(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present/48974/{FRESH}")
    page.click("#play-silence")
    page.wait_for_selector("#play-silence[aria-current]")
    page.keyboard.press(" ")
    page.wait_for_selector("#pace[value=pause]")
    assert len(runs(sandbox, "silence")) == 1


def test_starting_over_keeps_the_full_screen(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present/48974/{FRESH}")
    page.fill("#text", "hello")
    page.press("#text", "Enter")
    page.wait_for_selector(".say")
    page.press("#text", "Escape")
    page.keyboard.press("f")
    page.wait_for_function("() => document.fullscreenElement")
    page.get_by_role("button", name="Start over").click()
    page.wait_for_selector("text=No messages yet.")
    assert page.evaluate("() => document.fullscreenElement !== null")
    assert page.url == f"{sandbox.url}/present/48974/2348030000001"
    sandbox.sends("for the new one", to="2348030000001")  # what is live is the new conversation
    page.wait_for_selector("text=for the new one")
    page.fill("#text", "from the new one")
    page.press("#text", "Enter")
    page.wait_for_selector(".say.mo")
    assert page.url.endswith("1")
    page.go_back()
    page.wait_for_selector("text=hello")


def test_the_keys_can_be_switched_off(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present/48974/{FRESH}")
    page.keyboard.press("?")
    page.locator("#keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press(" ")
    page.click("#play-silence")
    page.wait_for_selector("#play-silence[aria-current]")
    assert page.locator("#pace[value=go]").count() == 1


def test_news_arrive_without_a_reload(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present/48974/{FRESH}")
    page.evaluate("() => { window.same = true; }")
    page.fill("#text", "half a te")
    sandbox.sends("Which film?", to=FRESH)
    page.wait_for_selector("text=Which film?")
    assert page.input_value("#text") == "half a te"
    assert page.evaluate("() => window.same")


@pytest.mark.parametrize(("width", "height", "least"), [(1920, 1080, 32), (1440, 900, 24), (1024, 768, 19)])
def test_it_is_read_from_the_back_of_a_room(
    sandbox: Any, tab: Callable[..., "Page"], width: int, height: int, least: int
) -> None:
    sandbox.sends("Which film?", to=FRESH)
    page = tab(f"{sandbox.url}/present/48974/{FRESH}", viewport={"width": width, "height": height})
    page.click("#play-late-reply")
    page.wait_for_selector("#description")
    assert page.evaluate(SMALLEST) >= least


def test_a_small_screen_shows_all_of_it_and_nothing_moves_for_who_wants_that(
    sandbox: Any, tab: Callable[..., "Page"]
) -> None:
    page = tab(f"{sandbox.url}/present/48974/{FRESH}", viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.click("#play-late-reply")
    page.wait_for_selector("#play-late-reply[aria-current]")
    page.click("#pace")
    page.wait_for_selector("#pace[value=pause]")
    sandbox.sends("x" * 300, to=FRESH)
    page.wait_for_selector("#typing")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    assert page.evaluate("() => document.getAnimations().length") == 0


def test_everything_works_without_javascript(sandbox: Any, application: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present", java_script_enabled=False)
    assert page.locator("#full").is_hidden()
    page.click("#play-late-reply")
    page.wait_for_selector("#play-late-reply[aria-current]")
    sandbox.sends("Which film?", to=FRESH)
    page.reload()
    page.click("#next")
    assert application.next_call()["body"]
    page.fill("#text", "and one more")
    page.locator("#composer button").click()
    assert page.locator(".say.mo").count() == 2
    page.get_by_role("button", name="Go on").click()
    assert page.locator("#pace[value=pause]").count() == 1
    page.get_by_role("button", name="Start over").click()
    assert page.url == f"{sandbox.url}/present/48974/2348030000001"
    page.get_by_role("link", name="Leave").click()
    assert page.url == f"{sandbox.url}/c/48974/2348030000001"
