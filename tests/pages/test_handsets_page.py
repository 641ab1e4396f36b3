"""The pages' forms for a handset change what somebody typed, and nothing else."""

import html
import re

import pytest

from tests.conftest import Bench
from tests.pages.browsing import ADA, CHAT, Visitor


@pytest.fixture
def visitor(bench: Bench) -> Visitor:
    return Visitor(bench=bench)


def stands(visitor: Visitor) -> tuple[str, str, str]:
    found = visitor.bench.get(f"/handsets/{ADA}")
    return found["label"], found["telco"], found["state"]


def set_up(visitor: Visitor, **changes: str) -> None:
    assert visitor.bench.call("PATCH", f"/handsets/{ADA}", changes).status_code == 200


def as_sent(page: str, action: str) -> dict[str, str]:
    """What a browser sends when somebody submits the form untouched: the values of its inputs and selects."""
    form = next(each for each in re.findall(r"<form.*?</form>", page, re.DOTALL) if action in each and "label" in each)
    inputs = re.findall(r'<input[^>]* name="([^"]*)" value="([^"]*)"', form)
    selects = re.findall(r'<select[^>]* name="([^"]*)">.*?<option selected>([^<]*)</option>', form, re.DOTALL)
    return {name: html.unescape(value) for name, value in (*inputs, *selects)}


# A new handset whose number is there already -----------------------------------------------------------------------


def test_adding_a_number_that_is_there_opens_its_conversation_and_changes_nothing(visitor: Visitor) -> None:
    set_up(visitor, label="Ada", telco="glo", state="off")
    waiting = visitor.bench.sent()
    before = visitor.bench.get(f"/messages/{waiting}")
    untouched = {"number": ADA, "label": "", "shortcode": "48974", "telco": "", "text": ""}
    assert visitor.done("/", **untouched) == CHAT
    assert stands(visitor) == ("Ada", "glo", "off")
    assert visitor.bench.get(f"/messages/{waiting}") == before


def test_adding_a_number_that_is_there_applies_what_was_typed(visitor: Visitor) -> None:
    set_up(visitor, label="Ada", telco="glo", state="off")
    visitor.done("/", number=ADA, label="Ada Obi", shortcode="48974", telco="")
    assert stands(visitor) == ("Ada Obi", "glo", "off")
    visitor.done("/", number=ADA, label="", shortcode="48974", telco="mtn")
    assert stands(visitor) == ("Ada Obi", "mtn", "off")


def test_a_first_text_from_a_handset_that_is_there_and_off_is_explained_and_kept(visitor: Visitor) -> None:
    set_up(visitor, state="off")
    form = {"number": ADA, "label": "", "shortcode": "48974", "telco": "", "text": "CINEMA"}
    page = visitor.post("/", **form)
    assert page.status_code == 409
    assert "Switch it on first" in page.text
    assert "CINEMA" in page.text


# Label and telco, which one form sends together --------------------------------------------------------------------


def test_a_form_that_was_open_while_somebody_else_changed_the_handset_takes_nothing_back(visitor: Visitor) -> None:
    set_up(visitor, label="Ada", telco="glo")
    form = as_sent(visitor.page(CHAT), f"{CHAT}/handset")
    assert (form["label"], form["telco"]) == ("Ada", "glo")
    set_up(visitor, telco="mtn")
    visitor.done(f"{CHAT}/handset", **{**form, "label": "Ada Obi"})
    assert stands(visitor) == ("Ada Obi", "mtn", "on")
    set_up(visitor, label="Eve")
    visitor.done(f"{CHAT}/handset", **{**form, "telco": "airtel"})
    assert stands(visitor) == ("Eve", "airtel", "on")


def test_a_form_that_is_complained_about_still_knows_what_it_showed(visitor: Visitor) -> None:
    set_up(visitor, label="Ada", telco="glo")
    form = as_sent(visitor.page(CHAT), f"{CHAT}/handset")
    set_up(visitor, telco="mtn")
    answer = visitor.post(f"{CHAT}/handset", **{**form, "label": "x" * 81})
    assert answer.status_code == 400
    visitor.done(f"{CHAT}/handset", **{**as_sent(answer.text, f"{CHAT}/handset"), "label": "Ada Obi"})
    assert stands(visitor) == ("Ada Obi", "mtn", "on")


def test_a_label_is_taken_away_by_the_form_that_shows_it(visitor: Visitor) -> None:
    set_up(visitor, label="Ada")
    form = as_sent(visitor.page(CHAT), f"{CHAT}/handset")
    visitor.done(f"{CHAT}/handset", **{**form, "label": ""})
    assert stands(visitor)[0] == ""
