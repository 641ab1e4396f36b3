"""Every code of the catalogue: its words are complete, its facts are known, and nothing from the wire spoils them."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.numbers import NumberFault
from sandbox.wire.problems import CATALOGUE, WANTED, fault_strikes, problem, quote, status_of
from sandbox.wire.requests import KEYS

FACTS: dict[str, str | int] = {  # what callers of `problem` give; of a field, it knows name and wanted itself
    "account": "default",
    "character": "the character NUL",
    "count": "1 of 2 times",
    "effect": "the answer is 503",
    "fault": "f12",
    "key": "content",
    "kind": "an array",
    "length": 17,
    "limit": 1600,
    "masked": "sand…",
    "method": "GET",
    "path": '"/ng/v2/sendsms"',
    "reason": "byte 0 is not UTF-8",
    "shortcode": "48974",
    "shortcodes": "48975, 48976",
    "value": '"0802"',
}

STATUSES = {  # the table of the contract
    400: {
        "invalid_json",
        "not_an_object",
        "missing",
        "a2p_text",
        "not_a_string",
        "empty",
        "too_long",
        "unusable_character",
        "shortcode_malformed",
        "msisdn_malformed",
        "msisdn_not_international",
        "msisdn_length",
        "date_malformed",
    },
    401: {"no_authorization", "not_bearer", "unknown_token"},
    403: {"foreign_shortcode"},
    404: {"not_found"},
    405: {"method_not_allowed"},
    413: {"body_too_large"},
    415: {"content_type"},
    503: {"fault", "storage"},
}


def wanted_facts(code: str) -> set[str]:
    _, sentence, hint = CATALOGUE[code]
    return {name for text in (sentence, hint) for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_code_says_what_is_wrong_and_what_would_be_accepted(code: str) -> None:
    made = problem(code, "to", **FACTS)
    assert (made.code, made.field) == (code, "to")
    assert made.message
    assert made.hint
    assert made.message != made.hint


@pytest.mark.parametrize("code", CATALOGUE)
def test_the_words_of_a_code_ask_for_known_facts_only(code: str) -> None:
    assert wanted_facts(code) <= {*FACTS, "field", "wanted"}


@pytest.mark.parametrize("code", CATALOGUE)
def test_the_facts_of_a_code_stand_in_its_words(code: str) -> None:
    made = problem(code, "to", **FACTS)
    for name in wanted_facts(code) & FACTS.keys():
        assert str(FACTS[name]) in made.message + made.hint


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_fact_from_the_wire_is_not_taken_for_words_of_ours(code: str) -> None:
    hostile = "{field} {0} {} {{value}} %s {"
    made = problem(code, "to", **dict.fromkeys(FACTS, hostile))
    for text in (made.message, made.hint):
        assert "{" not in text.replace(hostile, "").replace('{"from": …, "to": …, "message": …}', "")


@pytest.mark.parametrize(("status", "codes"), STATUSES.items())
def test_codes_have_the_status_of_the_contracts_table(status: int, codes: set[str]) -> None:
    assert {code for code in CATALOGUE if status_of(code) == status} == codes


def test_no_code_has_a_status_that_the_contract_does_not_know() -> None:
    assert {status_of(code) for code in CATALOGUE} == STATUSES.keys()


def test_every_key_of_the_contract_says_what_it_should_hold() -> None:
    assert list(WANTED) == [*KEYS, "ref_id"]


@pytest.mark.parametrize("name", [*KEYS, "ref_id"])
def test_the_hint_about_a_field_says_what_it_should_hold(name: str) -> None:
    assert WANTED[name] in problem("missing", name).hint


@pytest.mark.parametrize("fault", NumberFault)
def test_every_fault_of_a_number_is_a_code(fault: NumberFault) -> None:
    assert fault in CATALOGUE


def test_the_sentence_about_a_fault_says_which_it_was_and_what_it_did() -> None:
    told = problem("fault", fault="f17", count="1 of 2", effect="503 is answered").message
    assert fault_strikes(["another", told, f"It says: {told}"]) == [(17, "503 is answered")]
    assert fault_strikes([told.replace("17", "9" * 19)]) == []  # no number of ours


def test_a_problem_of_the_whole_request_has_no_field() -> None:
    assert problem("no_authorization").field is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0802", '"0802"'),
        ("", '""'),
        ("₦", r'"\u20a6"'),
        ("\x1b[2J", r'"\x1b[2J"'),
        ("\ud800", r'"\ud800"'),
        ("x" * 40, f'"{"x" * 40}"'),
        ("x" * 41, f'"{"x" * 40}…"'),
        (12, '"12"'),
        ([1], '"[1]"'),
        (None, '"None"'),
    ],
)
def test_a_value_from_the_wire_is_quoted_short_and_harmless(value: object, shown: str) -> None:
    assert quote(value) == shown


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=())))
def test_no_quoted_value_breaks_a_line_or_repaints_a_terminal(text: str) -> None:
    assert quote(text).isprintable()
    assert len(quote(text)) <= 43
