"""Everything by keyboard: single keys, where the focus goes, and the main flows without a mouse."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Tab = Callable[..., "Page"]
LIVE = "#link[data-state=live]"
FOCUSED = "() => document.activeElement.id || document.activeElement.closest('[id]')?.id"


def reach(page: "Page", selector: str) -> None:
    """Go on with Tab until the focus is on what the selector names."""
    for _ in range(120):
        if page.evaluate("(it) => document.activeElement.matches(it)", selector):
            assert page.evaluate("() => document.activeElement.matches(':focus-visible')"), selector
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {selector}")


def leads(page: "Page", *keys: str) -> None:
    """Press keys that lead to another page, and wait until that is live."""
    with page.expect_navigation():
        for key in keys:
            page.keyboard.press(key)
    page.wait_for_selector(LIVE)


@pytest.fixture
def chats(sandbox: Any) -> Any:
    """A sandbox with three conversations."""
    for number in ("2348020000000", "2348031110000", "2347030000000"):
        sandbox.sends("Which film?", to=number)
    return sandbox


# Main flows --------------------------------------------------------------------------------------------------------


def test_a_conversation_from_new_handset_to_redelivery_and_switching_off(
    sandbox: Any, application: Any, tab: Tab
) -> None:
    page = tab(f"{sandbox.url}/")
    keyboard = page.keyboard
    reach(page, "#number")
    keyboard.type("2348020000000")
    reach(page, "#first")
    keyboard.type("CINEMA")
    reach(page, "#new-handset button.primary")
    leads(page, "Enter")
    assert "CINEMA" in application.next_call()["body"]
    assert page.evaluate(FOCUSED) == "text"  # where one writes on

    keyboard.type("a second text")
    keyboard.press("Enter")
    assert "a second text" in application.next_call()["body"]
    page.wait_for_selector(".bubble.mo[data-state=delivered] >> nth=1")
    assert page.evaluate(FOCUSED) == "text"

    keyboard.press("Escape")
    keyboard.press("Shift+Tab")
    reach(page, "#log")
    reach(page, ".bubble.mo .wire > summary")
    keyboard.press("Enter")
    reach(page, ".bubble.mo form[action$='/redeliver'] button")
    keyboard.press("Enter")
    assert "CINEMA" in application.next_call()["body"]
    page.wait_for_selector("text=again, after")
    assert page.evaluate("() => document.activeElement !== document.body")

    page.reload()
    page.wait_for_selector(LIVE)
    page.evaluate("() => document.activeElement.blur()")
    reach(page, ".switch")
    keyboard.press("Enter")
    page.wait_for_selector("#off")
    assert page.evaluate("() => document.activeElement.matches('.switch[aria-checked=false]')")
    keyboard.press("Space")
    page.wait_for_selector("#off", state="detached")


def test_scenarios_settings_faults_and_clock(sandbox: Any, application: Any, tab: Tab) -> None:
    page = tab(f"{sandbox.url}/")
    keyboard = page.keyboard
    leads(page, "g", "s")
    assert page.url.endswith("/scenarios")
    keyboard.press("j")
    keyboard.press("j")
    leads(page, "Enter")
    reach(page, "#start button")
    leads(page, "Enter")
    assert page.locator(".run").count() == 1

    leads(page, "g", "t")
    assert page.url.endswith("/settings")
    reach(page, "#client_url")
    keyboard.press("Control+a")
    keyboard.type("http://127.0.0.1:9/sms")
    leads(page, "Enter")
    assert "http://127.0.0.1:9/sms" in page.locator("#a-client_url").inner_text()

    reach(page, "#times")
    keyboard.press("Control+a")
    keyboard.type("3")
    reach(page, "#faults .primary")
    leads(page, "Enter")
    assert "3 of 3 left" in page.locator("#faults .entries").inner_text()
    reach(page, "#faults .entries button")
    keyboard.press("Enter")
    page.wait_for_selector("#no-fault")
    assert page.evaluate("() => document.activeElement.dataset.live") == "faults"  # the list that it stood in

    shown = page.locator("#now").inner_text()
    page.evaluate("() => document.activeElement.blur()")
    reach(page, "#seconds")
    keyboard.press("Control+a")
    keyboard.type("3600")
    leads(page, "Enter")
    assert page.locator("#now").inner_text() != shown


# Single keys -------------------------------------------------------------------------------------------------------


def test_j_and_k_move_along_a_list_and_enter_opens(chats: Any, tab: Tab) -> None:
    page = tab(f"{chats.url}/")
    rows = [f"c-48974-{number}" for number in ("2347030000000", "2348031110000", "2348020000000")]
    seen = []
    for key in ("j", "j", "j", "j", "k"):
        page.keyboard.press(key)
        seen.append(page.evaluate(FOCUSED))
    assert seen == [rows[0], rows[1], rows[2], rows[2], rows[1]]
    leads(page, "Enter")
    assert page.url == f"{chats.url}/c/48974/2348031110000"


def test_slash_searches_r_writes_and_escape_leaves(chats: Any, tab: Tab) -> None:
    page = tab(chats.chat)
    keyboard = page.keyboard
    keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement === document.body")
    keyboard.press("/")
    keyboard.type("803/")  # typed, and no key any more
    assert (page.evaluate(FOCUSED), page.input_value("#q")) == ("q", "803/")
    keyboard.press("Escape")
    keyboard.press("r")
    keyboard.type("jk/?r")
    assert (page.evaluate(FOCUSED), page.input_value("#text")) == ("text", "jk/?r")
    assert not page.locator("#help").is_visible()


def test_escape_closes_a_sheet_and_goes_back_to_what_opened_it(chats: Any, tab: Tab) -> None:
    page = tab(chats.chat)
    page.locator("#edit > summary").click()
    page.focus("#label")
    page.keyboard.press("Escape")
    assert page.locator("#edit").get_attribute("open") is None
    assert page.evaluate("() => document.activeElement === document.querySelector('#edit > summary')")


@pytest.mark.parametrize(
    ("key", "path"), [("c", "/"), ("r", "/requests"), ("w", "/webhooks"), ("s", "/scenarios"), ("t", "/settings")]
)
def test_g_and_a_letter_go_to_a_page(sandbox: Any, tab: Tab, key: str, path: str) -> None:
    page = tab(sandbox.chat)
    page.keyboard.press("Escape")  # out of the text
    leads(page, "g", key)
    assert page.url == sandbox.url + path


def test_a_key_with_control_alt_or_meta_is_the_browsers(chats: Any, tab: Tab) -> None:
    page = tab(f"{chats.url}/requests")
    for key in ("Control+j", "Alt+j", "Meta+j", "Control+/", "Alt+Shift+?"):
        page.keyboard.press(key)
    assert page.evaluate("() => document.activeElement === document.body")
    assert not page.locator("#help").is_visible()


def test_the_help_sheet_names_every_key_and_gives_the_focus_back(chats: Any, tab: Tab) -> None:
    page = tab(chats.chat)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    named = set(sheet.locator("kbd").all_inner_texts())
    assert set("jkrgcrwst/?") | {"Enter", "Shift", "Esc"} <= named
    page.keyboard.press("j")
    assert page.evaluate("() => document.activeElement.closest('dialog') !== null")  # nothing moves behind it
    page.keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    page.locator("#ask").click()
    assert sheet.is_visible()
    page.keyboard.press("Enter")
    sheet.wait_for(state="hidden")
    assert page.evaluate(FOCUSED) == "ask"


def test_who_speaks_to_the_computer_can_switch_single_keys_off(chats: Any, tab: Tab) -> None:
    page = tab(f"{chats.url}/requests")
    page.locator("#ask").click()
    page.locator("#keys").uncheck()
    page.keyboard.press("Escape")
    page.goto(f"{chats.url}/webhooks")  # it is remembered
    page.wait_for_selector(LIVE)
    page.keyboard.press("?")
    page.keyboard.press("j")
    assert page.evaluate("() => document.activeElement === document.body")
    assert not page.locator("#help").is_visible()
    page.locator("#ask").click()
    page.locator("#keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_keys_are_announced_where_they_lead(chats: Any, tab: Tab) -> None:
    page = tab(chats.chat)
    for selector, key in (("#q", "/"), ("#text", "r"), ("#ask", "?")):
        assert page.locator(selector).get_attribute("aria-keyshortcuts") == key


# Where the focus goes ----------------------------------------------------------------------------------------------


def test_the_focus_stays_in_a_list_that_news_reorder(chats: Any, tab: Tab) -> None:
    page = tab(f"{chats.url}/")
    for _ in range(3):
        page.keyboard.press("j")
    focused = page.evaluate(FOCUSED)
    chats.sends("to the top", to="2348020000000")
    page.wait_for_selector(".chats > li:first-child:has-text('to the top')")
    assert page.evaluate(FOCUSED) == focused
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED) == "c-48974-2347030000000"  # from where it stands now


def test_a_second_press_never_means_something_else(sandbox: Any, tab: Tab) -> None:
    page = tab(f"{sandbox.url}/settings")
    for _ in range(2):
        page.locator("#faults .primary").click()
        page.wait_for_selector(LIVE)
    first = page.locator("#faults .entries button").first
    first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('#faults .entries li').length === 1")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    page.reload()
    assert page.locator("#faults .entries button").count() == 1


def test_the_way_past_the_header_is_one_key(sandbox: Any, tab: Tab) -> None:
    page = tab(f"{sandbox.url}/requests")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
