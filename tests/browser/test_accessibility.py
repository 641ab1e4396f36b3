"""Every page of docs/screenshots.py, examined: axe, the console, the content policy, strange hosts, width, and shifts.

A page is visited once for each look and everything about it noted; each test then asks for one thing.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

pytestmark = [pytest.mark.browser, pytest.mark.proof("T12")]


def _screenshots() -> Any:
    path = Path(__file__).parents[2] / "docs" / "screenshots.py"
    spec = importlib.util.spec_from_file_location("screenshots", path)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules["screenshots"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


shots = _screenshots()
EVERY_SCENE = pytest.mark.parametrize("scene", shots.SCENES, ids=lambda scene: scene.name)

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS = ((1440, "light"), (390, "dark"), (1440, "dark"), (390, "light"))  # the first two are the short form

WATCH = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation",
    (it) => violations.push(`${it.violatedDirective} ${it.blockedURI}`));
  window.moved = [];
  const name = (node) => node.closest("[data-live=list] > li, [data-live=rows] > li") ? "row"
    : (node.closest("[id]") ?? node).id || node.nodeName;
  new PerformanceObserver((seen) => moved.push(...seen.getEntries()
    .filter((it) => !it.hadRecentInput)
    .flatMap((it) => it.sources.map(({ node }) => node?.nodeType === 3 ? node.parentElement : node))
    .filter((node) => node?.isConnected && !node.closest(".vh"))
    .map(name))).observe({ type: "layout-shift", buffered: true });
"""
MOVED = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() =>
  done(moved.splice(0)), 50))))"""


@dataclass(slots=True)
class Visit:
    """What was noticed about a page; empty where all is well."""

    violations: list[str] = field(default_factory=list)  # of accessibility
    console: list[str] = field(default_factory=list)
    policy: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    too_wide_by: int = 0


Visiting = Callable[[Any], dict[tuple[int, str], Visit]]


@pytest.fixture(scope="module")
def town() -> Iterator[Any]:
    with shots.town() as made:
        yield made


@pytest.fixture(scope="module")
def visits(browser: "Browser", town: Any, sized: Callable[[int, int], int]) -> Visiting:
    """The visits of a scene by look. Visited once: three tests ask about each."""
    from axe_playwright_python.base import AXE_SCRIPT

    seen: dict[str, dict[tuple[int, str], Visit]] = {}

    def of(scene: Any) -> dict[tuple[int, str], Visit]:
        if scene.name not in seen:
            seen[scene.name] = {
                look: visit(browser, town, scene, AXE_SCRIPT, *look) for look in LOOKS[: sized(2, len(LOOKS))]
            }
        return seen[scene.name]

    return of


def visit(browser: "Browser", town: Any, scene: Any, axe: str, width: int, scheme: Any) -> Visit:
    made = Visit()
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce")
    page.add_init_script(WATCH)
    ours = {urlsplit(town.url).netloc, urlsplit(town.empty_url).netloc}

    def hear(said: "ConsoleMessage") -> None:
        refused = scene.status >= 400 and f"a status of {scene.status}" in said.text  # what the page is about
        if said.type in ("error", "warning") and not refused:
            made.console.append(f"{said.type}: {said.text}")

    page.on("console", hear)
    page.on("pageerror", lambda it: made.console.append(f"script: {it}"))
    page.on("request", lambda it: None if urlsplit(it.url).netloc in ours else made.hosts.append(it.url))
    shots.open_scene(page, town, scene)
    if page.locator("body[data-events]").count():
        page.wait_for_selector("#link[data-state=live]", state="attached")
    made.too_wide_by = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    made.policy = page.evaluate("() => violations")  # what comes after this is not the page's doing
    page.evaluate(axe)
    options = {"runOnly": TAGS, "rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations"]}
    found = page.evaluate("(options) => axe.run(document, options)", options)
    made.violations = [
        f"{each['id']} at {node['target'][-1]}: {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
    page.close()
    return made


# One visit, one question -------------------------------------------------------------------------------------------


@EVERY_SCENE
def test_axe_finds_nothing_in_light_and_in_dark(
    visits: Visiting, scene: Any, record_property: Callable[[str, object], None]
) -> None:
    seen = visits(scene)
    assert {look: it.violations for look, it in seen.items() if it.violations} == {}
    if scene is shots.SCENES[-1]:
        record_property("figure", f"{len(shots.SCENES)} pages in {len(seen)} looks axe-clean")


@EVERY_SCENE
def test_the_console_stays_silent(visits: Visiting, scene: Any) -> None:
    assert [line for it in visits(scene).values() for line in it.console] == []


@EVERY_SCENE
def test_the_content_policy_forbids_nothing_that_the_page_wants(visits: Visiting, scene: Any) -> None:
    assert [line for it in visits(scene).values() for line in it.policy] == []


@EVERY_SCENE
def test_no_other_host_is_asked_for_anything(visits: Visiting, scene: Any) -> None:
    assert [line for it in visits(scene).values() for line in it.hosts] == []


@EVERY_SCENE
def test_no_page_scrolls_sideways(visits: Visiting, scene: Any) -> None:
    assert {look: it.too_wide_by for look, it in visits(scene).items() if it.too_wide_by > 0} == {}


# News --------------------------------------------------------------------------------------------------------------

LIVE = [
    each
    for each in shots.SCENES
    if not each.empty and each.status == 200 and each.name not in ("api", "doctor", "transcript")
]
LIVE_SCENE = pytest.mark.parametrize("scene", LIVE, ids=lambda scene: scene.name)


def says(page: "Page", town: Any, msisdn: str) -> None:
    """The application sends a text, and the page has taken it up."""
    with page.expect_response(lambda it: "x-refresh" in it.request.headers) as heard:
        town.says(msisdn, "Doors open at seven.", session="s-9000")
    heard.value.finished()


@pytest.fixture
def live(browser: "Browser", town: Any) -> Iterator[Callable[..., "Page"]]:
    """Opens a scene without what is done on it, and returns when it is live.

    Its script starts when all the rest has been painted; what then moved is the script's doing.
    """
    pages: list[Page] = []

    def opened(scene: Any, **options: Any) -> "Page":
        page = browser.new_page(**{"viewport": {"width": 1024, "height": 768}, "reduced_motion": "reduce", **options})
        pages.append(page)
        page.add_init_script(WATCH)
        held: list[Route] = []
        page.route("**/static/page.js", lambda route: held.append(route))
        page.goto(town.url + scene.path.format_map(town.ids), wait_until="commit")
        page.wait_for_selector("#help", state="attached")  # the last of every page
        page.evaluate(MOVED)
        held[0].continue_()
        page.wait_for_selector("#link[data-state=live]", state="attached")
        return page

    yield opened
    for page in pages:
        page.context.close()


@LIVE_SCENE
def test_nothing_moves_when_the_script_starts(live: Callable[..., "Page"], scene: Any) -> None:
    assert live(scene).evaluate(MOVED) == []


@LIVE_SCENE
def test_news_move_nothing_but_the_rows_of_a_list(live: Callable[..., "Page"], town: Any, scene: Any) -> None:
    page = live(scene)
    page.evaluate(MOVED)
    for msisdn in (shots.AMINA, shots.AMINA, shots.NGOZI, shots.AMINA):
        says(page, town, msisdn)
    assert set(page.evaluate(MOVED)) <= {"row"}


THREAD = next(each for each in shots.SCENES if each.name == "thread")


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
def test_a_message_appears_without_motion_for_those_who_wish(
    live: Callable[..., "Page"], town: Any, wish: str, moves: bool
) -> None:
    page = live(THREAD, reduced_motion=wish)
    page.evaluate("() => { window.begun = 0; document.addEventListener('animationstart', () => begun++); }")
    before = page.locator(".bubble").last.get_attribute("id")
    says(page, town, shots.AMINA)
    page.wait_for_function("(before) => [...document.querySelectorAll('.bubble')].at(-1).id !== before", arg=before)
    page.evaluate(MOVED)
    assert (page.evaluate("() => begun") > 0) is moves


def test_a_printed_conversation_is_whole_and_without_controls(live: Callable[..., "Page"], town: Any) -> None:
    page = live(THREAD, viewport={"width": 1024, "height": 300})
    page.emulate_media(media="print")
    for each in (".bar", ".list", ".composer", ".power"):
        assert not page.locator(each).is_visible(), each
    first = page.locator(".bubble").first
    assert first.evaluate("it => it.getBoundingClientRect().top + scrollY") >= 0
    assert page.locator("#log").evaluate("it => it.scrollHeight <= it.clientHeight")


def test_where_one_is_shows_in_forced_colours(live: Callable[..., "Page"]) -> None:
    page = live(THREAD, forced_colors="active")
    chosen = page.locator(".chat[aria-current]").evaluate("it => getComputedStyle(it).outlineStyle")
    assert chosen == "solid"
