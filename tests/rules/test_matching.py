"""Which message fits which wish, and what is said of one that does not; SQLite's GLOB is the oracle for globs."""

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox.model import DeliveryState, Message, MessageState
from sandbox.rules.matching import (
    SEEN,
    Difference,
    Match,
    captured,
    check,
    differences,
    exactly,
    from_mapping,
    groups,
    nearest,
    to_mapping,
)
from sandbox.store import database, messages
from sandbox.store.database import Tx
from tests.samples import MO, MT


def texted(text: str, **changes: object) -> Message:
    return replace(MT, text=text, **changes)  # type: ignore[arg-type]


def fits(match: Match, message: Message) -> bool:
    return not differences(match, message)


# Fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "message"),
    [
        pytest.param(Match(), MT, id="nothing asked"),
        pytest.param(Match(from_="48974", to="2348020000000"), MT, id="MT comes from the shortcode"),
        pytest.param(Match(from_="2348020000000", to="48974"), MO, id="MO comes from the handset"),
        pytest.param(Match(direction="mo"), MO, id="direction"),
        pytest.param(Match(session_id="67543uhn3"), MT, id="session"),
        pytest.param(Match(state="arrived"), MT, id="state"),
        pytest.param(Match(segments=1, encoding="GSM-7"), MT, id="segments and encoding"),
        pytest.param(Match(text="*cinema?"), MT, id="glob"),
        pytest.param(Match(text="*CINEMA?", ignore_case=True), MT, id="glob without case"),
        pytest.param(Match(text="*Ọ̀ṣun*", ignore_case=True), texted("… ọ̀ṣun …"), id="glob without case beyond ASCII"),
        pytest.param(Match(pattern="last (time|year)"), MT, id="pattern is looked for"),
        pytest.param(Match(pattern="^when .* CINEMA", ignore_case=True), MT, id="pattern without case"),
        pytest.param(Match(text="*cinema*", pattern="(?i)WHEN"), MT, id="glob and pattern"),
        pytest.param(Match(text="one*two"), texted("one\ntwo"), id="a line break is a character like any other"),
        pytest.param(Match(text="one?two"), texted("one\ntwo"), id="also for a question mark"),
    ],
)
def test_a_message_fits(match: Match, message: Message) -> None:
    assert differences(match, message) == []


@pytest.mark.parametrize(
    ("match", "message", "expected"),
    [
        pytest.param(Match(to="48974"), MT, Difference("to", "48974", "2348020000000"), id="to of an MT"),
        pytest.param(Match(from_="48974"), MO, Difference("from", "48974", "2348020000000"), id="from of an MO"),
        pytest.param(Match(to="234802000000"), MT, Difference("to", "234802000000", "2348020000000"), id="a part"),
        pytest.param(Match(from_="8974"), MT, Difference("from", "8974", "48974"), id="a part of a shortcode"),
        pytest.param(Match(direction="mo"), MT, Difference("direction", "mo", "mt"), id="direction"),
        pytest.param(Match(session_id="x"), MT, Difference("session_id", "x", "67543uhn3"), id="session"),
        pytest.param(Match(state="delivered"), MO, Difference("state", "delivered", "unrouted"), id="state"),
        pytest.param(Match(segments=2), MT, Difference("segments", "2", "1"), id="segments"),
        pytest.param(Match(encoding="UCS-2"), MT, Difference("encoding", "UCS-2", "GSM-7"), id="encoding"),
        pytest.param(Match(text="yester"), MO, Difference("text", "yester", "Yesterday"), id="a glob is over all"),
        pytest.param(Match(text="yester*"), MO, Difference("text", "yester*", "Yesterday"), id="case"),
        pytest.param(Match(pattern="yester"), MO, Difference("pattern", "yester", "Yesterday"), id="pattern"),
        pytest.param(
            Match(text="a\x1b[2J"), texted("a\x00\u202e"), Difference("text", "a\x1b[2J", "a\x00\u202e"), id="raw"
        ),
    ],
)
def test_a_difference_says_what_was_wanted_and_what_was_found(
    match: Match, message: Message, expected: Difference
) -> None:
    assert differences(match, message) == [expected]


def test_all_differences_are_named_at_once() -> None:
    match = Match(from_="1", to="2", session_id="3", direction="mo", text="4", pattern="5", state="6", segments=7)
    assert [each.field for each in differences(match, MT)] == [
        "from", "to", "session_id", "direction", "state", "segments", "text", "pattern",
    ]  # fmt: skip


# Globs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store() -> Iterator[Tx]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript((Path(database.__file__).parent / "schema.sql").read_text(encoding="utf-8"))
    yield Tx(connection, itertools.count(1).__next__)
    connection.close()


def listed(store: Tx, glob: str, message: Message) -> bool:
    """Whether the list of messages finds a message by a glob."""
    store.execute("DELETE FROM messages")
    messages.insert_mo(store, message)
    return len(messages.page(store, account=message.account, text=glob)) == 1


@pytest.mark.parametrize(
    ("glob", "fitting", "other"),
    [
        pytest.param("", [""], ["a"], id="nothing"),
        pytest.param("*", ["", "a", "a\nb"], [], id="anything"),
        pytest.param("?", ["a", "\n", "₦", "👩"], ["", "ab"], id="one character"),
        pytest.param("*?*", ["a", "ab"], [""], id="at least one"),
        pytest.param("a*b*c", ["abc", "axbxc", "abcbc"], ["ab", "abcd", "xabc"], id="stars"),
        pytest.param("*ab", ["ab", "aab", "abab"], ["aba", "b"], id="the last fit counts"),
        pytest.param("[a-c]", ["a", "b", "c"], ["d", "-", "A", "ab", ""], id="range"),
        pytest.param("[^a-c]", ["d", "\n"], ["a", ""], id="all but a range"),
        pytest.param("[]]", ["]"], ["[", ""], id="a bracket in a set"),
        pytest.param("[^]a]", ["b"], ["]", "a"], id="all but a bracket"),
        pytest.param("[]-a]", ["]", "-", "a"], ["^", "_"], id="a bracket begins no range"),
        pytest.param("[a-]", ["a", "-"], ["b"], id="a hyphen at the end"),
        pytest.param("[-a]", ["a", "-"], ["b"], id="a hyphen at the start"),
        pytest.param("[--0]", ["-", ".", "/", "0"], ["a", ","], id="a range from a hyphen"),
        pytest.param("[a-c-e]", ["a", "b", "c", "-", "e"], ["d"], id="a hyphen after a range"),
        pytest.param("[z-a]", ["z"], ["a", "m", "-"], id="a range backwards"),
        pytest.param("[[]1] yes", ["[1] yes"], ["1 yes", "[ yes"], id="a bracket as a character"),
        pytest.param("[a", [], ["a", "[a", "[", ""], id="a set without end"),
        pytest.param("*[", [], ["[", "a["], id="a set without members"),
        pytest.param("[*?]", ["*", "?"], ["a"], id="stars in a set are characters"),
        pytest.param("a^$.|()+\\{}", ["a^$.|()+\\{}"], ["a"], id="characters of regular expressions"),
        pytest.param("[\\d]", ["\\", "d"], ["1"], id="no escapes in a set"),
        pytest.param("[[:alpha:]]", ["[]", ":]", "a]"], ["b", "b]"], id="no classes in a set"),
        pytest.param("Ọ[ọ-ụ]*", ["Ọọ", "Ọụ!"], ["ọọ"], id="beyond ASCII"),
        pytest.param("\ufffe", ["\ufffe", "\uffff", "\ufffd"], ["a"], id="noncharacters"),
    ],
)
def test_a_glob_means_in_a_wait_what_it_means_in_a_list(
    store: Tx, glob: str, fitting: list[str], other: list[str]
) -> None:
    found = [text for text in (*fitting, *other) if fits(Match(text=glob), texted(text))]
    assert found == fitting
    assert [text for text in (*fitting, *other) if listed(store, glob, replace(MO, text=text))] == fitting


FEW = st.text(st.sampled_from("aAb-]^[*?\n.₦\ufffd\ufffe\U0001f600"), max_size=12)
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=1000)
@given(glob=FEW | ANY, text=FEW | ANY)
@example(glob="[^", text="a")
@example(glob="[a-\ufffe]", text="\uffff")
def test_list_and_wait_agree_on_any_glob(store: Tx, glob: str, text: str) -> None:
    assert fits(Match(text=glob), texted(text)) is listed(store, glob, replace(MO, text=text))


@given(ANY, ANY)
def test_a_text_can_be_asked_for_exactly(text: str, other: str) -> None:
    glob = Match(text=exactly(text))
    assert fits(glob, texted(text))
    assert fits(glob, texted(other)) is (text == other)


@pytest.mark.parametrize("glob", ["*a" * 1000 + "b", "*" * 4000 + "b", "*[ab]" * 900 + "c", "?*" * 2000 + "b"])
@pytest.mark.parametrize("ignore_case", [False, True])
def test_no_glob_takes_long(glob: str, ignore_case: bool) -> None:
    """With a backtracking matcher these would not end."""
    assert not fits(Match(text=glob, ignore_case=ignore_case), texted("a" * 1600))


# Patterns ----------------------------------------------------------------------------------------------------------

TIMED_OUT = "nobody knows: the pattern takes longer than 50 ms; write it more simply"


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a|aa)+$", "(?:a{1,1000}){1,1000}c", "((a{1,100}){1,100}){1,100}c", "(?R)?a$"],
)
def test_a_catastrophic_pattern_ends_with_a_difference_that_says_so(pattern: str) -> None:
    message = texted("a" * (SEEN - 1) + "b")
    assert differences(Match(pattern=pattern), message) == [Difference("pattern", pattern, TIMED_OUT)]


def test_a_pattern_that_takes_too_long_on_many_texts_is_not_tried_any_more() -> None:
    match = Match(pattern="(?:a+)+$")
    message = texted("a" * (SEEN - 1) + "b")
    for _ in range(30):
        assert differences(match, message) == [Difference("pattern", "(?:a+)+$", TIMED_OUT)]
    assert not fits(match, texted("a")), "it would fit, had it not used up its time"


def test_a_pattern_sees_the_first_2048_characters() -> None:
    assert fits(Match(pattern="b"), texted("a" * 2047 + "b"))
    assert not fits(Match(pattern="b"), texted("a" * 2048 + "b"))


EXPLOSIVE = [
    "a{1000000}",
    "(((((((a{100}){100}){100}){100}){100}){100}){100})",
    "(?:a{0,9}b?){999999}",
    "(?:ab){1000000,}",
    "(?:ab?){1000}{1000}",
    "(a{1000})(?#comment){1000}",
    "(?x)(a{1000}) #)\n{1000}",
    "(?i-x)(?x:(a{1000}) {1000})",
    "(a{1000}){e<=1}{1000}",
    "(a){1}{1000000}",
    "(a){1000000}(?1){1000000}",
    "(?:a{10}+){1000000}",
    "\\p{L}{1000000}",
    "(\\\\p{1000}){1000}",
    "[)]{1000000}",
    "\\){1000000}",
]
LEGITIMATE = [
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12} [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}",
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}",
    r"(?:\d{4} ){3}\d{4}",
    r"(?:\d{1,3}\.){3}\d{1,3}",
    r"\p{L}{20}-\p{L}{20}",
    r"^.{161,}$",
    r"[\s\S]{1600}",
    r"(?:a?){100}",
    r"(?:a{0,1000}){0,1000}b",
]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_a_pattern_that_grows_when_it_is_compiled_is_refused(pattern: str) -> None:
    assert check(Match(pattern=pattern)) == [
        ("pattern", "pattern repeats too much. Use smaller counts, or none within a group that has one.")
    ]
    assert not fits(Match(pattern=pattern), MT)


@pytest.mark.parametrize("pattern", LEGITIMATE)
def test_a_pattern_that_people_write_is_accepted(pattern: str) -> None:
    assert check(Match(pattern=pattern)) == []


LIMITED = """
import resource
from sandbox.rules.matching import Match, check

resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20, 600 * 2**20))
parts = ["a", "(?>a)", "[ab]+", "(?:a|b*)", "a++", "(?=a)", "(?:a{e<=1})", r"\\X", r"\\p{L}"]
accepted = 0
for part in parts:
    for inner in (1, 2, 5, 10, 20, 50, 100, 500, 1000, 3000):
        for outer in (1, 2, 5, 10, 20, 50, 100, 1000):
            for form in ("(?:%s{%d}){%d}", "(?:(%s){%d}b?)+{%d}", "(%s{%d,}+){%d,}", "(?:%s{%d}){2}{%d}"):
                accepted += not check(Match(pattern=form % (part, inner, outer)))
print(accepted)
"""


def test_whatever_is_accepted_compiles_in_little_memory_and_time() -> None:
    pytest.importorskip("resource")
    ended = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 200


def test_the_catalogue_for_patterns_is_imported_with_the_first_pattern() -> None:
    script = (
        "import sys; from sandbox.rules.matching import *; "
        "nearest(Match(text='*'), []); check(Match(text='a*')); "
        "print('regex' in sys.modules); check(Match(pattern='a')); print('regex' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        pytest.param(Match(pattern=r"code (\d+)"), "your code 4711.", {"0": "code 4711", "1": "4711"}, id="by number"),
        pytest.param(
            Match(pattern=r"(?P<a>\d)(?P<b>x)?"), "7", {"0": "7", "1": "7", "2": "", "a": "7", "b": ""}, id="by name"
        ),
        pytest.param(Match(pattern="A(B)", ignore_case=True), "xab", {"0": "ab", "1": "b"}, id="without case"),
        pytest.param(Match(pattern="A"), "b", {}, id="what does not fit"),
        pytest.param(Match(text="*"), "all of it", {"0": "all of it"}, id="without a pattern"),
    ],
)
def test_groups_of_a_pattern_are_captured(match: Match, text: str, expected: Mapping[str, str]) -> None:
    assert captured(match, text) == expected
    assert groups(match) >= set(expected)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param(Match(pattern=r"(?P<code>\d)(a)?"), {"0", "1", "2", "code"}, id="all of a pattern"),
        pytest.param(Match(), {"0"}, id="without a pattern"),
        pytest.param(Match(pattern="("), set(), id="of no pattern"),
    ],
)
def test_it_is_known_before_which_groups_there_will_be(match: Match, expected: set[str]) -> None:
    assert groups(match) == expected


# Near misses -------------------------------------------------------------------------------------------------------


def test_fewest_differences_come_closest() -> None:
    near = texted("no", seq=1)
    far = texted("yes!", seq=2, session_id="other")
    match = Match(text="yes", session_id=MT.session_id)
    assert [miss.message for miss in nearest(match, [far, near])] == [near, far]
    assert nearest(match, [near])[0].differences == [Difference("text", "yes", "no")]


def test_of_equally_many_differences_the_most_alike_text_comes_closest() -> None:
    alike = texted("Thanks for taking part in this survey! We wish you a good day, and see you soon.", seq=1)
    others = [
        texted(text, seq=seq)
        for seq, text in enumerate(["no", "t.h.a.n.k. .y.o.u. .f.o.r", "When did you go?"], start=2)
    ]
    for match in (Match(text="*Thank you for taking part*"), Match(pattern="thank you for", ignore_case=True)):
        assert nearest(match, [*others, alike], 1)[0].message == alike


def test_of_equally_alike_texts_the_newest_comes_closest() -> None:
    found = [texted("no", seq=seq) for seq in (3, 9, 1, 7)]
    assert [miss.message.seq for miss in nearest(Match(text="yes"), found)] == [9, 7, 3]
    assert [miss.message.seq for miss in nearest(Match(to="1"), found, 2)] == [9, 7]


def test_what_fits_is_no_near_miss() -> None:
    assert nearest(Match(text="yes"), [texted("yes")]) == []


def test_near_misses_are_found_among_many_hostile_texts() -> None:
    found = [texted("ab" * 800, seq=seq) for seq in range(5000)]
    assert len(nearest(Match(text="aab" * 500), found)) == 3


# What people write -------------------------------------------------------------------------------------------------

VALID = {
    "from": "48974",
    "to": "2348020000000",
    "session_id": "67543uhn3",
    "direction": "mt",
    "text": "*cinema?*",
    "pattern": "(?i)cinema",
    "ignore_case": True,
    "state": "arrived",
    "segments": 1,
    "encoding": "GSM-7",
}


def test_every_field_is_read_by_its_name_on_the_wire() -> None:
    match = from_mapping(VALID)
    assert match == Match(**{name.replace("from", "from_"): value for name, value in VALID.items()})  # type: ignore[arg-type]
    assert isinstance(match, Match)
    assert fits(match, MT)
    assert to_mapping(match) == VALID


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, Match(), id="nothing"),
        pytest.param({"text": None, "to": None}, Match(), id="null asks nothing"),
        pytest.param({"to": "+2348020000000"}, Match(to="2348020000000"), id="plus"),
        pytest.param({"from": "002348020000000"}, Match(from_="2348020000000"), id="double zero"),
        pytest.param({"from": "48974"}, Match(from_="48974"), id="shortcode"),
        pytest.param({"segments": "2", "ignore_case": "true"}, Match(segments=2, ignore_case=True), id="texts"),
        pytest.param({"segments": 2.0, "ignore_case": "false"}, Match(segments=2), id="a whole float"),
    ],
)
def test_a_mapping_becomes_a_match(given: Mapping[str, object], expected: Match) -> None:
    assert from_mapping(given) == expected
    assert from_mapping(to_mapping(expected)) == expected


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        pytest.param({"txt": "a"}, "txt", 'There is no "txt" here. Did you mean text?', id="unknown key"),
        pytest.param({"from_": "a"}, "from_", "Did you mean from?", id="Python's spelling"),
        pytest.param({"\x1b": "a"}, "\\x1b", 'There is no "\\x1b"', id="hostile key"),
        pytest.param({"text": 5}, "text", "text is 5. Use 1 to 5000 characters.", id="a number for a text"),
        pytest.param({"to": ["1"]}, "to", "Use a string.", id="a list for a text"),
        pytest.param({"to": "+48974"}, "to", 'to is "+48974". Use an MSISDN or a shortcode', id="no number"),
        pytest.param({"to": "2348*"}, "to", "it is compared exactly.", id="a glob for a number"),
        pytest.param({"segments": True}, "segments", "Use a whole number from 1 to 1000.", id="true for a number"),
        pytest.param({"segments": "1.5"}, "segments", "Use a whole number", id="half a segment"),
        pytest.param({"segments": 0}, "segments", "segments is 0. Use a whole number from 1", id="no segment"),
        pytest.param({"segments": float("nan")}, "segments", "Use a whole number", id="NaN"),
        pytest.param({"segments": float("inf")}, "segments", "Use a whole number", id="infinity"),
        pytest.param({"ignore_case": "maybe"}, "ignore_case", "Use true or false.", id="maybe"),
        pytest.param({"ignore_case": 1}, "ignore_case", "Use true or false.", id="one for true"),
        pytest.param({"direction": "MT"}, "direction", 'direction is "MT". Use one of: mt, mo.', id="direction"),
        pytest.param({"state": "sent"}, "state", "Use one of: accepted, arrived,", id="state"),
        pytest.param({"encoding": "utf-8"}, "encoding", "Use one of: GSM-7, UCS-2.", id="encoding"),
        pytest.param({"text": ""}, "text", "text is empty. Use 1 to 5000 characters.", id="empty"),
        pytest.param({"text": "a\0"}, "text", "text holds the character NUL. Leave it out.", id="NUL"),
        pytest.param({"pattern": "\ud800"}, "pattern", "holds the unpaired surrogate \\ud800", id="surrogate"),
        pytest.param({"text": "a" * 5001}, "text", "text has 5001 characters. At most 5000", id="long glob"),
        pytest.param({"session_id": "a" * 256}, "session_id", "At most 255 are accepted.", id="long session"),
        pytest.param({"pattern": "a" * 201}, "pattern", "has 201 characters. At most 200 are accepted.", id="long"),
        pytest.param({"text": "[1 yes"}, "text", "no ] that ends it. Write [[] for the character itself.", id="set"),
        pytest.param({"pattern": "(a"}, "pattern", "is no regular expression: missing ) at position 2.", id="open"),
        pytest.param({"pattern": "(?<=a)\\L<x>"}, "pattern", "is no regular expression", id="a named list"),
        pytest.param({"pattern": "(" * 200}, "pattern", "is no regular expression", id="many brackets"),
    ],
)
def test_a_mistake_is_complained_about(given: Mapping[str, object], field: str, words: str) -> None:
    found = from_mapping(given)
    assert isinstance(found, list)
    [(about, error)] = found
    assert about == field
    assert words in error
    assert error.isprintable()


def test_all_mistakes_are_complained_about_at_once() -> None:
    found = from_mapping({"texts": "a", "to": "x", "segments": 0, "pattern": "(", "direction": "up"})
    assert isinstance(found, list)
    assert sorted(field for field, _ in found) == ["direction", "pattern", "segments", "texts", "to"]


def test_many_unknown_keys_are_complained_about_in_few_words() -> None:
    found = from_mapping({f"{number}" * 1000: "" for number in range(1000)})
    assert isinstance(found, list)
    assert len(found) == 20


def test_every_state_that_a_message_may_have_can_be_asked_for() -> None:
    assert [state for state in (*MessageState, *DeliveryState) if check(Match(state=state))] == []


def test_a_match_that_was_made_of_a_number_with_plus_is_complained_about() -> None:
    """It would fit no message: only `from_mapping` normalises."""
    assert [field for field, _ in check(Match(to="+2348020000000"))] == ["to"]


@given(
    st.dictionaries(st.sampled_from([*VALID, "x"]), st.none() | st.text() | st.integers() | st.floats() | st.booleans())
)
def test_nothing_that_is_given_makes_it_fail(given: Mapping[str, object]) -> None:
    found = from_mapping(given)
    if isinstance(found, Match):
        assert check(found) == []
        assert from_mapping(to_mapping(found)) == found
        differences(found, MT)
    else:
        assert all(error.isprintable() for _, error in found)


@given(pattern=st.text(st.sampled_from("ab1().*+?{},[]^$|\\<>=!:#PRx&e\n"), min_size=1, max_size=30), text=ANY)
def test_no_pattern_makes_it_fail(pattern: str, text: str) -> None:
    match = Match(pattern=pattern)
    errors = check(match)
    found = differences(match, texted(text))
    if errors:
        assert found
    elif not found:
        assert set(captured(match, text)) == groups(match)
