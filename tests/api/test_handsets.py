"""Handsets over real HTTP: as they stand, and what they say."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.asking import (
    NUMBER,
    advance,
    in_background,
    invalid,
    later,
    problem,
    walk,
)

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver


# Handsets -----------------------------------------------------------------------------------------------------------


def test_a_handset_that_nobody_touched_is_on_and_has_the_telco_of_its_range(bench: "Bench") -> None:
    assert bench.get("/handsets/2348030000001") == {
        "id": "2348030000001",
        "account": bench.account,
        "msisdn": "2348030000001",
        "label": "",
        "telco": "mtn",
        "state": "on",
    }


@pytest.mark.parametrize("number", ["+2348030000001", "002348030000001"])
def test_a_handsets_number_may_be_written_in_every_accepted_form(bench: "Bench", number: str) -> None:
    assert bench.get(f"/handsets/{number}")["id"] == "2348030000001"


def test_a_handset_keeps_what_a_patch_does_not_name(bench: "Bench") -> None:
    path = f"/handsets/{NUMBER}"
    assert bench.call("PATCH", path, {"label": "Ada", "telco": "glo", "state": "off"}).status_code == 200
    for changes in ({"label": "Ada O."}, {"telco": "9mobile"}, {"state": "on"}, {"label": ""}, {}):
        before = bench.get(path)
        answered = bench.call("PATCH", path, changes)
        assert answered.json() == bench.get(path) == {**before, **changes}


def test_wrong_changes_of_a_handset_are_named_all_at_once_and_change_nothing(bench: "Bench") -> None:
    path = f"/handsets/{NUMBER}"
    before = bench.get(path)
    wrong = {"label": "x" * 81, "telco": "vodafone", "state": "asleep", "colour": "red"}
    assert invalid(bench.call("PATCH", path, wrong)) == list(wrong)
    assert bench.get(path) == before


@pytest.mark.parametrize("value", [5, True, ["x"], {"x": 1}, "\ud800", "\0"])
def test_a_label_is_a_text(bench: "Bench", value: object) -> None:
    assert invalid(bench.call("PATCH", f"/handsets/{NUMBER}", {"label": value})) == ["label"]


def test_handsets_are_listed_by_number_page_by_page(bench: "Bench") -> None:
    numbers = [f"23480300000{n:02}" for n in range(5)]
    for number in numbers[::-1]:
        bench.sent(to=number)
    bench.call("PATCH", "/handsets/2349000000000", {"label": "never texted"})
    for limit in (1, 2, 6, 50):
        assert walk(bench, "/handsets", "handsets", limit=limit) == [*numbers, "2349000000000"]


@pytest.mark.parametrize(
    ("number", "told"), [("08020000000", "national"), ("cinema", "not a phone number"), ("+123456", "6 digits")]
)
def test_a_handsets_number_that_is_none_is_told_why(bench: "Bench", number: str, told: str) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/reply"), ("POST", "/send")):
        response = bench.call(method, f"/handsets/{number}{path}")
        assert invalid(response) == ["msisdn"]
        assert told in response.json()["errors"][0]["message"]


# Reply and send -----------------------------------------------------------------------------------------------------


def test_a_reply_carries_shortcode_and_session_of_the_last_message(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent(session_id="first", from_="48974")
    routed.sent(session_id="second", from_="48975")
    done = routed.post(f"/handsets/{NUMBER}/reply", {"text": "yesterday ₦"})
    message = done["message"]
    assert (message["direction"], message["from"], message["to"]) == ("mo", NUMBER, "48975")
    assert (message["session_id"], message["text"], message["state"]) == ("second", "yesterday ₦", "delivered")
    (posted,) = receiver.received
    assert json.loads(posted.body) == {
        "type": "two-way sms",
        "telco": "airtel",
        "from": NUMBER,
        "to": "48975",
        "message": "yesterday ₦",
        "session_id": "second",
        "sent_date": message["sent_date"],
    }


def test_a_webhook_goes_out_as_documented(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent()
    done = routed.post(f"/handsets/{NUMBER}/reply", {"text": "yesterday"})
    (posted,) = receiver.received
    assert (posted.method, posted.path) == ("POST", "/sms")
    assert posted.header("Authorization") == f"Bearer {routed.token}"
    assert posted.header("Content-Type") == "application/json"
    assert posted.body == done["webhook_delivery"]["body"].encode()
    assert done["webhook_delivery"]["id"] == done["message"]["webhook_delivery_id"]


def test_a_reply_to_another_shortcode_carries_the_session_of_that_conversation(routed: "Bench") -> None:
    routed.sent(session_id="first", from_="48974")
    routed.sent(session_id="second", from_="48975")
    message = routed.post(f"/handsets/{NUMBER}/reply", {"text": "1", "to": "48974"})["message"]
    assert (message["to"], message["session_id"]) == ("48974", "first")


def test_a_reply_may_name_its_session(routed: "Bench") -> None:
    routed.sent(session_id="first")
    message = routed.post(f"/handsets/{NUMBER}/reply", {"text": "1", "session_id": "mine"})["message"]
    assert message["session_id"] == "mine"


def test_a_reply_to_a_shortcode_that_never_texted_starts_a_session(routed: "Bench") -> None:
    message = routed.post(f"/handsets/{NUMBER}/reply", {"text": "CINEMA", "to": "48974"})["message"]
    assert message["session_id"]


def test_a_reply_when_nobody_has_texted_is_answered_409(routed: "Bench") -> None:
    told = problem(routed.call("POST", f"/handsets/{NUMBER}/reply", {"text": "1"}), 409)
    assert "nothing to reply to" in told["detail"]


def test_what_a_handset_sends_itself_starts_a_session_each_time(routed: "Bench") -> None:
    routed.sent(session_id="first")
    sessions = [
        routed.post(f"/handsets/{NUMBER}/send", {"text": "CINEMA", "to": "48974"})["message"]["session_id"]
        for _ in range(3)
    ]
    assert len({*sessions, "first"}) == 4


def test_a_text_that_a_handset_starts_does_not_change_the_session_of_the_next_reply(routed: "Bench") -> None:
    routed.sent(session_id="first")
    routed.post(f"/handsets/{NUMBER}/send", {"text": "CINEMA", "to": "48974"})
    assert routed.post(f"/handsets/{NUMBER}/reply", {"text": "1"})["message"]["session_id"] == "first"


def test_a_text_without_a_client_url_is_kept_and_goes_nowhere(bench: "Bench") -> None:
    done = bench.post(f"/handsets/{NUMBER}/send", {"text": "CINEMA", "to": "48974"})
    assert done["message"]["state"] == "unrouted"
    assert done["message"]["webhook_delivery_id"] is None
    assert done["webhook_delivery"] is None


def test_a_handset_that_is_off_sends_nothing(routed: "Bench", receiver: "Receiver") -> None:
    routed.call("PATCH", f"/handsets/{NUMBER}", {"state": "off"})
    problem(routed.call("POST", f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"}), 409)
    assert routed.get("/messages")["messages"] == receiver.received == []


def test_a_text_to_a_shortcode_of_somebody_else_is_refused(routed: "Bench") -> None:
    routed.patch_account(shortcodes=["48974"])
    response = routed.call("POST", f"/handsets/{NUMBER}/send", {"text": "1", "to": "48975"})
    assert invalid(response) == ["to"]
    assert "48974" in response.json()["detail"]


def test_wrong_arguments_of_a_text_are_named_all_at_once(routed: "Bench") -> None:
    wrong = {"text": "", "to": "cinema", "session_id": 5, "delay_s": -1, "wait": "long", "form": "sms"}
    for verb in ("reply", "send"):
        assert invalid(routed.call("POST", f"/handsets/{NUMBER}/{verb}", wrong)) == list(wrong)
    assert routed.get("/messages")["messages"] == []


def test_a_text_needs_text_and_what_a_handset_starts_needs_a_shortcode(routed: "Bench") -> None:
    assert invalid(routed.call("POST", f"/handsets/{NUMBER}/reply", {})) == ["text"]
    assert invalid(routed.call("POST", f"/handsets/{NUMBER}/send", {})) == ["text", "to"]


@pytest.mark.parametrize("text", [5, None, True, ["x"], "x" * 1601, "\0", "\ud800"])
def test_a_text_has_to_be_one_that_can_be_sent(routed: "Bench", text: object) -> None:
    assert invalid(routed.call("POST", f"/handsets/{NUMBER}/send", {"text": text, "to": "48974"})) == ["text"]


@pytest.mark.parametrize("text", ["x" * 1600, " ", "one\ntwo", "😀", "\x1b[2J", "\u2028"])
def test_any_text_that_can_be_sent_reaches_the_application(routed: "Bench", receiver: "Receiver", text: str) -> None:
    routed.post(f"/handsets/{NUMBER}/send", {"text": text, "to": "48974"})
    assert json.loads(receiver.received[0].body)["message"] == text


@pytest.mark.parametrize("wait", [-1, 301, "x", [1], {"s": 1}, float(10**15)])
def test_a_wait_is_yes_no_or_seconds(routed: "Bench", wait: object) -> None:
    body = {"text": "1", "to": "48974", "wait": wait}
    assert invalid(routed.call("POST", f"/handsets/{NUMBER}/send", body)) == ["wait"]


@pytest.mark.parametrize("wait", [False, 0, 0.01])
def test_a_reply_need_not_wait_for_the_application(routed: "Bench", receiver: "Receiver", wait: object) -> None:
    receiver.hold()
    done = routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "wait": wait})
    assert done["webhook_delivery"]["state"] in ("pending", "in_flight")


@pytest.mark.parametrize("wait", [None, True, 30])
def test_a_reply_waits_for_the_first_attempt_whatever_comes_of_it(
    routed: "Bench", receiver: "Receiver", wait: object
) -> None:
    receiver.answer_with(500)
    done = routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "wait": wait})
    assert done["webhook_delivery"]["state"] == "retrying"
    assert len(done["webhook_delivery"]["attempts"]) == 1


def test_a_reset_elsewhere_does_not_cut_a_wait_short(routed: "Bench", receiver: "Receiver") -> None:
    receiver.hold()
    answered: list[Any] = []
    other = {"name": "bystander", "token": "token-of-a-bystander"}
    routed.sandbox.request("POST", "/_sandbox/v1/accounts", json=other)

    def reset_then_release() -> None:
        receiver.wait_for(1)
        for method, path in (("POST", "/reset?account=bystander"), ("DELETE", "/accounts/bystander")):
            answered.append(routed.sandbox.request(method, f"/_sandbox/v1{path}", json={}).status_code)
        receiver.release()

    with in_background(reset_then_release):
        done = routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"})
    assert answered == [200, 204]
    assert done["webhook_delivery"]["state"] == "delivered"


def test_a_wait_ends_when_its_own_account_is_reset(routed: "Bench", receiver: "Receiver") -> None:
    receiver.hold()

    def reset() -> None:
        receiver.wait_for(1)
        routed.call("POST", "/reset")

    with in_background(reset):
        response = routed.call("POST", f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "wait": 300})
    assert response.status_code == 201


def test_a_wait_ends_when_its_own_account_is_removed(routed: "Bench", receiver: "Receiver") -> None:
    receiver.hold()

    def remove() -> None:
        receiver.wait_for(1)
        routed.call("DELETE", f"/accounts/{routed.account}")

    with in_background(remove):
        response = routed.call("POST", f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "wait": 300})
    assert response.status_code == 201


def test_the_later_revision_adds_the_ref_id_of_the_last_message(routed: "Bench", receiver: "Receiver") -> None:
    routed.patch_account(revision="2025")
    routed.sent(ref_id="873ghf")
    routed.post(f"/handsets/{NUMBER}/reply", {"text": "1"})
    assert receiver.received[0].body.endswith(b', "ref_id": "873ghf"}')


def test_mixed_numbers_alternate_in_a_conversation(routed: "Bench", receiver: "Receiver") -> None:
    routed.patch_account(msisdn_format="mixed")
    for _ in range(4):
        routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"})
    assert [json.loads(each.body)["from"] for each in receiver.received] == [NUMBER, f"+{NUMBER}"] * 2


def test_a_webhook_may_carry_user_name_and_password_of_its_url(routed: "Bench", receiver: "Receiver") -> None:
    routed.patch_account(client_url=receiver.url.replace("//", "//user:pass@"), callback_auth="basic")
    done = routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"})
    assert receiver.received[0].header("Authorization") == "Basic dXNlcjpwYXNz"
    assert "pass" not in json.dumps(done)


def test_a_webhook_may_carry_no_authorization(routed: "Bench", receiver: "Receiver") -> None:
    routed.patch_account(callback_auth="none")
    routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"})
    assert receiver.received[0].header("Authorization") is None


def test_a_reply_with_a_delay_is_planned_and_comes_when_its_moment_does(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent(session_id="first")
    now = routed.get("/clock")["now"]
    planned = routed.post(f"/handsets/{NUMBER}/reply", {"text": "late", "delay_s": 7200}, status=202)
    assert planned == {"message": None, "webhook_delivery": None, "due_at": later(now, 7200)}
    advance(routed, 7199.999)
    assert receiver.received == []
    advance(routed, 0.001)
    (posted,) = receiver.received
    body = json.loads(posted.body)
    assert (body["message"], body["session_id"], body["sent_date"]) == ("late", "first", planned["due_at"])


def test_a_delay_of_nothing_is_none(routed: "Bench") -> None:
    done = routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "delay_s": 0})
    assert done["message"]["state"] == "delivered"


def test_a_reply_with_a_delay_needs_something_to_reply_to_at_once(routed: "Bench") -> None:
    problem(routed.call("POST", f"/handsets/{NUMBER}/reply", {"text": "late", "delay_s": 60}), 409)


def test_delayed_replies_come_in_the_order_of_their_moments(routed: "Bench", receiver: "Receiver") -> None:
    for delay_s in (30, 10, 20):
        body = {"text": f"after {delay_s}", "to": "48974", "delay_s": delay_s}
        routed.post(f"/handsets/{NUMBER}/send", body, status=202)
    advance(routed, 60)
    assert [json.loads(each.body)["message"] for each in receiver.received] == ["after 10", "after 20", "after 30"]


def test_a_full_backlog_is_told_and_when_to_try_again(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox(webhook_backlog=1)
    body = {"text": "1", "to": "48974", "delay_s": 60}
    bench.post(f"/handsets/{NUMBER}/send", body, status=202)
    for again in (body, {**body, "delay_s": 0}):
        response = bench.call("POST", f"/handsets/{NUMBER}/send", again)
        problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0
    advance(bench, 60)
    assert len(bench.get("/messages")["messages"]) == 1
