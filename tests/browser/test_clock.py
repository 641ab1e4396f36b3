"""A clock that somebody paused: leaving the presenter's page, and what the other pages say, in a real browser."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

pytestmark = pytest.mark.browser

FRESH = "2348030000000"


@pytest.fixture
def sandbox(start: Callable[..., Any]) -> Iterator[Any]:
    """One whose clock runs with the system's."""
    with start(clock="system") as made:
        yield made


@pytest.fixture
def paused(sandbox: Any, tab: Callable[..., "Page"]) -> "Page":
    """A presenter's page on which somebody pressed Pause."""
    page = tab(f"{sandbox.url}/present/48974/{FRESH}")
    page.click("#pace")
    page.wait_for_selector("#go-leave")
    return page


def clock(sandbox: Any) -> Any:
    return sandbox.http.get(f"{sandbox.url}/_sandbox/v1/clock").json()


@pytest.fixture
def asked(paused: "Page") -> list[str]:
    """What the browser asked; each time it is told to stay."""
    kinds: list[str] = []

    def stay(dialog: "Dialog") -> None:
        kinds.append(dialog.type)
        dialog.dismiss()

    paused.on("dialog", stay)
    return kinds


def test_the_browser_asks_before_a_paused_page_is_closed(sandbox: Any, paused: "Page", asked: list[str]) -> None:
    with paused.expect_event("dialog"):
        paused.close(run_before_unload=True)
    assert asked == ["beforeunload"]
    assert paused.locator("#go-leave").is_visible()


def test_go_on_and_leave_leaves_a_clock_that_runs_with_the_systems(
    sandbox: Any, paused: "Page", asked: list[str]
) -> None:
    paused.get_by_role("button", name="Go on and leave").click()
    paused.wait_for_url(f"**/c/48974/{FRESH}")
    assert paused.locator("#apart").count() == 0
    told = clock(sandbox)
    assert (told["frozen"], told["ahead_s"]) == (False, pytest.approx(0, abs=0.5))
    assert asked == []


def test_left_paused_the_next_page_says_so_and_brings_it_back_without_a_reload(
    sandbox: Any, paused: "Page", asked: list[str]
) -> None:
    paused.get_by_role("link", name="Leave it paused").click()
    paused.wait_for_url(f"**/c/48974/{FRESH}")
    assert "The clock stands still at " in paused.locator("#apart").inner_text()
    paused.wait_for_selector("#link[data-state=live]", state="attached")
    paused.evaluate("() => { window.same = true; }")
    paused.fill("#text", "half a te")
    paused.get_by_role("button", name="Run at the system's time").click()
    paused.wait_for_selector("#apart", state="detached")
    assert paused.evaluate("() => window.same")
    assert paused.input_value("#text") == "half a te"
    assert clock(sandbox)["frozen"] is False
    assert asked == []


def test_a_page_that_shows_a_clock_that_stands_still_is_made_anew_every_minute(
    sandbox: Any, paused: "Page", asked: list[str]
) -> None:
    paused.clock.install()
    paused.get_by_role("link", name="Leave it paused").click()
    paused.wait_for_selector("#link[data-state=live]", state="attached")
    with paused.expect_response(lambda it: "x-refresh" in it.request.headers) as heard:
        paused.clock.fast_forward(60_000)
    heard.value.finished()
    assert paused.locator("#still").inner_text() == "less than 1 min behind the system's"
    assert asked == []


def test_the_clock_is_brought_back_without_javascript(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(f"{sandbox.url}/present/48974/{FRESH}", java_script_enabled=False)
    page.click("#pace")
    page.get_by_role("link", name="Leave it paused").click()
    page.goto(f"{sandbox.url}/requests?q=234")
    assert page.locator("#apart").inner_text().count("when this page was made") == 1
    page.get_by_role("button", name="Run at the system's time").click()
    assert page.url == f"{sandbox.url}/requests?q=234"
    assert page.locator("#apart").count() == 0
    assert clock(sandbox)["frozen"] is False
