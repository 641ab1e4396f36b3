"""Tables of texts with their cost, and smsutil as an independent oracle. Nothing about the gateway's own limits."""

import pytest
import smsutil
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox.model import Encoding
from sandbox.wire.text import Measure, forcing, measure

EMOJI = "😀"  # U+1F600, a surrogate pair in UTF-16


def gsm7(*, segments: int, units: int, left: int) -> Measure:
    capacity = 160 if segments == 1 else 153
    return Measure(encoding=Encoding.GSM7, segments=segments, units=units, units_left=left, segment_units=capacity)


def ucs2(*, segments: int, units: int, left: int) -> Measure:
    capacity = 70 if segments == 1 else 67
    return Measure(encoding=Encoding.UCS2, segments=segments, units=units, units_left=left, segment_units=capacity)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", gsm7(segments=1, units=0, left=160), id="empty text is one segment of no units"),
        pytest.param("a", gsm7(segments=1, units=1, left=159), id="a letter is one septet"),
        pytest.param("€", gsm7(segments=1, units=2, left=158), id="the euro sign is two septets"),
        pytest.param("\f^{}\\[~]|€", gsm7(segments=1, units=20, left=140), id="each extension character is two"),
        pytest.param("@_\r\n Çé¿Ω¤", gsm7(segments=1, units=10, left=150), id="the unusual basic characters are one"),
        pytest.param("a" * 160, gsm7(segments=1, units=160, left=0), id="160 septets fit one segment"),
        pytest.param("a" * 161, gsm7(segments=2, units=161, left=145), id="161 septets need two"),
        pytest.param("a" * 306, gsm7(segments=2, units=306, left=0), id="twice 153 fit two segments"),
        pytest.param("a" * 307, gsm7(segments=3, units=307, left=152), id="one more needs three"),
        pytest.param("€" * 80, gsm7(segments=1, units=160, left=0), id="80 euro signs fit one segment"),
        pytest.param("€" * 81, gsm7(segments=2, units=162, left=143), id="81 euro signs waste the 153rd septet"),
    ],
)
def test_gsm7_text_is_counted_in_septets(text: str, expected: Measure) -> None:
    assert measure(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("₦", ucs2(segments=1, units=1, left=69), id="the naira sign is one unit"),
        pytest.param(EMOJI, ucs2(segments=1, units=2, left=68), id="an emoji is two units"),
        pytest.param("₦€{", ucs2(segments=1, units=3, left=67), id="extension characters are one unit here"),
        pytest.param("₦" + "a" * 69, ucs2(segments=1, units=70, left=0), id="70 units fit one segment"),
        pytest.param("₦" + "a" * 70, ucs2(segments=2, units=71, left=63), id="71 units need two"),
        pytest.param("₦" * 134, ucs2(segments=2, units=134, left=0), id="twice 67 fit two segments"),
        pytest.param("₦" * 135, ucs2(segments=3, units=135, left=66), id="one more needs three"),
        pytest.param(EMOJI * 35, ucs2(segments=1, units=70, left=0), id="35 emoji fit one segment"),
        pytest.param(EMOJI * 36, ucs2(segments=2, units=72, left=61), id="36 emoji waste the 67th unit"),
        pytest.param("\x1b", ucs2(segments=1, units=1, left=69), id="a bare escape is no GSM-7 character"),
        pytest.param("\ud800", ucs2(segments=1, units=1, left=69), id="a lone surrogate is one unit"),
    ],
)
def test_ucs2_text_is_counted_in_utf16_units(text: str, expected: Measure) -> None:
    assert measure(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a" * 151 + "€" + "a" * 153, gsm7(segments=2, units=306, left=0), id="pair ends at 153"),
        pytest.param("a" * 152 + "€" + "a" * 152, gsm7(segments=3, units=306, left=152), id="pair would straddle 153"),
        pytest.param("a" * 153 + "€" + "a" * 151, gsm7(segments=2, units=306, left=0), id="pair begins after 153"),
        pytest.param(
            # The first cut falls at 152, so the second segment ends at 305: the pair there moves on, too.
            "a" * 152 + "€" + "a" * 150 + "€" + "a" * 152,
            gsm7(segments=4, units=458, left=152),
            id="a cut moves the next one",
        ),
    ],
)
def test_an_escape_pair_is_not_split_over_two_segments(text: str, expected: Measure) -> None:
    assert measure(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a" * 65 + EMOJI + "a" * 67, ucs2(segments=2, units=134, left=0), id="pair ends at 67"),
        pytest.param("a" * 66 + EMOJI + "a" * 66, ucs2(segments=3, units=134, left=66), id="pair would straddle 67"),
        pytest.param("a" * 67 + EMOJI + "a" * 65, ucs2(segments=2, units=134, left=0), id="pair begins after 67"),
        # U+1F1F3 U+1F1EC, the flag of Nigeria: two pairs. Only each pair is kept whole, not what is drawn as one.
        pytest.param("a" * 65 + "🇳🇬" + "a" * 65, ucs2(segments=2, units=134, left=0), id="a flag may be split"),
    ],
)
def test_a_surrogate_pair_is_not_split_over_two_segments(text: str, expected: Measure) -> None:
    assert measure(text) == expected


def test_a_naira_sign_cuts_the_segment_from_160_to_70() -> None:
    assert measure("N5,000 was paid").segment_units == 160
    assert measure("₦5,000 was paid").segment_units == 70


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", (), id="nothing in an empty text"),
        pytest.param("Abc 123 @£¥ {€}", (), id="nothing that is in the two tables"),
        pytest.param("Pay ₦500 or ₦600", ((4, "₦"), (12, "₦")), id="each occurrence"),
        pytest.param("it’s `ç`", ((2, "’"), (5, "`"), (6, "ç"), (7, "`")), id="curly quote, backtick, small cedilla"),
        pytest.param(f"{EMOJI}ẹ", ((0, EMOJI), (1, "ẹ")), id="positions are characters, not units"),
        pytest.param("\t\x1b\0", ((0, "\t"), (1, "\x1b"), (2, "\0")), id="control characters"),
    ],
)
def test_forcing_names_each_character_that_gsm7_cannot_carry(text: str, expected: tuple[tuple[int, str], ...]) -> None:
    assert forcing(text) == expected
    assert (measure(text).encoding is Encoding.UCS2) == bool(expected)


# smsutil packs character by character and keeps both kinds of pair together, like the standard. It deviates twice, and
# only there the comparison stops: it takes U+001B, the escape itself, for a character of GSM-7, and calls an empty text
# UCS-2.
ENCODINGS = {"gsm0338": (Encoding.GSM7, 160, 153, 1), "utf_16_be": (Encoding.UCS2, 70, 67, 2)}


def by_smsutil(text: str) -> Measure:
    split = smsutil.split(text)
    encoding, single, part, octets = ENCODINGS[split.encoding]
    capacity = single if len(split.parts) == 1 else part
    return Measure(
        encoding=encoding,
        segments=len(split.parts),
        units=split.total_bytes // octets,
        units_left=capacity - split.parts[-1].bytes // octets,
        segment_units=capacity,
    )


any_text = st.text(st.characters(exclude_characters="\x1b"), min_size=1, max_size=400)


def runs_of(alphabet: str) -> st.SearchStrategy[str]:
    """Runs, because texts that are long enough to be cut are rare among those made letter by letter."""
    run = st.builds(lambda char, times: char * times, st.sampled_from(alphabet), st.integers(1, 160))
    return st.lists(run, min_size=1, max_size=8).map("".join)


def test_the_tables_agree_with_smsutil_on_every_character() -> None:
    characters = [chr(code) for code in range(0x11000) if code != 0x1B]
    assert [character for character in characters if measure(character) != by_smsutil(character)] == []


@settings(derandomize=True, deadline=None, max_examples=300)
@given(runs_of("aé\n€{~"))
@example("a" * 152 + "€" * 200)
def test_gsm7_text_is_measured_as_smsutil_does(text: str) -> None:
    assert measure(text) == by_smsutil(text)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(runs_of("a€₦ẹ😀🇳"))
@example("a" * 66 + EMOJI * 200)
def test_mixed_text_is_measured_as_smsutil_does(text: str) -> None:
    assert measure(text) == by_smsutil(text)


@settings(derandomize=True, deadline=None)
@given(any_text)
def test_any_text_is_measured_as_smsutil_does(text: str) -> None:
    assert measure(text) == by_smsutil(text)


@settings(derandomize=True, deadline=None)
@given(st.text(st.characters(categories=["L", "P", "S", "Cs", "Cc"]), max_size=200))
def test_a_text_without_its_forcing_characters_is_gsm7(text: str) -> None:
    forced = {position for position, _ in forcing(text)}
    assert all(text[position] == character for position, character in forcing(text))
    rest = "".join(character for position, character in enumerate(text) if position not in forced)
    assert measure(rest).encoding is Encoding.GSM7
