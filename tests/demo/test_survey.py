"""The sample application's rules: three questions in one session, and a duplicate is answered once."""

from sandbox.demo.survey import AGAIN, INVITATION, QUESTIONS, STOPPED, Survey


def conversation(*texts: str) -> list[str | None]:
    survey = Survey()
    return [survey.answer("2348020000000", text, "s1", str(number)) for number, text in enumerate(texts)]


def test_three_questions_and_thanks() -> None:
    *questions, thanks = conversation("cinema", "yesterday", "Things Fall Apart", "5")
    assert tuple(questions) == QUESTIONS
    assert thanks is not None
    assert "yesterday / Things Fall Apart / 5" in thanks


def test_an_answer_that_is_no_number_is_asked_for_again() -> None:
    assert conversation("CINEMA", "x", "y", "great", "4")[3] == AGAIN


def test_stop_ends_the_survey() -> None:
    assert conversation("CINEMA", "Stop", "yesterday")[1:] == [STOPPED, INVITATION]


def test_the_same_reply_delivered_twice_is_answered_once() -> None:
    survey = Survey()
    reply = ("2348020000000", "CINEMA", "s1", "2024-01-02T23:50:37.000000Z")
    assert survey.answer(*reply) == QUESTIONS[0]
    assert survey.answer(*reply) is None
