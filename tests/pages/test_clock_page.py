"""What every page says of a clock that is not at the system's time, and the one press that brings it back."""

import html
import re
from collections.abc import Callable

import pytest

from sandbox.pages.formatting import apart
from tests.conftest import Bench, Receiver, SystemTime
from tests.pages.browsing import ADA, CHAT, Visitor, read

EDITOR = "/scenarios/_edit"


@pytest.fixture
def visitor(start_sandbox: Callable[..., Bench], receiver: Receiver, system_time: SystemTime) -> Visitor:
    """On a sandbox whose clock runs with the system's, and in which something of everything has happened."""
    bench = start_sandbox(clock="system")
    bench.patch_account(client_url=receiver.url)
    bench.sent()
    bench.post(f"/handsets/{ADA}/reply", {"text": "yesterday"})
    return Visitor(bench=bench)


PAGES = (
    *("/", CHAT, f"{CHAT}/as/text", f"/present/48974/{ADA}", "/requests", "/requests/r2", "/webhooks", "/webhooks/w3"),
    *("/scenarios", "/scenarios/late-reply", EDITOR, "/settings", "/doctor", "/webhooks/w999999"),
)


def said(page: str) -> str:
    """What stands beside the button; empty where there is none."""
    found = re.search(r'<form[^>]* id="apart".*?</form>', page, re.DOTALL)
    return re.sub(r" (?=[.,])", "", read(found[0])) if found else ""


def here(page: str) -> str:
    """Where the button leads back to."""
    found = re.search(r'<input type="hidden" name="here" value="([^"]*)">', page)
    assert found is not None
    return html.unescape(found[1])


def put(visitor: Visitor, **asked: object) -> None:
    assert visitor.bench.call("PUT", "/clock", asked).status_code == 200


def silent(visitor: Visitor) -> list[str]:
    """The pages that say nothing of the clock."""
    return [path for path in PAGES if not said(visitor.get(path).text)]


def test_no_page_mentions_a_clock_that_runs_with_the_systems(visitor: Visitor) -> None:
    assert silent(visitor) == list(PAGES)


def test_every_page_says_that_the_clock_stands_still_and_how_far_behind(
    visitor: Visitor, system_time: SystemTime
) -> None:
    put(visitor, action="freeze")
    now = visitor.bench.get("/clock")["now"][11:19]
    system_time.passes(310)
    wanted = f"The clock stands still at {now} UTC, 5 min behind the system's when this page was made. "
    pages = {path: said(visitor.get(path).text) for path in PAGES}
    assert {path: words for path, words in pages.items() if words != f"{wanted}Run at the system's time"} == {}


def test_every_page_says_how_far_a_clock_is_that_runs_at_another_time(
    visitor: Visitor, system_time: SystemTime
) -> None:
    put(visitor, action="freeze")
    system_time.passes(300)
    put(visitor, action="resume")
    told = {said(visitor.get(path).text) for path in PAGES}
    assert len(told) == 1
    assert re.fullmatch(r"The clock is (5 min|4 min 59 s) behind the system's. Run at the system's time", told.pop())
    put(visitor, action="advance", seconds=390)
    assert re.match(r"The clock is 1 min (30|29) s ahead of the system's\.", said(visitor.page("/requests")))


def test_one_press_brings_it_back_and_leads_back_to_the_same_page(visitor: Visitor) -> None:
    for path in PAGES:
        put(visitor, action="advance", seconds=3600)
        put(visitor, action="freeze")
        page = visitor.get(path).text
        back = visitor.post("/settings/clock/system", here=here(page)).headers["location"]
        expected = visitor.get(path).request.path_url if "w999999" not in path else "/"
        assert back == expected.replace("?account=default", ""), path
        assert silent(visitor) == list(PAGES)
    assert visitor.bench.get("/clock")["frozen"] is False


def test_the_press_leads_back_to_what_was_searched_for_below_the_prefix(start_sandbox: Callable[..., Bench]) -> None:
    bench = start_sandbox(root_path="/sms")
    bench.post("/accounts", {"name": "team-2", "token": "another"})
    visitor = Visitor(bench=Bench(sandbox=bench.sandbox, account="team-2", token="another"))
    page = visitor.page("/sms/requests", q="a b&c")
    assert visitor.post("/sms/settings/clock/system", here=here(page)).headers["location"] == (
        "/sms/requests?account=team-2&q=a+b%26c"
    )


def test_the_press_leads_to_no_other_server(visitor: Visitor) -> None:
    put(visitor, action="freeze")
    for elsewhere in ("", "https://evil.example/", "//evil.example/", "evil.example", "javascript:alert(1)"):
        assert "The path of a page of this sandbox is wanted." in visitor.told("/settings/clock/system", here=elsewhere)
    assert visitor.bench.get("/clock")["frozen"] is True


def test_a_clock_that_was_asked_to_stand_still_is_told_as_such(start_sandbox: Callable[..., Bench]) -> None:
    visitor = Visitor(bench=start_sandbox())
    assert 'The clock stands still, as clock = "virtual" asks for, at ' in said(visitor.page("/"))
    put(visitor, action="resume")
    put(visitor, action="advance", seconds=3600)
    assert said(visitor.page("/")).startswith("The clock is")


def test_the_settings_say_it_beside_the_time_with_the_button_among_the_others(
    visitor: Visitor, system_time: SystemTime
) -> None:
    assert "UTC, running Freeze" in visitor.text("/settings")
    put(visitor, action="freeze")
    system_time.passes(310)
    assert "UTC, stands still, 5 min behind the system's Resume Run at the system's time" in visitor.text("/settings")
    assert visitor.done("/settings/clock/system", here="/settings#clock") == "/settings#clock"


def test_the_words_are_exact_where_the_clock_runs_and_right_for_a_minute_where_it_stands_still() -> None:
    wanted = {
        (0, False): "",
        (-999, False): "",
        (999, False): "",
        (1000, False): "1 s ahead of the system's",
        (-61_900, False): "1 min 1 s behind the system's",
        (0, True): "less than 1 min behind the system's",
        (-59_999, True): "less than 1 min behind the system's",
        (59_999, True): "less than 1 min ahead of the system's",
        (-119_999, True): "1 min behind the system's",
        (7_260_500, True): "2 h 1 min ahead of the system's",
    }
    assert {given: apart(given[0], frozen=given[1]) for given in wanted} == wanted


# The presenter's page ----------------------------------------------------------------------------------------------

STAGE = f"/present/48974/{ADA}"


def test_leaving_a_paused_presenter_offers_to_go_on(visitor: Visitor, system_time: SystemTime) -> None:
    assert "Go on and leave" not in visitor.text(STAGE)
    visitor.done(f"{STAGE}/pace", wanted="pause")
    system_time.passes(300)
    shown = visitor.text(STAGE)
    assert "Leave it paused Go on and leave" in shown
    assert visitor.done(f"{STAGE}/pace", wanted="leave") == CHAT
    clock = visitor.bench.get("/clock")
    assert (clock["frozen"], clock["ahead_s"]) == (False, pytest.approx(0, abs=0.5))


def test_leaving_offers_nothing_where_the_clock_was_asked_to_stand_still(start_sandbox: Callable[..., Bench]) -> None:
    shown = Visitor(bench=start_sandbox()).text(STAGE)
    assert "Paused." in shown
    assert "Leave" in shown
    assert "Go on and leave" not in shown
