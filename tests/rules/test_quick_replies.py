"""What a text offers to answer: rules as a table, most of it what looks like an offer and is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.rules.quick_replies import LONGEST, MOST, Offer, lately, offered

LISTS = [
    ("Did you like it? 1. Yes 2. No", ["1 Yes", "2 No"]),
    ("Did you like it?\n1. Yes\n2. No\n3. I have not seen it", ["1 Yes", "2 No", "3 I have not seen it"]),
    ("1.Yes\n2.No", ["1 Yes", "2 No"]),
    ("Choose: 1) Yes, 2) No", ["1 Yes", "2 No"]),
    ("1=Yes 2=No", ["1 Yes", "2 No"]),
    ("Choose 1 - Yes 2 - No", ["1 Yes", "2 No"]),
    ("Did you like it? (1) Yes (2) No", ["1 Yes", "2 No"]),
    ("Where? A. Lagos B. Abuja C. Kano", ["A Lagos", "B Abuja", "C Kano"]),
    ("Top up? 1. ₦100 2. ₦200", ["1 ₦100", "2 ₦200"]),
    ("1. a 2. b 3. c 4. d 5. e 6. f 7. g", ["1 a", "2 b", "3 c", "4 d", "5 e"]),
]
WORDS = [
    ("Reply 1 for Yes, 2 for No", ["1 Yes", "2 No"]),
    ("Press 1 for English or 2 for Hausa.", ["1 English", "2 Hausa"]),
    ("Reply 1 for English", ["1 English"]),
    ("Reply YES to confirm or NO to decline", ["YES confirm", "NO decline"]),
    ("Thank you. Reply with STOP to opt out.", ["STOP opt out"]),
    ("Reply YES to buy. Reply NO to leave it.", ["YES buy", "NO leave it"]),
    ("Text CINEMA to 48974", ["CINEMA"]),
    ("Reply YES or NO", ["YES", "NO"]),
    ("Are you coming? (yes/no)", ["yes", "no"]),
    ("PLEASE ANSWER YES OR NO", ["YES", "NO"]),
    ("Y/N?", ["Y", "N"]),
    ("Which city? Reply LAGOS, ABUJA or KANO", ["LAGOS", "ABUJA", "KANO"]),
    ("Answer with A, B or C", ["A", "B", "C"]),
]
RANGES = [
    ("How many stars would you give it, from 1 to 5?", ["1", "2", "3", "4", "5"]),
    ("Rate us 1-5", ["1", "2", "3", "4", "5"]),
    ("On a scale of 0 to 4: how was it?", ["0", "1", "2", "3", "4"]),
    ("Please reply with a number between 1 and 3.", ["1", "2", "3"]),
    ("Reply 1 to 5", ["1", "2", "3", "4", "5"]),
]
NOTHING = [
    "",
    "When was the last time you went to the cinema?",
    "Which film did you see?",
    "Thank you! See you on 1. 2. 2025",
    "Version 1.2 and 2.0 are out",
    "Your bill is 1. Pay before 2. March",
    "1. There is no second one",
    "Was it 1. Yes 3. No",
    "1. " + "a long story " * 5 + "2. No",
    "Open from 1 to 5 pm",
    "Call from 1 to 5 o'clock",
    "It takes from 1 to 3 days",
    "Score 1 to 3 or 1 to 5",
    "Rate us from 1 to 10",
    "Rate us 5-1",
    "Your code is 1-5",
    "Send it between 1:00 and 1-5/7",
    "See https://example.org/rate/1-5",
    "Send 5 to Ada",
    "Text 1 to 48974",
    "MTN or GLO users get 10 % more",
    "He said yes or no, I forgot which.",
    "REPLY TODAY OR TOMORROW TO WIN",
    "reply or not, it is free",
    "1-bedroom or 2-bedroom?",
]


@pytest.mark.parametrize(("text", "wanted"), LISTS + WORDS + RANGES)
def test_the_options_that_a_text_lists_are_offered(text: str, wanted: list[str]) -> None:
    assert [f"{each.text} {each.meaning}".strip() for each in offered(text)] == wanted


@pytest.mark.parametrize("text", NOTHING)
def test_a_text_that_only_looks_like_a_list_offers_nothing(text: str) -> None:
    assert offered(text) == ()


@given(
    st.text(st.sampled_from("12ABab .,:)(-–=?\n₦\u202e\x00") | st.sampled_from("yesnor to for reply 1. "), max_size=600)
)
def test_whatever_a_text_says_an_offer_is_short_single_and_plain(text: str) -> None:
    found = offered(text)
    assert len(found) <= MOST
    assert len({each.text.casefold() for each in found}) == len(found)
    for each in found:
        assert each.text.isascii()
        assert each.text.isalnum()
        assert len(each.meaning) <= LONGEST


def test_what_was_said_lately_is_offered_once_and_only_if_it_fits_on_a_button() -> None:
    said = ["yes", "Things Fall Apart", "YES", "x" * 41, "two\nlines", "a\u202eb", " ", "1", "never"]
    assert lately(said, [Offer("1", "Yes")], 3) == [Offer("yes"), Offer("Things Fall Apart"), Offer("never")]
    assert lately(said, [], 1) == [Offer("yes")]
    assert lately(said, [], 0) == []
