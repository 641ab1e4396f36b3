"""The presenter's page over real HTTP and without a browser: scenarios to start, their pace, and starting over."""

import html
import re
from collections.abc import Callable

import pytest

from tests.conftest import Bench, Receiver
from tests.pages.browsing import ADA, BEN, Visitor, read

AT = f"/present/48974/{ADA}"
FRESH = "/present/48974/2348030000000"

SLOW = """\
scenario: slow
description: Answers when it has the time.
steps:
  - expect: {text: "*"}
  - reply: {text: soon, after: 2h}
  - expect: {text: "*", within: 10s}
  - expect_none: {within: 3s}
"""


@pytest.fixture
def visitor(bench: Bench) -> Visitor:
    return Visitor(bench=bench)


@pytest.fixture
def alone(start_sandbox: Callable[..., Bench]) -> Visitor:
    """On a sandbox of the test's own, whose clock it may move."""
    return Visitor(bench=start_sandbox())


def own(visitor: Visitor, source: str) -> None:
    assert visitor.done("/scenarios/_edit", source=source).startswith("/scenarios/")


def chips(page: str) -> list[str]:
    return re.findall(r'<button[^>]* name="scenario" value="([^"]*)"', page)


def status(page: str) -> str:
    """What is played, and what goes on."""
    found = re.search(r'<div class="played".*?<div class="held"', page, re.DOTALL)
    assert found is not None
    return read(found[0])


def can_jump(page: str) -> bool:
    found = re.search(r'<button id="next"[^>]*>', page)
    assert found is not None
    return "disabled" not in found[0]


# The page ----------------------------------------------------------------------------------------------------------


def test_it_begins_on_a_number_that_nobody_has_used(visitor: Visitor) -> None:
    assert visitor.get("/present").headers["location"] == f"{FRESH}?account={visitor.bench.account}"
    assert "No messages yet." in visitor.page(FRESH)
    visitor.done(FRESH, text="hello")
    assert "/present/48974/2348030000001" in visitor.get("/present").headers["location"]


def test_it_begins_with_the_accounts_own_shortcode(visitor: Visitor) -> None:
    visitor.bench.patch_account(shortcodes=["70000", "48974"])
    assert "/present/70000/" in visitor.get("/present").headers["location"]
    assert "/present/48974/" in visitor.get("/present", shortcode="48974").headers["location"]


def test_it_shows_what_was_said_and_by_whom_and_no_identifier(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.patch_account(client_url=receiver.url)
    message = visitor.bench.sent(message="Which film?", session_id="67543uhn3")
    visitor.bench.post(f"/handsets/{ADA}/reply", {"text": "Things Fall Apart"})
    page = visitor.page(AT)
    shown = read(page)
    assert "The application: Which film?" in shown
    assert "The handset: Things Fall Apart delivered" in shown
    assert "67543uhn3" not in page
    assert message not in shown


def test_it_has_nothing_that_destroys_and_no_settings(visitor: Visitor) -> None:
    visitor.bench.sent()
    page = visitor.page(AT)
    assert "danger" not in page
    assert 'href="/settings' not in page
    actions = {html.unescape(each).partition("?")[0] for each in re.findall(r' action="([^"]*)"', page)}
    assert actions == {AT, f"{AT}/play", f"{AT}/pace", f"{AT}/start-over", "/settings/clock/system"}


def test_it_leads_back_and_the_other_pages_lead_to_it(visitor: Visitor) -> None:
    visitor.bench.sent()
    query = f"?account={visitor.bench.account}"
    assert f'href="/c/48974/{ADA}{query}"' in visitor.page(AT)
    assert f'href="{AT}{query}"' in visitor.page(f"/c/48974/{ADA}")
    assert f'href="/present{query}"' in visitor.page("/scenarios")


def test_what_is_looked_at_is_read(visitor: Visitor) -> None:
    visitor.bench.sent()
    visitor.page(AT)
    assert '<b class="count">' not in visitor.page("/")


def test_a_text_typed_here_is_a_reply_in_the_same_session(visitor: Visitor) -> None:
    visitor.bench.sent(session_id="67543uhn3")
    assert visitor.done(AT, text="yesterday") == AT
    assert visitor.bench.get("/messages", direction="mo")["messages"][0]["session_id"] == "67543uhn3"


def test_nothing_typed_is_a_error_and_an_absent_conversation_is_not_found(visitor: Visitor) -> None:
    assert "Type a text" in visitor.told(AT, text="")
    assert visitor.get("/present/48974/nobody").status_code == 404
    assert visitor.post(f"{AT}/pace", wanted="faster").status_code == 400


# Scenarios ---------------------------------------------------------------------------------------------------------


def test_every_scenario_with_steps_has_a_chip_with_its_description(visitor: Visitor) -> None:
    own(visitor, SLOW)
    own(visitor, 'scenario: persona\nrules:\n  - when: {text: "*"}\n    reply: {text: ok}\n')
    page = visitor.page(AT)
    names = chips(page)
    assert "persona" not in names
    assert {"slow", "happy-survey", "late-reply"} <= set(names)
    assert 'title="Answers when it has the time."' in page
    begins, _, waits = page.partition("Your application begins")
    assert "happy-survey" in chips(begins)
    assert chips(waits)[0] == "slow"  # one's own before the shipped


def test_a_chip_starts_its_scenario_on_this_handset(visitor: Visitor) -> None:
    assert visitor.done(f"{AT}/play", scenario="happy-survey") == AT
    page = visitor.page(AT)
    assert "The handset: CINEMA" in read(page)
    assert status(page).startswith("happy-survey step 2 of 9")
    assert "Waits for your application." in status(page)


def test_another_chip_takes_the_place_of_the_script_that_plays(visitor: Visitor) -> None:
    visitor.done(f"{AT}/play", scenario="silence")
    visitor.done(f"{AT}/play", scenario="late-reply")
    assert status(visitor.page(AT)).startswith("late-reply step 1 of 3")
    runs = visitor.bench.get("/scenarios/silence/runs")["runs"]
    assert [each["state"] for each in runs] == ["stopped"]


def test_a_scenario_that_names_its_handset_and_shortcode_is_shown_there(visitor: Visitor) -> None:
    own(visitor, f'scenario: hers\nhandset: {{msisdn: "{BEN}"}}\nsteps:\n  - send: {{text: hi, to: 70000}}\n')
    assert visitor.done(f"{AT}/play", scenario="hers") == f"/present/70000/{BEN}"


def test_an_unknown_scenario_is_not_found(visitor: Visitor) -> None:
    assert "no scenario 'nothing'" in visitor.told(f"{AT}/play", 404, scenario="nothing").replace('"', "'")


def test_start_over_is_an_empty_conversation_and_removes_nothing(visitor: Visitor) -> None:
    visitor.done(f"{FRESH}/play", scenario="happy-survey")
    assert visitor.done(f"{FRESH}/start-over") == "/present/48974/2348030000001"
    assert "No messages yet." in visitor.page("/present/48974/2348030000001")
    assert "CINEMA" in visitor.text("/c/48974/2348030000000")
    assert visitor.bench.get("/scenarios/happy-survey/runs")["runs"][0]["state"] == "stopped"


# The pace ----------------------------------------------------------------------------------------------------------


def test_a_planned_text_is_what_the_handset_types(alone: Visitor) -> None:
    own(alone, SLOW)
    alone.done(f"{AT}/play", scenario="slow")
    assert "The handset types" not in alone.text(AT)
    alone.bench.sent()
    page = alone.page(AT)
    assert "The handset types • • • in 2 h" in read(page)
    assert "Paused. The handset is about to text." in status(page)
    assert "The handset types" not in alone.text(f"/present/48974/{BEN}")


def test_next_does_at_once_what_comes_next_and_no_more(alone: Visitor) -> None:
    own(alone, SLOW)
    alone.done(f"{AT}/play", scenario="slow")
    alone.bench.sent()
    alone.done(f"{AT}/pace", wanted="next")
    page = alone.page(AT)
    assert "The handset: soon" in read(page)
    assert "Waits for your application." in status(page)
    assert not can_jump(page)  # nothing but the end of the step's time, which would fail the script
    alone.done(f"{AT}/pace", wanted="next")
    assert "step 3 of 4" in status(alone.page(AT))
    alone.bench.sent()
    assert "Nothing should come now." in status(alone.page(AT))
    alone.done(f"{AT}/pace", wanted="next")
    assert "slow finished" in status(alone.page(AT))


def test_next_is_also_a_webhooks_next_attempt(alone: Visitor, receiver: Receiver) -> None:
    alone.bench.patch_account(client_url=receiver.url)
    receiver.answer_next(503)
    alone.bench.post(f"/handsets/{ADA}/send", {"text": "CINEMA", "to": "48974"})
    assert "The webhook was not taken. It is tried again." in status(alone.page(AT))
    alone.done(f"{AT}/pace", wanted="next")
    assert "The handset: CINEMA delivered" in alone.text(AT)


def test_pause_and_go_on_stop_and_start_the_clock_and_say_so(alone: Visitor) -> None:
    assert "Paused." in status(alone.page(AT))
    assert "for all its accounts" in alone.text(AT)
    alone.done(f"{AT}/pace", wanted="go")
    assert alone.bench.get("/clock")["frozen"] is False
    assert "Paused." not in status(alone.page(AT))
    alone.done(f"{AT}/pace", wanted="pause")
    assert alone.bench.get("/clock")["frozen"] is True


def test_a_failed_script_says_why(alone: Visitor) -> None:
    alone.done(f"{AT}/play", scenario="happy-survey")
    alone.bench.call("PUT", "/clock", {"action": "advance", "seconds": 20})
    shown = status(alone.page(AT))
    assert "happy-survey failed" in shown
    assert "none came" in shown
