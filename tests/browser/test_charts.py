"""Charts in a real browser: they follow events without moving anything, and can be read without seeing them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

NUMBER = "2348020000000"

CONTRAST = """(token) => {
  const canvas = document.createElement("canvas").getContext("2d");
  const light = (name) => {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `var(${name})`;
    canvas.fillStyle = getComputedStyle(probe).color;
    probe.remove();
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((each) => {
      const share = each / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [one, other] = [light(token), light("--sheet")];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""


def said(page: "Page", name: str) -> str:
    return page.locator(f"#{name}-said").text_content() or ""


def test_a_chart_follows_events_and_nothing_moves(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    sandbox.sends("one")
    page = tab(f"{sandbox.url}/requests")
    assert page.get_by_text("A chart begins with the third call.").is_visible()
    box = page.locator("#chart-calls").bounding_box()
    sandbox.sends("two")
    sandbox.sends("three")
    page.wait_for_selector("#chart-calls svg[role=img]")
    page.locator("#chart-calls summary").click()
    sandbox.sends("four")
    page.wait_for_function("() => document.getElementById('chart-calls-said').textContent.startsWith('4 calls')")
    assert page.locator("#chart-calls table").is_visible()  # as it was left
    page.locator("#chart-calls summary").click()
    after = page.locator("#chart-calls").bounding_box()
    assert box is not None
    assert after is not None
    assert (box["y"], box["width"]) == (after["y"], after["width"])
    assert abs(box["height"] - after["height"]) < 1


def test_a_chart_has_a_name_and_a_description_for_whoever_does_not_see_it(
    sandbox: Any, tab: Callable[..., "Page"]
) -> None:
    for text in ("one", "two", "three"):
        sent = sandbox.http.post(
            f"{sandbox.url}/_sandbox/v1/handsets/{NUMBER}/send", json={"text": text, "to": "48974"}
        )
        assert sent.ok, sent.text
    page = tab(f"{sandbox.url}/webhooks")
    page.wait_for_function("() => document.getElementById('chart-times-said')")
    image = page.get_by_role("img", name="Attempts 3 attempts")
    assert image.count() == 1
    assert said(page, "chart-attempts").startswith("3 attempts in the last")
    assert said(page, "chart-times").startswith("3 answers in the last")


@pytest.mark.parametrize("width", [1440, 1024, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chart_fits_and_its_words_keep_their_size(
    sandbox: Any, tab: Callable[..., "Page"], width: int, theme: str
) -> None:
    for _ in range(3):
        sandbox.sends("hello")
    page = tab(f"{sandbox.url}/requests", viewport={"width": width, "height": 900}, color_scheme=theme)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    sizes = page.eval_on_selector_all(
        ".chart .ticks span, .chart .times span, .chart .keys span",
        "them => them.map((each) => parseFloat(getComputedStyle(each).fontSize))",
    )
    assert sizes
    assert min(sizes) >= 12
    bar = page.locator("#chart-calls-1").bounding_box()
    assert bar is not None
    assert bar["height"] == pytest.approx(90, abs=1)  # three of a scale of four


def test_colours_of_a_chart_stand_out_from_its_ground(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    for _ in range(3):
        sandbox.sends("hello")
    for theme in ("light", "dark"):
        page = tab(f"{sandbox.url}/webhooks", color_scheme=theme)
        for token in ("--good", "--warn", "--bad", "--accent", "--soft"):
            assert page.evaluate(CONTRAST, token) >= 3, (theme, token)


def test_a_search_is_found_by_its_key_and_works_without_javascript(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    sandbox.sends("a needle")
    sandbox.sends("hay")
    page = tab(f"{sandbox.url}/requests")
    page.keyboard.press("/")
    page.keyboard.type("needle")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=needle*")
    assert page.locator(".row").count() == 1
    plain = tab(f"{sandbox.url}/webhooks", java_script_enabled=False)
    plain.fill("#q", "needle")
    plain.get_by_role("button", name="Search").click()
    assert plain.get_by_text("No webhook delivery holds").is_visible()


def test_redelivering_in_a_row_stays_in_the_list(sandbox: Any, application: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(sandbox.chat)
    page.fill("#text", "hello")
    page.press("#text", "Enter")
    application.next_call()
    page.goto(f"{sandbox.url}/webhooks")
    page.evaluate("() => { window.same = true; }")
    page.get_by_role("button", name="Redeliver").click()
    application.next_call()
    page.wait_for_function("() => document.querySelectorAll('.row').length === 2")
    assert page.evaluate("() => window.same")
