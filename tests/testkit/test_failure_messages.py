"""Words of a failure that are made of values alone: their order, their limits, and nothing invisible."""

from sandbox.objects.derive import from_json
from sandbox.objects.messages import Difference, Message, NearMiss, Request
from sandbox.objects.scenarios import Finding, Miss
from sandbox.testkit import failure_messages
from sandbox.testkit.failure_messages import SHOWN, Situation

QUIET = Situation(url="http://127.0.0.1:2081", called=True)


def message(text: str, number: int = 1) -> Message:
    made = {"id": f"m{number}", "seq": number, "direction": "mt", "from": "48974", "to": "2348020000000"}
    return from_json(Message, {**made, "text": text, "session_id": "s1", "state": "arrived"})


def near(text: str, number: int = 1) -> NearMiss:
    return NearMiss(
        message=message(text, number), differences=(Difference(field="text", wanted="*cinema?*", found=text),)
    )


def refusal(body: str, problem: str = "to is wrong.") -> Request:
    problems = [{"field": "to", "code": "msisdn_malformed", "message": problem, "hint": "Send digits."}]
    made = {"id": "r1", "seq": 1, "status_code": 400, "method": "POST", "path": "/ng/v1/sendsms"}
    return from_json(Request, {**made, "body": body, "problems": problems})


def test_what_was_wanted_comes_first_and_what_came_nearest_next() -> None:
    said = failure_messages.unmet(
        "No message came", match={"text": "*cinema?*"}, near=[near("Which film?")], scene=QUIET
    )
    assert said == (
        "No message came, with:\n"
        "    text         '*cinema?*'\n"
        "\n"
        "Nearest to it:\n"
        "    m1    48974 → 2348020000000  session s1  arrived  'Which film?'\n"
        "      text       wanted  '*cinema?*'\n"
        "                 found   'Which film?'"
    )


def test_without_filters_the_headline_is_a_sentence() -> None:
    assert failure_messages.unmet("No message came", match={}, scene=QUIET) == "No message came."


def test_an_application_that_has_not_called_is_told_where_to() -> None:
    scene = Situation(url="http://127.0.0.1:2081", called=False)
    assert "POST http://127.0.0.1:2081/ng/v1/sendsms" in failure_messages.unmet(
        "No message came", match={}, scene=scene
    )
    refused = Situation(url="http://127.0.0.1:2081", called=False, unowned=[refusal("{}")])
    assert "has not called" not in failure_messages.unmet("No message came", match={}, scene=refused)


def test_refusals_name_call_problem_and_hint() -> None:
    said = failure_messages.refusals(Situation(url="", called=True, refused=[refusal('{"to": "x"}')]))
    assert said == (
        'The gateway refused:\n    r1    400  POST /ng/v1/sendsms  \'{"to": "x"}\'\n      to is wrong. Send digits.'
    )
    assert failure_messages.refusals(QUIET) == ""


def test_nothing_is_invisible() -> None:
    hostile = "a\x1b[31m\u202eb\r\n\x00\ud800"
    finding = Finding(code="c", message=hostile, hint="", at="", message_ids=("m1",), webhook_delivery_id=None)
    miss = Miss(message_id="m1", about=hostile, differences=near(hostile).differences)
    scene = Situation(url="", called=True, refused=[refusal(hostile, hostile)], transcript=hostile)
    said = [
        failure_messages.unmet(
            "x", match={"text": hostile}, fits=[message(hostile)], near=[near(hostile)], scene=scene
        ),
        failure_messages.findings([finding]),
        failure_messages.misses([miss]),
    ]
    assert all(each.isprintable() or each == "\n" for each in "".join(said))


def test_a_long_text_is_cut_in_the_middle_and_a_long_list_at_its_end() -> None:
    said = failure_messages.near_misses([near("x" * 5000 + "the end", number) for number in range(100)])
    assert said.count("arrived") == SHOWN
    assert "the end" in said
    assert max(map(len, said.splitlines())) < 500


def test_the_same_near_miss_is_named_once() -> None:
    assert failure_messages.near_misses([near("a"), near("a")]).count("arrived") == 1
