"""What a scenario's file may say, and where and how mistakes in it are complained about: tables, a schema, and fuzz."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft202012Validator, meta

from sandbox.model import Drop, FaultEffect, FaultOn, HandsetState, Msisdn, MsisdnFormat, Shortcode
from sandbox.rules.matching import Match
from sandbox.scenario.catalogue import built_in
from sandbox.scenario.script import MAX_BYTES, SCHEMA, SourceError, read
from sandbox.scenario.steps import (
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

HERE = Path(__file__).parent
EXAMPLE = (HERE / "example.yaml").read_text(encoding="utf-8")  # the documented one
EVERYTHING = (HERE / "everything.yaml").read_text(encoding="utf-8")


def scenario_of(source: str) -> Scenario:
    found = read(source)
    assert isinstance(found, Scenario), [str(each) for each in found]
    return found


def errors(source: str) -> list[str]:
    found = read(source)
    assert not isinstance(found, Scenario)
    return [str(each).removeprefix("scenario.yaml:") for each in found]


def steps(*lines: str) -> str:
    """A file with these steps, which begin in column 5 of line 3."""
    return "scenario: x\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)


def with_step(text: str) -> str:
    """A file with this step at column 5 of line 4, after one that expects something."""
    return steps("expect: {save: {known: 0}}", text)


# Reading -----------------------------------------------------------------------------------------------------------


def test_the_documented_example_is_read() -> None:
    assert scenario_of(EXAMPLE) == Scenario(
        name="cinema-survey",
        description="Answers the survey, once late, once twice.",
        handset=HandsetSpec(telco="mtn"),
        steps=(
            Expect(when=When(match=Match(text="*cinema?*")), within_ms=5_000),
            Send(texts=("yesterday",), after_ms=2_000),
            Expect(when=When(match=Match(pattern="(?i)which film"), session=Session.SAME)),
            Send(texts=("Things Fall Apart",), after_ms=7_200_000, duplicates=1),
            MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503)),
            Expect(when=When(match=Match(text="*thank you*", segments=1))),
            ExpectNone(within_ms=1_000),
        ),
        rules=(Rule(when=When(match=Match(pattern="(?i)stop")), doing=(Send(texts=("STOP",)),)),),
    )


def test_everything_that_a_file_may_say_is_read() -> None:
    ada, short = Msisdn("2348020000000"), Shortcode("48974")
    saved = {"code": "code", "all": "0", "x": "2"}
    first = Match(
        text="[Yy]*",
        pattern="(?P<code>[0-9]+) (x)?",
        ignore_case=True,
        from_=short,
        segments=2,
        encoding="UCS-2",
    )
    none = Match(text="*", pattern="a", from_=short, segments=1000, encoding="GSM-7")
    fault_match = {"from": ada, "to": short, "session_id": "x", "text": "*", "pattern": "a", "segments": 1}
    assert scenario_of(EVERYTHING) == Scenario(
        name="every.thing_1-a",
        description="no",
        handset=HandsetSpec(msisdn=ada, telco="9mobile", label='Ada: "the first" 👩‍👩‍👧'),
        steps=(
            Send(
                texts=("CINEMA", "{{}}"),
                starts=True,
                to=Shortcode("0897"),
                after_ms=500,
                duplicates=5,
                reversed_order=True,
                msisdn_format=MsisdnFormat.PLUS,
                telco="glo",
                session_id="67543uhn3",
            ),
            Expect(
                when=When(match=first, session=Session.NEW, save=saved, required_state="start", new_state="waiting"),
                within_ms=86_400_000,
            ),
            Send(texts=("{code}",), msisdn_format=MsisdnFormat.PLAIN, session_id="another"),
            Expect(when=When(match=Match(session_id="67543uhn3"))),
            ExpectNone(within_ms=120_000, match=none),
            MakeFault(
                on=FaultOn.WEBHOOK,
                times=None,
                effect=FaultEffect(drop=Drop.ACCEPTED, delay_s=300),
                match=fault_match,
            ),
            MakeFault(on=FaultOn.SENDSMS, times=10_000, effect=FaultEffect(status=599, body="{}", delay_s=0.001)),
            MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(hold=True)),
            MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(drop=Drop.BODY)),
            MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(delay_s=1)),
            ChangeHandset(state=HandsetState.OFF),
            ChangeHandset(state=HandsetState.ON, telco="airtel"),
        ),
        rules=(
            Rule(when=When(match=Match()), doing=()),
            Rule(
                when=When(match=Match(), session=Session.SAME, required_state="waiting"),
                doing=(
                    MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=400)),
                    MakeFault(on=FaultOn.WEBHOOK, effect=FaultEffect(status=404)),
                    Send(texts=("{x} {all}",)),
                    ChangeHandset(telco="mtn"),
                    Send(texts=("A",), starts=True, to=Shortcode("123")),
                    Send(texts=("B",), starts=True, to=Shortcode("123")),
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    "text", ["no", "0802", "+234", "1e3", "~", "null", "1.50", "12:30", "2024-01-02", "0x1F", "=", "on"]
)
def test_every_scalar_is_text(text: str) -> None:
    step = scenario_of(steps(f"send: {{text: {text}, to: 48974}}")).steps[0]
    assert isinstance(step, Send)
    assert step.texts == (text,)


def test_a_byte_order_mark_and_dos_line_ends_do_no_harm() -> None:
    assert read("\ufeff" + EXAMPLE.replace("\n", "\r\n")) == read(EXAMPLE)
    assert errors("\ufeffscenario: X\r\nstep: []\r\n") == [
        '1:11: scenario is "X". Use 1 to 64 of a-z 0-9 _ . - with a letter or a digit first.',
        '2:1: There is no "step" in the file. Did you mean steps?',
    ]


def use(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read YAML with libyaml, or as where that is missing."""
    if not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")
    if parser == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader")


# Complaints --------------------------------------------------------------------------------------------------------


def test_six_mistakes_are_six_errors_at_their_positions() -> None:
    source = """\
scenario: cinema-survey
handset: {msisdn: 08020000000, telco: mtn}
steps:
  - expect: {text: "*cinema?*", wihtin: 5s}
  - reply: {text: "{name}, yesterday", after: 2 w}
  - expect:
      pattern: "([0-9"
rules:
  - reply: {text: STOP}
"""
    assert read(source, name="my.yaml") == tuple(
        SourceError(file="my.yaml", line=line, column=column, message=message)
        for line, column, message in (
            (
                2,
                19,
                'msisdn is "08020000000", a national number. Send the number with its country code and without the 0: '
                '"2348020000000", not "08020000000". Or use any.',
            ),
            (4, 33, 'There is no "wihtin" in expect. Did you mean within?'),
            (
                5,
                20,
                "Nothing before saves {name}. To save a group of a pattern, write save: {name: 1} into an expect or a "
                "when before.",
            ),
            (5, 47, 'after is "2 w". Use a time from 0s to 366d: 90, 1.5, 500ms, 5s, 2m, 1h30m or 1d.'),
            (
                7,
                16,
                "pattern is no regular expression: unterminated character set at position 5. Mend it, or use text.",
            ),
            (9, 5, 'rule has no when. Write it like this: - when: {pattern: "(?i)stop"}'),
        )
    )


def test_a_error_is_one_line_as_compilers_write_it() -> None:
    error = SourceError(file="a\x1b\nb.yaml", line=3, column=7, message="No.")
    assert str(error) == "a\\u001b\\u000ab.yaml:3:7: No."


MISTAKES = (
    ("nothing", "", "1:1: There is nothing in it."),
    ("a comment", "# only a comment\n", "1:1: There is nothing in it."),
    ("a word", "scenario\n", '1:1: The file is "scenario". Write it like this: scenario:'),
    ("a list", "- scenario: x\n", "1:1: The file is a list. Write it like this:"),
    ("no steps", "scenario: x\n", "1:1: The scenario has neither steps nor rules. Add some,"),
    ("empty steps", "scenario: x\nsteps: []\nrules: []\n", "1:1: The scenario has neither steps"),
    ("no name", "steps: [expect: {}]\n", "1:1: The file has no scenario."),
    ("map", "scenario: x\nsteps: {expect: {}}\n", "2:8: steps is a mapping, no list. Begin each"),
    ("no list", "scenario: x\nsteps:\n", "2:7: steps is empty, no list."),
    ("key twice", steps("expect: {text: x}\n    expect: {}"), "4:5: step has expect twice."),
    ("merge key", steps("<<: {expect: {}}"), "3:5: This would merge another mapping in."),
    ("list for a key", steps("? [a]\n    : b"), "3:7: A key of step is a list. Write one word"),
    ("empty step", steps("{}"), "3:5: A step says one thing. This one says nothing;"),
    ("two keys", steps("expect: {}\n    reply: {text: a}"), "4:5: A step says one thing. This one"),
    ("a word for a step", steps("expect"), '3:5: step is "expect". Write it like this:'),
    ("empty expect", steps("expect:"), "3:12: expect is empty. Write it like this: expect:"),
    ("reply", steps("reply: {text: a}"), "3:5: There is nothing to reply to yet. Put an expect"),
    ("anchor", steps("expect: {text: &a x}"), "3:20: This is an anchor. Leave it out; a text"),
    ("alias", steps("expect: {text: *a}"), "3:20: This is an alias. Write what it"),
    ("alias for a mapping", steps("expect: *a"), "3:13: This is an alias."),
    ("alias for a key", steps("expect: {*a : b}"), "3:14: This is an alias."),
    ("tag", steps("expect: {text: !!str x}"), "3:20: This is a tag. Leave it out;"),
    ("tag of a key", steps("!x expect: {}"), "3:5: This is a tag."),
    ("tag without a name", steps("expect: ! {}"), "3:13: This is a tag."),
    ("tags declared", "%TAG !e! tag:e,2000:\n---\n" + EXAMPLE, "1:1: This declares tags."),
    ("two documents", EXAMPLE + "---\n" + EXAMPLE, "15:1: A second document begins here."),
    ("list for a text", steps("expect: {text: [a, b]}"), "3:20: text is a list. Write one value;"),
    ("braces", with_step("reply: {text: {name}}"), "4:19: text is a mapping. Write one value;"),
    ("open brace", with_step("reply: {text: 'a {'}"), "4:22: A single { means nothing. Write {{"),
    ("brace outside", with_step("reply: {text: }}"), "4:20: This is no YAML"),
    ("closing brace", with_step("reply: {text: '}'}"), "4:20: A single } means nothing."),
    ("name", with_step("reply: {text: '{knwon}'}"), "4:20: Nothing before saves {knwon}. Did you mean known?"),
    ("escaped brace", with_step('reply: {text: "\\x7bno}"}'), "4:19: Nothing before saves {no}."),
    ("no text", with_step("reply: {text: []}"), "4:19: text is an empty list."),
    ("empty", with_step("reply: {text: ''}"), "4:19: text is empty. Use 1 to 10000 characters"),
    ("long", with_step(f"reply: {{text: {'a' * 10001}}}"), "4:19: text has 10001 characters. At most"),
    ("reply to", with_step("reply: {text: a, to: 1}"), '4:22: There is no "to" in reply. Use one of'),
    ("new", with_step("reply: {text: a, session: new}"), '4:31: session is "new". A text that'),
    ("order", with_step("reply: {text: a, order: reversed}"), "4:29: One text has no order."),
    ("six", with_step("reply: {text: a, duplicates: 6}"), "4:34: duplicates is 6. Use a whole"),
    ("mix", with_step("reply: {text: a, format: mixed}"), '4:30: format is "mixed". Use one of: plain'),
    ("telco", with_step("reply: {text: a, telco: MTN}"), '4:29: telco is "MTN". Use one of: mtn'),
    ("time", with_step("reply: {text: a, after: 367d}"), '4:29: after is "367d". Use a time from'),
    ("no text at all", with_step("reply: {after: 1s}"), "4:12: reply has no text. Write it like this"),
    ("nowhere to send", with_step("send: {text: a}"), "4:11: send has no to. Write it like this"),
    ("shortcode", with_step("send: {text: a, to: 12}"), '4:25: to is "12". Use a shortcode'),
    ("NUL", with_step('send: {text: "a\\0", to: 123}'), "4:18: text holds the character NUL."),
    ("no time", steps("expect: {within: 0s}"), '3:22: within is "0s". Use a time from 1ms'),
    ("empty time", steps("expect: {within: }"), "3:21: within is empty. Use a time from 1ms"),
    ("no segments", steps("expect: {segments: 0}"), "3:24: segments is 0. Use a whole number"),
    ("utf8", steps("expect: {encoding: utf8}"), '3:24: encoding is "utf8". Use one of: GSM-7'),
    ("from a handset", steps("expect: {from: '+2348020000000'}"), '3:20: from is "+23480'),
    ("glob", steps("expect: {text: '[a'}"), "3:20: text has a [ that begins a set,"),
    ("empty glob", steps("expect: {text: ''}"), "3:20: text is empty. Use 1 to"),
    ("pattern", steps(f"expect: {{pattern: {'a' * 201}}}"), "3:23: pattern has 201 characters."),
    ("explosive pattern", steps("expect: {pattern: 'a{9999}'}"), "3:23: pattern repeats too much."),
    ("yes", steps("expect: {ignore_case: yes}"), '3:27: ignore_case is "yes". Use true or false.'),
    ("empty session", steps("expect: {session: ''}"), "3:23: session is empty. Use 1 to 255"),
    ("no pattern", steps("expect: {save: {a: 1}}"), "3:24: Without a pattern there is only group 0"),
    ("group", steps("expect: {pattern: (a), save: {a: 2}}"), '3:38: The pattern has no group "2". It'),
    ("no name to save", steps("expect: {save: {1a: 0}}"), '3:21: "1a" is no name. Use letters'),
    ("save a list", steps("expect: {save: [a]}"), "3:20: save is a list. Write it like this: save:"),
    ("save twice", steps("expect: {save: {a: 0, a: 0}}"), "3:27: save has a twice."),
    ("state", steps("expect: {required_state: b}"), '3:30: No new_state leads to "b". There is: start'),
    ("no time for nothing", steps("expect_none: {text: a}"), "3:18: expect_none has no within."),
    ("save", steps("expect_none: {within: 1s, save: {}}"), '3:31: There is no "save" in expect_none.'),
    ("fault of what", steps("fault: {status: 503}"), "3:12: fault has no on. Write it like this"),
    ("no effect", steps("fault: {on: sendsms}"), "3:12: The fault has no effect. Send at least one"),
    ("success", steps("fault: {on: sendsms, status: 200}"), "3:34: status is 200. Use a whole"),
    ("never", steps("fault: {on: sendsms, times: 0, hold: true}"), "3:33: times is 0."),
    ("long delay", steps("fault: {on: sendsms, delay: 6m}"), '3:33: delay is "6m". Use a time from'),
    ("body", steps("fault: {on: sendsms, body: x, hold: true}"), "3:32: body is the body of a failure"),
    ("both", steps("fault: {on: sendsms, status: 400, drop: body}"), "3:45: status and drop exclude"),
    ("webhook", steps("fault: {on: webhook, drop: body}"), "3:32: The sandbox receives the answer"),
    ("hold", steps("fault: {on: sendsms, hold: false}"), '3:32: hold is "false". Use one of: true'),
    ("match", steps("fault: {on: webhook, hold: true, match: {to: a}}"), '3:50: to is "a". Use an'),
    ("typo", steps("fault: {on: webhook, stauts: 500}"), '3:26: There is no "stauts" in fault. Did you'),
    ("no change", steps("handset: {}"), "3:14: Nothing changes. Write state: on,"),
    ("broken", steps("handset: {state: broken}"), '3:22: state is "broken". Use one of: on, off.'),
    ("rule without when", "scenario: x\nrules:\n- {}\n", "3:3: rule has no when."),
    ("within", "scenario: x\nrules: [{when: {within: 1s}}]", '2:17: There is no "within" in when. Use'),
    ("no replies", "scenario: x\nrules: [{when: {}, reply: []}]", "2:27: reply is an empty list."),
    ("unsaved", "scenario: x\nrules: [{when: {}, reply: {text: '{a}'}}]", "2:35: Nothing before saves"),
    ("control", "scenario: x\x07\nsteps: []", "1:12: This is the character U+0007. Leave it out"),
    ("surrogate", "scenario: \ud800", "1:11: This is the character U+D800."),
    ("open bracket", "scenario: [", "1:12: This is no YAML:"),
    ("a star", "scenario: x\nsteps:\n  - expect: {text: *}\n", "3:21: This is no YAML:"),
    ("tab", "scenario: x\nsteps:\n\t- expect: {}\n", "3:1: This is no YAML:"),
    ("colon in a text", "description: Reply: yes\n", "1:19: This is no YAML:"),
    ("open quote", "description: 'x\n\nsteps: []\n", "4:1: This is no YAML:"),
    ("at sign", "description: @x\n", "1:14: This is no YAML:"),
    ("an escape beyond Unicode", 'description: "\\UFFFFFFFF"\n', "1:"),
)


@pytest.mark.parametrize("parser", ["libyaml", "Python"])
@pytest.mark.parametrize(("_what", "source", "expected"), MISTAKES, ids=[what for what, *_ in MISTAKES])
def test_a_mistake_is_complained_about_where_it_is(
    _what: str, source: str, expected: str, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(parser, monkeypatch)
    [found] = errors(source)
    assert found.startswith(expected)


def test_an_unknown_key_explains_what_is_missing_because_of_it() -> None:
    assert errors("scenrio: x\nsteps: [{send: {txt: a, too: 123}}]\n") == [
        '1:1: There is no "scenrio" in the file. Did you mean scenario?',
        '2:17: There is no "txt" in send. Did you mean text?',
        '2:25: There is no "too" in send. Did you mean to?',
    ]
    assert errors(steps("expcet: {}", "reply: {text: a}")) == [
        '3:5: There is no "expcet" in step. Did you mean expect?'
    ]


def test_what_a_rule_saves_is_known_in_that_rule_and_the_next() -> None:
    source = "scenario: x\nrules:\n- {reply: {text: '{a}'}, when: {save: {a: 0}}}\n- {when: {}, reply: {text: '{a}'}}\n"
    assert len(scenario_of(source).rules) == 2
    assert errors(steps("expect: {}", "reply: {text: '{a}'}", "expect: {save: {a: 0}}"))[0].startswith("4:20:")


def test_every_second_brace_in_a_row_is_found_where_it_stands() -> None:
    source = with_step('reply: {text: "{{a}} {known} {{{b}}}\\n{"}')
    assert [each.split(" ")[0] for each in errors(source)] == ["4:36:", "4:43:"]


# Limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", ["[", "{", "[{", "{a: ", "- ", "? ", "[{a: "])
@pytest.mark.parametrize("parser", ["libyaml", "Python"])
def test_depth_is_limited_and_overflows_no_stack(opening: str, parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(parser, monkeypatch)
    [found] = errors("\n" + opening * 100_000)
    assert found.startswith("2:")
    assert found.endswith(": This is nested deeper than 20 levels. No scenario needs that.")


@pytest.mark.parametrize("mistake", ["@", '"no end', "'no end", r'"\xZZ"', "&", "*", "!<foo", '"a\n---\n'])
@pytest.mark.parametrize("parser", ["libyaml", "Python"])
def test_a_mistake_that_was_seen_ahead_hides_no_depth_before_it(
    parser: str, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scanner reads on for the end of a key, for at most 1,024 characters, before it says what it has read."""
    use(parser, monkeypatch)
    assert errors("[" * 30 + mistake) == ["1:21: This is nested deeper than 20 levels. No scenario needs that."]
    [found] = errors("[" * 20 + mistake)
    assert "This is no YAML:" in found


@pytest.mark.parametrize("source", ["? : ]", "? : @", "? : -", "? : - a", "scenario: x\nsteps:\n  - ? : - a\n"])
@pytest.mark.parametrize("parser", ["libyaml", "Python"])
def test_what_comes_before_a_mistake_may_mean_something_else_without_it(
    parser: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(parser, monkeypatch)
    [found] = errors(source)
    assert "This is no YAML:" in found


def test_the_21st_level_is_one_too_many() -> None:
    assert errors("[" * 21 + "]" * 21) == ["1:21: This is nested deeper than 20 levels. No scenario needs that."]
    assert errors("[" * 20 + "]" * 20) == ["1:1: The file is a list. Write it like this: scenario: cinema-survey"]


def test_a_file_has_at_most_1_mebibyte() -> None:
    padding = MAX_BYTES - len(EXAMPLE.encode()) - 3
    assert read(f"{EXAMPLE}#{'₦' * (padding // 3)}{' ' * (padding % 3)}\n ") == read(EXAMPLE)
    assert errors(EXAMPLE + "#" + "x" * (padding + 1) + "\ny") == [
        f"16:1: Here the file has {MAX_BYTES} bytes. Leave out the rest, or make it two."
    ]


def test_a_file_has_at_most_1000_steps_and_rules() -> None:
    source = "scenario: x\nsteps:\n" + "- expect: {}\n" * 600 + "rules:\n" + "- when: {}\n" * 400
    assert len(scenario_of(source).steps) == 600
    assert errors(source + "- when: {}\n" * 5) == [
        "1004:3: These are more than 1000 steps and rules. Leave out what begins here."
    ]


@pytest.mark.parametrize("more", ["b", "b,''"])
def test_a_reply_has_at_most_100_texts(more: str) -> None:
    texts = ",".join(["a"] * 100)
    assert scenario_of(with_step(f"reply: {{text: [{texts}]}}"))
    assert errors(with_step(f"reply: {{text: [{texts},{more}]}}")) == [
        "4:220: text has more than 100 entries. Leave out what begins here."
    ]


def test_only_as_many_errors_as_anybody_reads() -> None:
    found = errors("scenario: x\nsteps:\n" + "- expect: {txt: a}\n" * 500)
    assert len(found) == 101
    assert found[99] == '102:12: There is no "txt" in expect. Did you mean text?'
    assert found[100] == "103:12: From here on there are 400 more errors. Mend those above first."


def test_the_parser_is_imported_with_the_first_file() -> None:
    code = (
        "import sys; from sandbox.scenario import script; print('yaml' in sys.modules, 'regex' in sys.modules); "
        "script.read('a'); print('yaml' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False", "True"]


# Schema ------------------------------------------------------------------------------------------------------------

VALIDATOR = Draft202012Validator(SCHEMA)
GOOD = {"example": EXAMPLE, "everything": EVERYTHING, **built_in()}

# What only `read` can tell: it is about other places of the file, or about what a text means.
BEYOND_A_SCHEMA = {
    "NUL", "anchor", "closing brace", "escaped brace", "explosive pattern", "glob", "group", "key twice",
    "long delay", "name", "no pattern", "open brace", "order", "reply", "save twice", "state", "tag",
    "tag of a key", "tag without a name", "tags declared", "time", "unsaved",
}  # fmt: skip


class Core(yaml.SafeLoader):
    """YAML as editors read it, with numbers and truth values (YAML 1.2, core schema), and not as mere text."""


Core.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("int", "float", "null")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Core.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def test_the_schema_is_one() -> None:
    assert meta.is_valid(SCHEMA)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("loader", [yaml.BaseLoader, Core])
def test_the_schema_accepts_what_is_read(name: str, loader: Any) -> None:
    assert isinstance(read(GOOD[name]), Scenario)
    VALIDATOR.validate(yaml.load(GOOD[name], loader))


@pytest.mark.parametrize(("what", "source", "_expected"), MISTAKES, ids=[what for what, *_ in MISTAKES])
def test_the_schema_refuses_what_is_complained_about(what: str, source: str, _expected: str) -> None:
    try:
        document = yaml.load(source, yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, OverflowError):
        return  # no schema gets to see it
    assert VALIDATOR.is_valid(document) is (what in BEYOND_A_SCHEMA)
