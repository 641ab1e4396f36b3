"""A scenario that is written reads as itself. What no scenario is, is read in test_fuzzed_files.py."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from sandbox.model import Drop, Encoding, FaultEffect, FaultOn, HandsetState, Msisdn, MsisdnFormat, Shortcode
from sandbox.rules.matching import Match, check, exactly, to_mapping
from sandbox.scenario.catalogue import built_in
from sandbox.scenario.script import SCHEMA, read, write
from sandbox.scenario.steps import (
    START,
    ChangeHandset,
    Expect,
    ExpectNone,
    HandsetSpec,
    MakeFault,
    Rule,
    Scenario,
    Send,
    Session,
    When,
)
from sandbox.wire.numbers import TELCOS

HERE = Path(__file__).parent
EXAMPLE = (HERE / "example.yaml").read_text(encoding="utf-8")
GOOD = [EXAMPLE, (HERE / "everything.yaml").read_text(encoding="utf-8"), *built_in().values()]
VALIDATOR = Draft202012Validator(SCHEMA)


def scenario_of(source: str) -> Scenario:
    found = read(source)
    assert isinstance(found, Scenario), [str(each) for each in found]
    return found


# Writing -----------------------------------------------------------------------------------------------------------


def test_a_scenario_is_written_as_a_person_would() -> None:
    assert write(scenario_of(EXAMPLE)) == EXAMPLE.replace("msisdn: any, ", "").replace("times: 1, ", "")


def test_a_long_step_is_written_with_a_line_for_each_key() -> None:
    pattern = "^Your code is ([0-9]{4,8}), and it is good for ten minutes\\. Tell nobody, not even us\\.$"
    when = When(match=Match(pattern=pattern), session=Session.SAME, save={"code": "1"})
    long = "word " * 20 + "\n"
    scenario = Scenario(
        name="no",
        description="yes: it's \U0001f468\u200d\U0001f469 \u202e\ufeff",
        steps=(
            Expect(when=when, within_ms=90_000),
            Send(texts=("{code}", long)),
            ChangeHandset(state=HandsetState.OFF),
        ),
        rules=(Rule(when=When(match=Match()), doing=(Send(texts=(long,)), Send(texts=("STOP",)))),),
    )
    assert (
        write(scenario)
        == f"""\
scenario: "no"
description: "yes: it's \U0001f468\u200d\U0001f469 \\u202e\\ufeff"
steps:
  - expect:
      pattern: "{pattern.replace(chr(92), chr(92) * 2)}"
      session: same
      save: {{code: 1}}
      within: 90s
  - reply:
      text:
        - "{{code}}"
        - "{long[:-1]}\\n"
  - handset: {{state: off}}
rules:
  - when: {{}}
    reply:
      - {{text: "{long[:-1]}\\n"}}
      - {{text: "STOP"}}
"""
    )
    assert read(write(scenario)) == scenario


@pytest.mark.parametrize("name", ["no", "true", "null", "on", "y", "0", "1.5", "0x1f", "1e3", "12"])
def test_a_word_that_other_tools_take_for_something_else_is_quoted(name: str) -> None:
    source = write(Scenario(name=name, rules=(Rule(when=When(match=Match()), doing=()),)))
    assert isinstance(yaml.safe_load(source)["scenario"], str) or name == "12"


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)
TEXTS = ANY | st.sampled_from(
    ["no", "~", "0802", "+234", ": ", "#", " a ", "\n", "'", '"', "\\", "\x85\u2028\ufeff", "- a"]
)
WORDS = st.from_regex("[A-Za-z0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True) | st.sampled_from(["no", "on", "1e3", "true"])
NAMES = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True) | st.sampled_from(["on", "null"])
SHORTCODES = st.from_regex("[0-9]{3,15}", fullmatch=True).map(Shortcode)
MSISDNS = st.from_regex("[1-9][0-9]{6,14}", fullmatch=True).map(Msisdn)
TIMES_MS = st.integers(1, 10**6) | st.sampled_from([60_000, 86_400_000, 366 * 86_400_000])
TELCO = st.none() | st.sampled_from(TELCOS)
MATCHES = st.builds(
    Match,
    text=st.none() | TEXTS.map(exactly) | TEXTS,
    pattern=st.none() | st.sampled_from(["(?i)stop", "a|\\d{4,8}", "^[\"'] \\\\ {}$"]),
    ignore_case=st.booleans(),
    from_=st.none() | SHORTCODES.filter(lambda code: not code.startswith("00")),
    segments=st.none() | st.integers(1, 1000),
    encoding=st.none() | st.sampled_from(Encoding),
).filter(lambda match: not check(match))
SESSIONS = TEXTS.filter(lambda text: text not in tuple(Session))


@st.composite
def whens(draw: st.DrawFn) -> When:
    match, session = draw(MATCHES), draw(st.none() | st.sampled_from(Session))
    if session is None:
        match = replace(match, session_id=draw(st.none() | SESSIONS))
    save = draw(st.dictionaries(NAMES, st.just("0"), max_size=3))
    new_state = draw(st.none() | WORDS)
    required_state = draw(st.sampled_from([None, START, new_state]))
    return When(match=match, session=session, save=save, required_state=required_state, new_state=new_state)


@st.composite
def sends(draw: st.DrawFn) -> Send:
    said = TEXTS.map(lambda text: text.replace("{", "{{").replace("}", "}}")) | st.just("{known} {{}}")
    texts, starts = tuple(draw(st.lists(said, min_size=1, max_size=3))), draw(st.booleans())
    return Send(
        texts=texts,
        after_ms=draw(st.just(0) | TIMES_MS),
        to=draw(SHORTCODES) if starts else None,
        starts=starts,
        session_id=draw(st.none() | SESSIONS),
        duplicates=draw(st.integers(0, 5)),
        reversed_order=len(texts) > 1 and draw(st.booleans()),
        msisdn_format=draw(st.sampled_from([None, MsisdnFormat.PLAIN, MsisdnFormat.PLUS])),
        telco=draw(TELCO),
    )


@st.composite
def faults(draw: st.DrawFn) -> MakeFault:
    delay_s = draw(st.integers(1, 300_000)) / 1000
    effect = draw(
        st.builds(FaultEffect, status=st.integers(400, 599), body=st.none() | TEXTS | st.just(""))
        | st.builds(FaultEffect, drop=st.sampled_from([Drop.REFUSED, Drop.ACCEPTED]), delay_s=st.just(delay_s))
        | st.sampled_from([FaultEffect(hold=True), FaultEffect(delay_s=delay_s)])
    )
    match = replace(draw(MATCHES), to=draw(st.none() | MSISDNS), session_id=draw(st.none() | TEXTS))
    times = draw(st.none() | st.integers(1, 10_000))
    return MakeFault(on=draw(st.sampled_from(FaultOn)), effect=effect, times=times, match=to_mapping(match))


CHANGES = st.builds(ChangeHandset, state=st.sampled_from(HandsetState), telco=TELCO)
DOING = st.tuples(st.lists(sends(), max_size=2), st.lists(faults(), max_size=2), st.lists(CHANGES, max_size=2)).map(
    lambda kinds: (*sorted(kinds[0], key=lambda send: send.starts), *kinds[1], *kinds[2])
)
STEPS = (
    st.builds(Expect, when=whens(), within_ms=st.none() | TIMES_MS)
    | st.builds(ExpectNone, within_ms=TIMES_MS, match=MATCHES)
    | sends()
    | faults()
    | CHANGES
)
FIRST = Expect(when=When(match=Match(), save={"known": "0"}))
SCENARIOS = st.builds(
    Scenario,
    name=st.from_regex("[a-z0-9][a-z0-9_.-]{0,9}", fullmatch=True) | st.sampled_from(["no", "123", "1.5", "0"]),
    description=st.just("") | TEXTS | st.just("Plain words, and no more."),
    handset=st.builds(
        HandsetSpec, msisdn=st.none() | MSISDNS, telco=TELCO, label=st.none() | TEXTS.map(lambda it: it[:80])
    ),
    steps=st.lists(STEPS, max_size=5).map(lambda found: (FIRST, *found)),
    rules=st.lists(st.builds(Rule, when=whens(), doing=DOING), max_size=3).map(tuple),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCENARIOS)
def test_what_is_written_is_read_as_the_same_scenario(scenario: Scenario) -> None:
    source = write(scenario)
    assert scenario_of(source) == scenario
    assert all(each.isprintable() or each in "\n\u200c\u200d" for each in source)
    assert VALIDATOR.is_valid(yaml.load(source, yaml.BaseLoader))
