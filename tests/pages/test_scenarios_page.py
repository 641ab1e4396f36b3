"""The pages of scenarios over real HTTP and without a browser: the list, the runs, the editor, hostile sources."""

import html
import re

import pytest

from sandbox.scenario import catalogue
from tests.conftest import Bench
from tests.pages.browsing import ADA, BEN, HOSTILE, Visitor, read, turn, typed_in

SCRIPT = """\
scenario: cinema
description: Answers the survey.
steps:
  - expect: {text: "*cinema?*"}
  - reply: {text: yesterday, after: 2s}
  - expect: {text: "*film*", within: 1h}
  - expect_none: {within: 1s}
"""
PERSONA = """\
scenario: talker
rules:
  - when: {pattern: "code (?P<code>[0-9]+)", save: {code: code}, new_state: told}
    reply: {text: "{code}", after: 2h}
"""


@pytest.fixture
def visitor(bench: Bench) -> Visitor:
    return Visitor(bench=bench)


def save(visitor: Visitor, source: str, **form: str) -> str:
    return visitor.done("/scenarios/_edit", source=source, **form)


def start(visitor: Visitor, name: str, msisdn: str = "") -> str:
    """Returns the identifier of the run."""
    path, _, run = visitor.done(f"/scenarios/{name}/runs", msisdn=msisdn).partition("#")
    assert path == f"/scenarios/{name}"
    return run


# The list ----------------------------------------------------------------------------------------------------------


def test_every_page_leads_to_the_scenarios(visitor: Visitor) -> None:
    assert f'href="/scenarios?account={visitor.bench.account}"' in visitor.page("/")


def test_the_list_says_what_the_built_in_ones_are_for(visitor: Visitor) -> None:
    page = visitor.text("/scenarios")
    for name in catalogue.built_in():
        assert name in page
    assert "still know the session when the answer comes two hours later? 3 steps" in page


def test_own_scenarios_stand_first_and_say_that_they_run(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    save(visitor, PERSONA.replace("talker", "silence"))
    start(visitor, "cinema", ADA)
    page = visitor.text("/scenarios")
    assert "cinema Answers the survey. your own 1 running 4 steps" in page
    assert "silence your own, in place of the built-in one 1 rule" in page
    assert page.index("cinema Answers") < page.index("dropped-connection")


# One scenario ------------------------------------------------------------------------------------------------------


def test_a_source_is_shown_line_by_line_as_it_is(visitor: Visitor) -> None:
    source = catalogue.built_in()["happy-survey"]
    found = re.search(r'<pre class="lines"[^>]*>(.*?)</pre>', visitor.page("/scenarios/happy-survey"), re.DOTALL)
    assert found is not None
    assert html.unescape(re.sub("<[^>]+>", "", found[1])) == source
    assert found[1].count("<span>") == source.count("\n")


def test_a_run_begins_for_the_handset_that_was_typed_in_any_form(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    run = start(visitor, "cinema", "+234 802 000 0000")
    page = visitor.text("/scenarios/cinema")
    assert f"step 1 of 4 handset +234 802 000 0000 {run}" in page


def test_a_run_begins_without_a_handset(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    start(visitor, "cinema")
    assert "step 1 of 4 no handset yet" in visitor.text("/scenarios/cinema")
    visitor.bench.sent(message="When were you at the cinema?")
    assert "step 3 of 4 handset +234 802 000 0000" in visitor.text("/scenarios/cinema")


def test_a_scenario_that_names_its_handset_asks_for_none(visitor: Visitor) -> None:
    save(visitor, f"handset: {{msisdn: {BEN}}}\n{SCRIPT}")
    assert 'name="msisdn"' not in visitor.page("/scenarios/cinema")
    start(visitor, "cinema")
    assert "handset +234 703 000 0000" in visitor.text("/scenarios/cinema")


def test_what_is_wrong_with_a_number_stands_beside_it(visitor: Visitor) -> None:
    answer = visitor.post("/scenarios/silence/runs", msisdn="0802")
    assert answer.status_code == 400
    assert 'value="0802"' in answer.text
    assert 'msisdn is "0802"' in read(answer.text)
    assert "Not played yet." in visitor.text("/scenarios/silence")


def test_a_handset_that_a_script_plays_is_not_played_twice(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    run = start(visitor, "cinema", ADA)
    assert f"{run} plays the handset {ADA} already" in visitor.told("/scenarios/cinema/runs", 409, msisdn=ADA)


def test_the_cursor_stands_at_the_step_that_has_its_turn(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    start(visitor, "cinema", ADA)
    assert turn(visitor.page("/scenarios/cinema")) == "1 expect “ *cinema?* ”"
    visitor.bench.sent(message="When were you at the cinema?")
    page = visitor.page("/scenarios/cinema")
    assert turn(page) == "3 expect “ *film* ” within 1 h"
    assert "done: expect" in read(page)
    assert "planned: reply “ yesterday ” after 2 s" in read(page)
    assert re.search(r"\d\d:\d\d:\d\d the handset texts “ yesterday ”", read(page))
    assert re.search(r"\d\d:\d\d:\d\d the time of the step is over", read(page))


def test_a_misfit_is_shown_with_what_was_wanted_and_what_came(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    start(visitor, "cinema", ADA)
    message = visitor.bench.sent(message="Good morning")
    page = visitor.page("/scenarios/cinema")
    assert "fitted nothing; the closest was step 1 text : wanted “ *cinema?* ”, found “ Good morning ”" in read(page)
    assert f"/c/48974/{ADA}?account={visitor.bench.account}&amp;at={message}#{message}" in page


def test_of_many_misfits_the_newest_are_shown(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    start(visitor, "cinema", ADA)
    for number in range(7):
        visitor.bench.sent(message=f"Good morning {number}")
    page = visitor.text("/scenarios/cinema")
    assert "7 misses" in page
    assert "Good morning 6" in page
    assert "Good morning 1" not in page
    assert "… and 2 older" in page


def test_a_run_that_failed_says_why_and_where(visitor: Visitor) -> None:
    save(visitor, "scenario: hush\nsteps:\n  - expect_none: {within: 1h}\n")
    start(visitor, "hush", ADA)
    visitor.bench.sent(message="Good morning")
    page = visitor.text("/scenarios/hush")
    assert "failed handset" in page
    assert "Good morning" in page
    assert "failed: expect none within 1 h" in page
    assert turn(visitor.page("/scenarios/hush")) is None


def test_a_stopped_run_stays_in_the_list_and_cannot_be_stopped_again(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    run = start(visitor, "cinema", ADA)
    assert f'action="/runs/{run}/stop' in visitor.page("/scenarios/cinema")
    assert visitor.done(f"/runs/{run}/stop") == f"/scenarios/cinema#{run}"
    page = visitor.page("/scenarios/cinema")
    assert "stopped handset" in read(page)
    assert "/stop" not in page
    assert f"{run} has ended already" in visitor.told(f"/runs/{run}/stop", 409)


def test_a_persona_shows_each_handset_with_its_state_and_what_was_kept(visitor: Visitor) -> None:
    save(visitor, PERSONA)
    start(visitor, "talker")
    visitor.bench.sent(message="Your code 4711", session_id="s-1")
    page = visitor.text("/scenarios/talker")
    assert "reacts to messages every handset" in page
    assert "+234 802 000 0000 told s-1 code “ 4711 ”" in page
    assert "the handset texts “ 4711 ”" in page


def test_a_script_that_goes_on_with_its_rules_can_still_be_stopped(visitor: Visitor) -> None:
    save(visitor, 'scenario: both\nsteps:\n  - expect: {text: "hi"}\n' + PERSONA.partition("\n")[2])
    run = start(visitor, "both", ADA)
    visitor.bench.sent(message="hi")
    assert "finished, its rules go on" in visitor.text("/scenarios/both")
    visitor.done(f"/runs/{run}/stop")
    assert "stopped" in visitor.text("/scenarios/both")


def test_of_a_long_script_the_steps_around_the_cursor_are_shown(visitor: Visitor) -> None:
    steps = "".join(f'  - expect: {{text: "text {number}"}}\n' for number in range(1, 101))
    save(visitor, f"scenario: long\nsteps:\n{steps}")
    start(visitor, "long", ADA)
    for number in range(1, 51):
        visitor.bench.sent(message=f"text {number}")
    page = visitor.page("/scenarios/long")
    assert turn(page) == "51 expect “ text 51 ”"
    assert "… 40 steps before" in read(page)
    assert "… 30 more steps" in read(page)


def test_older_runs_are_a_page_away_and_a_run_is_found_by_its_identifier(visitor: Visitor) -> None:
    runs = [start(visitor, "silence", f"23480200000{number:02}") for number in range(12)]
    page = visitor.page("/scenarios/silence")
    assert f'id="{runs[2]}"' in page
    assert f'id="{runs[1]}"' not in page
    assert f"before={runs[2][1:]}" in page
    assert f'id="{runs[1]}"' in visitor.page("/scenarios/silence", before=int(runs[2][1:]))
    assert visitor.get(f"/runs/{runs[11]}").headers["location"].endswith(f"#{runs[11]}")
    old = visitor.get(f"/runs/{runs[0]}").headers["location"]
    assert f"before={int(runs[0][1:]) + 1}#{runs[0]}" in old


def test_what_there_is_not_is_said_to_be_not_there(visitor: Visitor) -> None:
    for path in ("/scenarios/nobody", "/scenarios/%0a%3Cb%3E", "/runs/s99999999", "/runs/x"):
        assert visitor.get(path).status_code == 404
    for query in ({"name": "nobody"}, {"copy": "nobody"}):
        assert visitor.get("/scenarios/_edit", **query).status_code == 404
    visitor.told("/scenarios/nobody/runs", 404)
    visitor.told("/scenarios/nobody/delete", 404)
    visitor.told("/runs/s99999999/stop", 404)


def test_a_run_of_another_account_is_nobodys_business(visitor: Visitor) -> None:
    run = start(visitor, "silence", ADA)
    stranger = visitor.bench.sandbox.request("GET", f"/runs/{run}", allow_redirects=False)
    assert stranger.status_code == 404
    assert visitor.bench.sandbox.request("POST", f"/runs/{run}/stop", data={"_": ""}).status_code == 404


# The editor --------------------------------------------------------------------------------------------------------


def test_the_editor_begins_with_an_example_that_can_be_saved(visitor: Visitor) -> None:
    assert save(visitor, typed_in(visitor.page("/scenarios/_edit"), "source")) == "/scenarios/my-scenario"


@pytest.mark.parametrize("name", catalogue.built_in())
def test_a_copy_of_a_built_in_one_can_be_saved_under_a_name_of_its_own(visitor: Visitor, name: str) -> None:
    source = typed_in(visitor.page("/scenarios/_edit", copy=name), "source")
    assert save(visitor, source) == f"/scenarios/my-{name}"
    assert source == catalogue.built_in()[name].replace(f"\nscenario: {name}\n", f"\nscenario: my-{name}\n")


def test_a_second_copy_gets_another_name(visitor: Visitor) -> None:
    for name in ("my-silence", "my-silence-2", "my-silence-3"):
        source = typed_in(visitor.page("/scenarios/_edit", copy="silence"), "source")
        assert save(visitor, source) == f"/scenarios/{name}"


BAD = """
scenario: Bad Name
steps:
  - expect: {text: "*cinema?*", witin: 5s}
  - reply: {text: "yes", after: 2 weeks}
"""


def test_every_error_has_its_place_and_the_text_is_kept(visitor: Visitor) -> None:
    answer = visitor.post("/scenarios/_edit", source=BAD, was="")
    assert answer.status_code == 400
    assert typed_in(answer.text, "source") == BAD
    page = read(answer.text)
    assert "3 errors, nothing saved yet" in page
    for place in ("line 2, column 11 scenario is", "line 4, column 33 There is no", "line 5, column 33 after is"):
        assert place in page
    assert "<mark>w</mark>itin: 5s}" in answer.text
    assert "your own" not in visitor.text("/scenarios")


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("", id="nothing at all"),
        pytest.param("\n\n\n", id="blank lines"),
        pytest.param("scenario: x\n\x00", id="a NUL"),
        pytest.param("scenario: [" * 50, id="too deep"),
        pytest.param("- " + "x" * 100_000, id="one long line"),
    ],
)
def test_whatever_is_typed_is_answered_with_errors(visitor: Visitor, source: str) -> None:
    page = visitor.told("/scenarios/_edit", source=source, was="")
    assert re.search(r"\d errors?, nothing saved yet", page)


def test_a_name_that_is_taken_is_not_overwritten_by_accident(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    other = SCRIPT.replace("survey", "poll")
    answer = visitor.post("/scenarios/_edit", source=other, was="")
    assert answer.status_code == 400
    assert "You have a scenario called cinema already" in read(answer.text)
    assert typed_in(answer.text, "source") == other
    assert "Answers the survey." in visitor.text("/scenarios/cinema")


def test_a_scenario_of_ones_own_is_edited_in_place_and_runs_go_on(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    start(visitor, "cinema", ADA)
    page = visitor.page("/scenarios/_edit", name="cinema")
    assert typed_in(page, "source") == SCRIPT
    assert 'name="was" value="cinema"' in page
    save(visitor, SCRIPT.replace('"*cinema?*"', '"*theatre?*"'), was="cinema")
    page = visitor.page("/scenarios/cinema")
    assert "theatre" in page
    assert turn(page) == "1 expect “ *cinema?* ”"


def test_line_ends_of_a_browser_are_those_of_a_file(visitor: Visitor) -> None:
    save(visitor, SCRIPT.replace("\n", "\r\n"))
    assert visitor.bench.get("/scenarios/cinema")["source"] == SCRIPT


def test_a_deleted_scenario_is_gone_and_its_runs_can_still_be_seen(visitor: Visitor) -> None:
    save(visitor, SCRIPT)
    start(visitor, "cinema", ADA)
    assert visitor.done("/scenarios/cinema/delete") == "/scenarios"
    assert "cinema" not in visitor.text("/scenarios").split()
    page = visitor.page("/scenarios/cinema")
    assert "cinema removed" in read(page)
    assert 'name="msisdn"' not in page
    assert turn(page) is not None


def test_a_built_in_scenario_cannot_be_deleted(visitor: Visitor) -> None:
    assert "/delete" not in visitor.page("/scenarios/silence")
    assert "silence is built in" in visitor.told("/scenarios/silence/delete", 409)


# Hostile text ------------------------------------------------------------------------------------------------------


def test_hostile_text_in_a_source_is_shown_literally_everywhere(visitor: Visitor) -> None:
    hostile = HOSTILE.replace('"', '\\"')
    save(visitor, f'scenario: evil\ndescription: "{hostile}"\nsteps:\n  - expect: {{text: "{hostile}"}}\n')
    start(visitor, "evil", ADA)
    visitor.bench.sent(message=HOSTILE + "!")
    page = visitor.page("/scenarios/evil")
    assert html.unescape(re.sub("<[^>]+>", "", page)).count(HOSTILE) >= 4  # description, step, miss twice
    assert HOSTILE in html.unescape(visitor.page("/scenarios"))
    assert hostile in typed_in(visitor.page("/scenarios/_edit", name="evil"), "source")


def test_hostile_text_that_makes_no_sense_comes_back_literally(visitor: Visitor) -> None:
    source = f"scenario: {HOSTILE}\n{HOSTILE}"
    answer = visitor.post("/scenarios/_edit", source=source, was=HOSTILE)
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    assert typed_in(answer.text, "source") == source


def test_characters_that_nobody_would_see_are_shown(visitor: Visitor) -> None:
    save(visitor, 'scenario: unseen\ndescription: "a\u202eb"\nsteps:\n  - expect: {text: "c\u200bd"}\n')
    start(visitor, "unseen", ADA)
    visitor.bench.sent(message="e\u202ef")
    page = visitor.page("/scenarios/unseen") + visitor.page("/scenarios")
    for character in ("\u202e", "\u200b"):
        assert character not in page
        assert f"⟨U+{ord(character):04X}⟩" in page
    errors = read(visitor.post("/scenarios/_edit", source="scenario: x\u202ey\nsteps: []").text)
    assert "x ⟨U+202E⟩ y" in errors
