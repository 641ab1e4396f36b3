"""Scenarios in a real browser: the cursor that moves by itself, and errors that lead to their place."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SCRIPT = """\
scenario: cinema
steps:
  - expect: {text: "*cinema?*"}
  - reply: {text: yesterday, after: 1h}
  - expect: {text: "*film*"}
"""


def save(page: "Page", url: str, source: str) -> None:
    page.goto(f"{url}/scenarios/_edit")
    page.fill("#source", source)
    page.get_by_role("button", name="Save").click()


def test_the_cursor_moves_as_messages_come_and_what_is_unfolded_stays_so(
    sandbox: Any, application: Any, tab: Callable[..., "Page"]
) -> None:
    page = tab(f"{sandbox.url}/scenarios")
    save(page, sandbox.url, SCRIPT)
    page.fill("#msisdn", "2348020000000")
    page.get_by_role("button", name="Start").click()
    turn = page.locator("[aria-current=step]")
    assert "cinema?" in turn.inner_text()
    page.evaluate("() => { window.same = true; }")
    page.fill("#msisdn", "half typed")

    sandbox.sends("Good morning")
    page.wait_for_selector("text=1 miss")
    assert "cinema?" in turn.inner_text()
    sandbox.sends("When were you at the cinema?")
    page.wait_for_selector("[aria-current=step]:has-text('film')")
    assert turn.count() == 1
    assert page.get_by_text("the handset texts").is_visible()

    page.get_by_role("button", name="Advance to").click()  # without leaving the page
    assert application.next_call()["method"] == "POST"
    page.wait_for_selector("text=the handset texts", state="detached")
    page.locator(".run summary").click()
    sandbox.sends("Which film?")
    page.wait_for_selector("text=finished")
    assert page.locator(".run details").get_attribute("open") is None  # as it was left
    assert page.input_value("#msisdn") == "half typed"
    assert page.evaluate("() => window.same")


def test_a_error_leads_to_its_place_in_the_text(sandbox: Any, tab: Callable[..., "Page"], errors: list[str]) -> None:
    page = tab(f"{sandbox.url}/scenarios")
    save(page, sandbox.url, 'scenario: film\nsteps:\n  - expect: {text: "\U0001f3ac?", witin: 5s}\n')
    page.get_by_role("link", name="line 3, column").click()
    chosen = "() => { const it = document.activeElement; return it.value.slice(it.selectionStart, it.selectionEnd); }"
    assert page.evaluate(chosen) == "w"
    assert len(errors) == 1
    assert "400" in errors.pop()  # Chromium's console names every answer that refuses


def test_a_scenario_is_written_started_and_stopped_without_javascript(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/scenarios", java_script_enabled=False)
    page.get_by_role("link", name="New scenario").click()
    page.fill("#source", SCRIPT)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Stop").click()
    assert "stopped" in page.locator(".run").inner_text()


@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_is_wider_than_its_window(sandbox: Any, tab: Callable[..., "Page"], width: int) -> None:
    sandbox.sends("Hello ₦" + "x" * 150)
    page = tab(f"{sandbox.url}/scenarios", viewport={"width": width, "height": 800})
    paths = (
        "/scenarios",
        "/scenarios/happy-survey",
        "/scenarios/_edit",
        "/settings",
        "/doctor",
        "/c/48974/2348020000000",
    )
    for path in (*paths, "/c/48974/2348020000000/as/scenario"):
        page.goto(sandbox.url + path)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path
