"""Every operation of the control API over real HTTP: what it does, what it complains about, whom it concerns."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from starlette.routing import Route

from sandbox.errors import Busy, Conflict, Invalid, NotFound, StorageError, StorageFull
from sandbox.model import DeliveryState
from sandbox.web import control_api

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver, Running

NUMBER = "2348020000000"
RETRIES_S = (30, 60, 120, 240, 480, 960, 1920, 3600)


def invalid(response: requests.Response) -> list[str]:
    """The fields that a call was refused for, in order."""
    told = problem(response, 400)
    assert told["title"] == "The call is invalid"
    return [error["field"] for error in told["errors"]]


def problem(response: requests.Response, status: int) -> Any:
    """The problem details of an error, after a look at their shape."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    told = response.json()
    assert list(told)[:3] == ["title", "status", "detail"]
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    for error in told.get("errors", []):
        assert list(error) == ["field", "message"]
    return told


def walk(bench: "Bench", path: str, plural: str, **query: str | int) -> list[str]:
    """The identifiers of all pages of a list, following its cursors."""
    found: list[str] = []
    cursor: dict[str, str | int] = {}
    while True:
        page = bench.get(path, **query, **cursor)
        found += [each["id"] for each in page[plural]]
        if page["next"] is None:
            return found
        cursor = {"next": page["next"]}


@contextmanager
def in_background(act: Callable[[], None]) -> Iterator[None]:
    """Do something beside the block; what goes wrong there is raised here."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result(10)


def later(moment: str, seconds: float) -> str:
    return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# Messages ----------------------------------------------------------------------------------------------------------


def test_a_message_has_everything_that_users_depend_on(bench: "Bench") -> None:
    identifier = bench.sent(ref_id="873ghf8749956778gf5", message="₦500?")
    made = bench.get(f"/messages/{identifier}")
    assert made == {
        "id": identifier,
        "seq": int(identifier[1:]),
        "account": bench.account,
        "direction": "mt",
        "from": "48974",
        "to": NUMBER,
        "text": "₦500?",
        "session_id": "67543uhn3",
        "ref_id": "873ghf8749956778gf5",
        "sent_date": "2024-01-02T23:50:37.000000Z",
        "at": bench.get("/clock")["now"],
        "telco": "airtel",
        "encoding": "UCS-2",
        "segments": 1,
        "state": "arrived",
        "webhook_delivery_id": None,
        "request_id": f"r{identifier[1:]}",
        "extra": {},
        "warnings": [],
    }


def test_messages_are_listed_newest_first(bench: "Bench") -> None:
    sent = [bench.sent() for _ in range(3)]
    page = bench.get("/messages")
    assert [each["id"] for each in page["messages"]] == sent[::-1]
    assert page["next"] is None
    assert page["messages"][0] == bench.get(f"/messages/{sent[-1]}")


@pytest.fixture
def talk(routed: "Bench") -> "Bench":
    """A bench with two MT messages and two MO messages, each different."""
    routed.sent(to="2348030000001", message="Which film?", session_id="one")
    routed.sent(to="2348030000002", message="When was it?", session_id="two", from_="48975")
    routed.post("/handsets/2348030000001/reply", {"text": "Things Fall Apart"})
    routed.post("/handsets/2348030000002/reply", {"text": "yesterday"})
    return routed


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ({"to": "2348030000001"}, ["Which film?"]),
        ({"to": "+2348030000001"}, ["Which film?"]),
        ({"to": "002348030000001"}, ["Which film?"]),
        ({"to": "48974"}, ["Things Fall Apart"]),
        ({"from": "2348030000002"}, ["yesterday"]),
        ({"from": "48975"}, ["When was it?"]),
        ({"to": "234803000000"}, []),
        ({"to": "23480300000012"}, []),
        ({"to": "348030000001"}, []),
        ({"from": "489"}, []),
        ({"direction": "mt"}, ["When was it?", "Which film?"]),
        ({"direction": "mo"}, ["yesterday", "Things Fall Apart"]),
        ({"session_id": "one"}, ["Things Fall Apart", "Which film?"]),
        ({"session_id": "on"}, []),
        ({"text": "Wh*"}, ["When was it?", "Which film?"]),
        ({"text": "*film?"}, ["Which film?"]),
        ({"text": "yesterda[xyz]"}, ["yesterday"]),
        ({"text": "wh*"}, []),
        ({"text": "film"}, []),
        ({"state": "arrived"}, ["When was it?", "Which film?"]),
        ({"state": "delivered"}, ["yesterday", "Things Fall Apart"]),
        ({"state": "rejected"}, []),
        ({"direction": "mt", "text": "*it*", "session_id": "two"}, ["When was it?"]),
        ({"direction": "mt", "session_id": "two", "to": "2348030000001"}, []),
    ],
)
def test_filters_of_messages_all_have_to_match(talk: "Bench", query: dict[str, str], texts: list[str]) -> None:
    assert [each["text"] for each in talk.get("/messages", **query)["messages"]] == texts


def test_messages_after_one_that_was_seen(bench: "Bench") -> None:
    first, second, third = (bench.sent() for _ in range(3))
    assert [each["id"] for each in bench.get("/messages", after=first)["messages"]] == [third, second]
    assert bench.get("/messages", after=third)["messages"] == []


def test_wrong_filters_are_named_all_at_once(bench: "Bench") -> None:
    wrong: dict[str, str | int] = {
        "limit": 0,
        "to": "cinema",
        "from": "+48974",
        "session_id": "s" * 256,
        "direction": "up",
        "text": "\0",
        "after": "yesterday",
        "next": "x12",
        "sort": "up",
    }
    assert invalid(bench.call("GET", "/messages", **wrong)) == list(wrong)


@pytest.mark.parametrize("limit", ["0", "501", "-1", "1.5", "ten", "１０", "9" * 30])
def test_a_page_holds_1_to_500(bench: "Bench", limit: str) -> None:
    for path in ("/messages", "/requests", "/handsets", "/webhook-deliveries"):
        assert invalid(bench.call("GET", path, limit=limit)) == ["limit"]


def test_a_walk_over_pages_meets_every_message_once(bench: "Bench") -> None:
    sent = [bench.sent() for _ in range(7)]
    for limit in (1, 2, 3, 7, 8):
        assert walk(bench, "/messages", "messages", limit=limit) == sent[::-1]


def test_what_comes_during_a_walk_does_not_shift_it(bench: "Bench") -> None:
    sent = [bench.sent() for _ in range(4)]
    first = bench.get("/messages", limit=2)
    bench.sent()
    second = bench.get("/messages", limit=2, next=first["next"])
    assert [each["id"] for each in first["messages"] + second["messages"]] == sent[::-1]


def test_a_walk_keeps_to_its_filters(talk: "Bench") -> None:
    found = walk(talk, "/messages", "messages", limit=1, direction="mo")
    assert [talk.get(f"/messages/{each}")["text"] for each in found] == ["yesterday", "Things Fall Apart"]


# Requests ----------------------------------------------------------------------------------------------------------


def test_requests_are_listed_newest_first_by_verdict(bench: "Bench") -> None:
    accepted = bench.submit().headers["ninebits-sandbox-request"]
    refused = bench.submit(to="0802").headers["ninebits-sandbox-request"]
    mine = {accepted, refused}
    listed = {verdict: bench.get("/requests", verdict=verdict)["requests"] for verdict in ("accepted", "refused")}
    assert [each["id"] for each in listed["accepted"]] == [accepted]
    assert [each["id"] for each in listed["refused"] if each["id"] in mine] == [refused]
    assert [each["id"] for each in bench.get("/requests")["requests"] if each["id"] in mine] == [refused, accepted]


def test_a_walk_over_pages_meets_every_request_once(bench: "Bench") -> None:
    made = [bench.submit(to=to).headers["ninebits-sandbox-request"] for to in (NUMBER, "0802") * 3]
    everything = walk(bench, "/requests", "requests", limit=2)
    assert [each for each in everything if each in made] == made[::-1]
    assert len(everything) == len(set(everything))


def test_wrong_filters_of_requests_are_named_all_at_once(bench: "Bench") -> None:
    wrong: dict[str, str | int] = {"limit": "x", "verdict": "maybe", "next": "-1", "state": "x"}
    assert invalid(bench.call("GET", "/requests", **wrong)) == list(wrong)


# Handsets ----------------------------------------------------------------------------------------------------------


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


# Reply and send ----------------------------------------------------------------------------------------------------


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


# Webhook deliveries ------------------------------------------------------------------------------------------------


def owe(bench: "Bench", *, wait: object = True) -> str:
    """A new text from the handset. Returns the identifier of its webhook delivery."""
    done = bench.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "wait": wait})
    identifier: str = done["webhook_delivery"]["id"]
    return identifier


def delivery(bench: "Bench", identifier: str) -> Any:
    return bench.get(f"/webhook-deliveries/{identifier}")


def advance(bench: "Bench", seconds: float) -> Any:
    response = bench.call("PUT", "/clock", {"action": "advance", "seconds": seconds})
    assert response.status_code == 200, response.text
    return response.json()


def in_state(bench: "Bench", receiver: "Receiver", state: str) -> str:
    """A webhook delivery that is in `state`, with an application that answers 200 from now on."""
    match state:
        case "in_flight":
            receiver.hold()
        case "retrying" | "exhausted" | "cancelled":
            receiver.answer_with(500)
        case "rejected":
            receiver.answer_with(404)
    identifier = owe(bench, wait=state != "in_flight")
    match state:
        case "in_flight":
            receiver.wait_for(1)
        case "exhausted":
            advance(bench, 3600)
        case "cancelled":
            bench.post(f"/webhook-deliveries/{identifier}/cancel", status=200)
    receiver.answer_with(200)
    assert delivery(bench, identifier)["state"] == state
    return identifier


def test_a_webhook_delivery_has_everything_that_users_depend_on(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(201, b'{"status": "ok"}')
    identifier = owe(routed)
    made, now = delivery(routed, identifier), routed.get("/clock")["now"]
    (attempt,) = made.pop("attempts")
    assert json.loads(made.pop("body"))["message"] == "1"
    assert made == {
        "id": identifier,
        "seq": int(identifier[1:]),
        "account": routed.account,
        "message_id": f"m{identifier[1:]}",
        "url": receiver.url,
        "state": "delivered",
        "created_at": now,
        "next_attempt_at": None,
        "redelivery_of": None,
    }
    assert attempt.pop("duration_ms") > 0
    headers = {each["name"]: each["value"] for each in attempt.pop("response_headers")}
    assert headers["Content-Type"] == "application/json"
    assert attempt == {
        "number": 1,
        "trigger": "scheduled",
        "offset_s": 0,
        "started_at": now,
        "outcome": "answered",
        "status_code": 201,
        "error": None,
        "response_body": '{"status": "ok"}',
        "warnings": [],
    }


def test_an_answer_that_is_no_json_is_delivered_with_a_warning(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(200, b"OK")
    made = delivery(routed, owe(routed))
    assert made["state"] == "delivered"
    assert "not valid JSON" in made["attempts"][0]["warnings"][0]


def test_the_state_of_a_message_is_that_of_its_latest_webhook_delivery(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "rejected")
    message = delivery(routed, identifier)["message_id"]
    assert routed.get(f"/messages/{message}")["state"] == "rejected"
    again = routed.post(f"/webhook-deliveries/{identifier}/redeliver")
    assert routed.get(f"/messages/{message}")["state"] == "delivered"
    assert routed.get(f"/messages/{message}")["webhook_delivery_id"] == again["id"]


@pytest.mark.parametrize(
    ("state", "verb", "status"),
    [
        ("in_flight", "attempt", 409),
        ("in_flight", "redeliver", 409),
        ("in_flight", "cancel", 200),
        ("retrying", "attempt", 200),
        ("retrying", "redeliver", 409),
        ("retrying", "cancel", 200),
        ("delivered", "attempt", 409),
        ("delivered", "redeliver", 201),
        ("delivered", "cancel", 409),
        ("rejected", "attempt", 200),
        ("rejected", "redeliver", 201),
        ("rejected", "cancel", 409),
        ("exhausted", "attempt", 200),
        ("exhausted", "redeliver", 201),
        ("exhausted", "cancel", 409),
        ("cancelled", "attempt", 200),
        ("cancelled", "redeliver", 201),
        ("cancelled", "cancel", 409),
    ],
)
def test_a_state_allows_a_verb_or_not(
    routed: "Bench", receiver: "Receiver", state: str, verb: str, status: int
) -> None:
    identifier = in_state(routed, receiver, state)
    before = delivery(routed, identifier)
    response = routed.call("POST", f"/webhook-deliveries/{identifier}/{verb}")
    if status == 409:
        told = problem(response, 409)
        assert identifier in told["detail"]
        assert delivery(routed, identifier) == before
    else:
        assert response.status_code == status
        assert response.json() == delivery(routed, response.json()["id"])


@pytest.mark.parametrize("state", ["retrying", "rejected", "exhausted", "cancelled"])
def test_an_attempt_now_that_succeeds_delivers(routed: "Bench", receiver: "Receiver", state: str) -> None:
    identifier = in_state(routed, receiver, state)
    tried = len(delivery(routed, identifier)["attempts"])
    done = routed.post(f"/webhook-deliveries/{identifier}/attempt", status=200)
    assert (done["state"], done["next_attempt_at"]) == ("delivered", None)
    last = done["attempts"][-1]
    assert (last["number"], last["trigger"], last["status_code"]) == (tried + 1, "manual", 200)


def test_an_attempt_now_that_fails_leaves_the_schedule_as_it_is(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "retrying")
    before = delivery(routed, identifier)["next_attempt_at"]
    receiver.answer_with(500)
    done = routed.post(f"/webhook-deliveries/{identifier}/attempt", status=200)
    assert (done["state"], done["next_attempt_at"]) == ("retrying", before)
    assert [each["trigger"] for each in done["attempts"]] == ["scheduled", "manual"]
    advance(routed, 3600)
    done = delivery(routed, identifier)
    assert [each["trigger"] for each in done["attempts"]] == ["scheduled", "manual", *["scheduled"] * 8]
    assert done["state"] == "exhausted"


def test_redelivery_is_a_new_webhook_delivery_with_the_same_bytes(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "delivered")
    before = delivery(routed, identifier)
    again = routed.post(f"/webhook-deliveries/{identifier}/redeliver")
    assert again["id"] != identifier
    assert (again["redelivery_of"], again["message_id"]) == (identifier, before["message_id"])
    assert (again["state"], len(again["attempts"])) == ("delivered", 1)
    first, second = receiver.received
    assert first.body == second.body == again["body"].encode()
    assert delivery(routed, identifier) == before


def test_redelivery_goes_to_where_the_application_is_now(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "rejected")
    routed.patch_account(client_url=receiver.url + "/moved")
    routed.post(f"/webhook-deliveries/{identifier}/redeliver")
    assert [each.path for each in receiver.received] == ["/sms", "/sms/moved"]


def test_nothing_more_is_sent_of_a_cancelled_webhook_delivery(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "cancelled")
    advance(routed, 7200)
    assert len(receiver.received) == 1
    assert delivery(routed, identifier)["next_attempt_at"] is None


def test_an_attempt_under_way_is_recorded_although_it_was_cancelled(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "in_flight")
    routed.post(f"/webhook-deliveries/{identifier}/cancel", status=200)
    receiver.release()
    advance(routed, 0)
    done = delivery(routed, identifier)
    assert (done["state"], done["attempts"][0]["status_code"]) == ("cancelled", 200)


def test_retries_come_when_the_documentation_says(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(503)
    identifier = owe(routed)
    start = routed.get("/clock")["now"]
    assert delivery(routed, identifier)["next_attempt_at"] == later(start, 30)
    assert advance(routed, 3600)["moments"] >= len(RETRIES_S)
    done = delivery(routed, identifier)
    assert done["state"] == "exhausted"
    assert [each["offset_s"] for each in done["attempts"]] == [0, *RETRIES_S]
    assert [each["started_at"] for each in done["attempts"]] == [later(start, each) for each in (0, *RETRIES_S)]
    assert len({each.body for each in receiver.received}) == 1


@pytest.mark.parametrize("verb", ["attempt", "redeliver", "cancel"])
def test_wrong_arguments_of_a_verb_are_named_all_at_once(routed: "Bench", receiver: "Receiver", verb: str) -> None:
    identifier = in_state(routed, receiver, "retrying")
    response = routed.call("POST", f"/webhook-deliveries/{identifier}/{verb}", {"wait": "x", "force": True})
    assert sorted(invalid(response)) == ["force", "wait"]
    assert delivery(routed, identifier)["state"] == "retrying"


def test_webhook_deliveries_are_listed_newest_first_by_state(routed: "Bench", receiver: "Receiver") -> None:
    made = {state: in_state(routed, receiver, state) for state in ("delivered", "rejected", "retrying")}
    for state, identifier in made.items():
        assert walk(routed, "/webhook-deliveries", "webhook_deliveries", state=state) == [identifier]
    assert walk(routed, "/webhook-deliveries", "webhook_deliveries") == list(made.values())[::-1]
    assert routed.get("/webhook-deliveries")["webhook_deliveries"][0]["attempts"] == 1


def test_a_walk_over_pages_meets_every_webhook_delivery_once(routed: "Bench") -> None:
    made = [owe(routed) for _ in range(5)]
    for limit in (1, 2, 5):
        assert walk(routed, "/webhook-deliveries", "webhook_deliveries", limit=limit) == made[::-1]


def test_wrong_filters_of_webhook_deliveries_are_named_all_at_once(bench: "Bench") -> None:
    wrong: dict[str, str | int] = {"limit": 501, "state": "lost", "next": "x", "to": "x"}
    assert invalid(bench.call("GET", "/webhook-deliveries", **wrong)) == list(wrong)


@pytest.mark.parametrize("state", DeliveryState)
def test_every_state_can_be_asked_for(bench: "Bench", state: str) -> None:
    assert bench.get("/webhook-deliveries", state=state) == {"webhook_deliveries": [], "next": None}


# Accounts ----------------------------------------------------------------------------------------------------------


def test_an_account_is_shown_with_its_defaults_and_a_masked_token(bench: "Bench") -> None:
    assert bench.get(f"/accounts/{bench.account}") == {
        "id": bench.account,
        "name": bench.account,
        "token": "toke…",
        "shortcodes": [],
        "client_url": None,
        "callback_auth": "bearer",
        "msisdn_format": "plain",
        "revision": "2024",
        "strict": True,
        "success_body": None,
        "retry": list(RETRIES_S),
        "order": "free",
    }


def test_an_account_works_as_soon_as_it_is_made_and_no_longer_than_it_is_there(bench: "Bench") -> None:
    assert bench.submit().status_code == 200
    assert bench.call("DELETE", f"/accounts/{bench.account}").status_code == 204
    assert bench.submit().status_code == 401
    for method in ("GET", "PATCH", "DELETE"):
        problem(bench.call(method, f"/accounts/{bench.account}"), 404)


def test_accounts_are_listed(bench: "Bench") -> None:
    names = [each["name"] for each in bench.get("/accounts")["accounts"]]
    assert names.count(bench.account) == names.count("default") == 1


CHANGES: Sequence[Mapping[str, object]] = [
    {"token": "another-token-than-before"},
    {"shortcodes": ["48974", "48975"]},
    {"client_url": "http://127.0.0.1:8000/sms"},
    {"client_url": None},
    {"callback_auth": "none"},
    {"msisdn_format": "mixed"},
    {"revision": "2025"},
    {"strict": False},
    {"success_body": '{"status": "{message_id}"}'},
    {"success_body": None},
    {"retry": [1, 5]},
    {"retry": []},
    {"order": "conversation"},
    {},
]


@pytest.mark.parametrize("changes", CHANGES, ids=[json.dumps(each) for each in CHANGES])
def test_a_patch_changes_what_it_names_and_keeps_the_rest(bench: "Bench", changes: dict[str, object]) -> None:
    path = f"/accounts/{bench.account}"
    bench.patch_account(client_url="http://127.0.0.1:9000/sms", shortcodes=["48976"], retry="fast", success_body="{}")
    before = bench.get(path)
    answered = bench.call("PATCH", path, changes).json()
    shown = {**changes, **({"token": "anot…"} if "token" in changes else {})}
    assert answered == bench.get(path) == {**before, **shown}


def test_a_new_token_counts_at_once_and_the_old_one_no_longer(bench: "Bench") -> None:
    bench.patch_account(token="a-brand-new-token")
    assert bench.submit().status_code == 401
    headers = {"Authorization": "Bearer a-brand-new-token"}
    assert bench.sandbox.request("POST", "/ng/v1/sendsms", json={}, headers=headers).status_code == 400


def test_a_preset_of_retries_is_shown_as_its_seconds(bench: "Bench") -> None:
    bench.patch_account(retry="fast")
    assert bench.get(f"/accounts/{bench.account}")["retry"] == [1, 2, 4]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pass@127.0.0.1:8000/sms", "http://…@127.0.0.1:8000/sms"),
        ("https://app.example/sms?key=s3cr3t", "https://app.example/sms?…"),
    ],
)
def test_secrets_in_a_client_url_are_masked(bench: "Bench", url: str, shown: str) -> None:
    bench.patch_account(client_url=url)
    assert bench.get(f"/accounts/{bench.account}")["client_url"] == shown


def test_an_account_needs_name_and_token(bench: "Bench") -> None:
    assert invalid(bench.call("POST", "/accounts", {})) == ["name", "token"]


WRONG_ACCOUNT = {
    "name": "No Capitals",
    "token": "with a blank",
    "shortcodes": ["cinema"],
    "client_url": "ftp://127.0.0.1/sms",
    "callback_auth": "digest",
    "msisdn_format": "hex",
    "revision": "2023",
    "strict": "perhaps",
    "success_body": "[]",
    "retry": [5, 1],
    "order": "random",
    "colour": "red",
}


def test_everything_wrong_about_an_account_is_named_at_once(bench: "Bench") -> None:
    assert set(invalid(bench.call("POST", "/accounts", WRONG_ACCOUNT))) == WRONG_ACCOUNT.keys()


def test_everything_wrong_about_a_patch_is_named_at_once_and_nothing_is_changed(bench: "Bench") -> None:
    path = f"/accounts/{bench.account}"
    before = bench.get(path)
    wrong = {name: value for name, value in WRONG_ACCOUNT.items() if name != "name"}
    assert set(invalid(bench.call("PATCH", path, {**wrong, "name": bench.account}))) == wrong.keys()
    assert bench.get(path) == before


@pytest.mark.parametrize("token", ["with a blank and a canary", "cän4ry-beyond-ascii", ["canary"], {"canary": 1}])
def test_a_wrong_token_is_not_repeated(bench: "Bench", token: object) -> None:
    response = bench.call("POST", "/accounts", {"name": "x", "token": token})
    assert invalid(response) == ["token"]
    assert "canary" not in response.text
    assert "4ry" not in response.text


def test_a_name_is_given_once(bench: "Bench") -> None:
    problem(bench.call("POST", "/accounts", {"name": bench.account, "token": "some-other-token"}), 409)
    assert bench.submit().status_code == 200


def test_a_token_is_given_once(bench: "Bench") -> None:
    response = bench.call("POST", "/accounts", {"name": "second", "token": bench.token})
    assert invalid(response) == ["token"]
    assert bench.token not in response.text
    assert invalid(bench.call("PATCH", f"/accounts/{bench.account}", {"token": "sandbox-token"})) == ["token"]


@pytest.mark.parametrize("name", ["another", 5, None, ""])
def test_an_account_keeps_its_name(bench: "Bench", name: object) -> None:
    assert invalid(bench.call("PATCH", f"/accounts/{bench.account}", {"name": name})) == ["name"]


def test_what_was_recorded_goes_with_its_account(bench: "Bench") -> None:
    message = bench.sent()
    bench.call("DELETE", f"/accounts/{bench.account}")
    bench.call("POST", "/accounts", {"name": bench.account, "token": bench.token})
    assert bench.get("/messages") == {"messages": [], "next": None}
    problem(bench.call("GET", f"/messages/{message}"), 404)


def test_the_last_account_stays(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    problem(bench.call("DELETE", "/accounts/default"), 409)
    assert bench.submit().status_code == 200


def test_without_a_name_the_account_is_default_and_without_a_default_the_first(
    start_sandbox: Callable[..., "Bench"],
) -> None:
    bench = start_sandbox()
    running = bench.sandbox
    bench.post("/accounts", {"name": "other", "token": "token-of-the-other"})
    assert running.request("GET", f"/_sandbox/v1/handsets/{NUMBER}").json()["account"] == "default"
    bench.call("DELETE", "/accounts/default")
    assert running.request("GET", f"/_sandbox/v1/handsets/{NUMBER}").json()["account"] == "other"


def all_at_once(bench: "Bench", calls: Sequence[tuple[str, str, object]]) -> list[int]:
    """The status of each of several calls of the control API that are made at the same moment."""
    ready = threading.Barrier(len(calls))

    def make(call: tuple[str, str, object]) -> int:
        ready.wait(10)
        return bench.call(*call).status_code

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


def test_a_name_is_given_once_though_many_ask_at_once(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    accounts = [{"name": "wanted", "token": f"token-number-{number}"} for number in range(8)]
    statuses = all_at_once(bench, [("POST", "/accounts", account) for account in accounts])
    assert sorted(statuses) == [201, *[409] * 7]


def test_a_token_is_given_once_though_many_ask_at_once(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    accounts = [{"name": f"account-{number}", "token": "wanted-by-everybody"} for number in range(8)]
    statuses = all_at_once(bench, [("POST", "/accounts", account) for account in accounts])
    assert sorted(statuses) == [201, *[400] * 7]


def test_patches_at_the_same_moment_keep_each_others_changes(bench: "Bench") -> None:
    changes: dict[str, object] = {"revision": "2025", "strict": False, "order": "conversation", "callback_auth": "none"}
    path = f"/accounts/{bench.account}"
    assert set(all_at_once(bench, [("PATCH", path, {name: value}) for name, value in changes.items()])) == {200}
    account = bench.get(path)
    assert {name: account[name] for name in changes} == changes


def test_one_account_is_left_though_all_are_removed_at_once(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    for number in range(4):
        bench.post("/accounts", {"name": f"account-{number}", "token": f"token-number-{number}"})
    names = [each["name"] for each in bench.get("/accounts")["accounts"]]
    statuses = all_at_once(bench, [("DELETE", f"/accounts/{name}", None) for name in names])
    assert sorted(statuses) == [*[204] * 4, 409]


# Isolation ---------------------------------------------------------------------------------------------------------


def test_an_account_sees_nothing_of_another(routed: "Bench", receiver: "Receiver") -> None:
    message = routed.sent()
    request = routed.get(f"/messages/{message}")["request_id"]
    owed = in_state(routed, receiver, "retrying")
    stranger = {"account": "default"}
    for path in (f"/messages/{message}", f"/requests/{request}", f"/webhook-deliveries/{owed}"):
        problem(routed.sandbox.request("GET", f"/_sandbox/v1{path}", params=stranger), 404)
        assert routed.get(path)
    for verb in ("attempt", "redeliver", "cancel"):
        path = f"/_sandbox/v1/webhook-deliveries/{owed}/{verb}"
        problem(routed.sandbox.request("POST", path, params=stranger, json={}), 404)
    assert delivery(routed, owed)["state"] == "retrying"
    for path, plural in (("/messages", "messages"), ("/webhook-deliveries", "webhook_deliveries")):
        listed = routed.sandbox.request("GET", f"/_sandbox/v1{path}", params=stranger).json()[plural]
        assert routed.account not in {each["account"] for each in listed}


def test_a_handset_is_another_one_for_every_account(bench: "Bench") -> None:
    bench.call("PATCH", f"/handsets/{NUMBER}", {"label": "Ada", "state": "off"})
    other = bench.sandbox.request("GET", f"/_sandbox/v1/handsets/{NUMBER}", params={"account": "default"}).json()
    assert (other["label"], other["state"]) == ("", "on")


@pytest.mark.parametrize("account", ["nobody", "", "\0", "x" * 300])
def test_an_unknown_account_is_answered_404(bench: "Bench", account: str) -> None:
    for path in ("/messages", "/requests", "/handsets", f"/handsets/{NUMBER}", "/webhook-deliveries", "/events"):
        problem(bench.sandbox.request("GET", f"/_sandbox/v1{path}", params={"account": account}), 404)


# Clock -------------------------------------------------------------------------------------------------------------


def test_the_clock_moves_on_by_what_it_is_told(bench: "Bench") -> None:
    before = bench.get("/clock")
    after = advance(bench, 90.5)
    assert after["now"] == later(before["now"], 90.5)
    assert bench.get("/clock")["now"] == after["now"]
    assert before["frozen"] is after["frozen"] is True


def test_the_clock_says_what_is_due(bench: "Bench") -> None:
    bench.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "delay_s": 60}, status=202)
    clock = bench.get("/clock")
    mine = [each for each in clock["due"] if each["account"] == bench.account]
    assert [(each["kind"], each["due_at"]) for each in mine] == [("originate", later(clock["now"], 60))]


def test_advance_answers_after_everything_due_has_run(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(500)
    routed.patch_account(retry=[60])
    routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "delay_s": 3600}, status=202)
    advance(routed, 3660)
    (made,) = routed.get("/webhook-deliveries")["webhook_deliveries"]
    assert (made["state"], made["attempts"]) == ("exhausted", 2)


def test_a_clock_is_frozen_and_resumed(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox(clock="system")
    assert bench.get("/clock")["frozen"] is False
    frozen = bench.call("PUT", "/clock", {"action": "freeze"}).json()
    assert frozen["frozen"] is True
    assert bench.get("/clock")["now"] == frozen["now"]
    advance(bench, 3600)
    resumed = bench.call("PUT", "/clock", {"action": "resume"}).json()
    assert resumed["frozen"] is False
    assert resumed["now"] >= later(frozen["now"], 3600)
    assert resumed["ahead_s"] == pytest.approx(3600, abs=60)


def test_a_running_clock_can_be_moved_on(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox(clock="system")
    bench.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "delay_s": 3600}, status=202)
    assert advance(bench, 3600)["frozen"] is False
    assert len(bench.get("/messages")["messages"]) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["action"]),
        ({"action": "rewind"}, ["action"]),
        ({"action": 5}, ["action"]),
        ({"action": "advance"}, ["seconds"]),
        ({"action": "advance", "seconds": -1}, ["seconds"]),
        ({"action": "advance", "seconds": True}, ["seconds"]),
        ({"action": "advance", "seconds": "an hour"}, ["seconds"]),
        ({"action": "advance", "seconds": [1]}, ["seconds"]),
        ({"action": "advance", "seconds": 366 * 86_400 + 1}, ["seconds"]),
        ({"action": "freeze", "seconds": 5}, ["seconds"]),
        ({"action": "resume", "seconds": 0}, ["seconds"]),
        ({"action": "rewind", "seconds": -1, "by": 1}, ["action", "seconds", "by"]),
    ],
)
def test_wrong_arguments_of_the_clock_are_named_once_each(
    bench: "Bench", body: dict[str, object], fields: list[str]
) -> None:
    before = bench.get("/clock")["now"]
    assert sorted(invalid(bench.call("PUT", "/clock", body))) == sorted(fields)
    assert bench.get("/clock")["now"] == before


# Reset -------------------------------------------------------------------------------------------------------------


def test_a_reset_forgets_everything_of_the_account_but_the_account(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent()
    routed.submit(to="0802")
    routed.call("PATCH", f"/handsets/{NUMBER}", {"label": "Ada"})
    in_state(routed, receiver, "retrying")
    routed.post(f"/handsets/{NUMBER}/send", {"text": "late", "to": "48974", "delay_s": 60}, status=202)
    account = routed.get(f"/accounts/{routed.account}")
    assert routed.call("POST", "/reset").json() == {"reset": routed.account}
    for path, plural in (("/messages", "messages"), ("/handsets", "handsets")):
        assert routed.get(path) == {plural: [], "next": None}
    assert routed.get("/webhook-deliveries")["webhook_deliveries"] == []
    assert [each for each in routed.get("/requests")["requests"] if each["account"]] == []
    assert routed.account not in [each["account"] for each in routed.get("/clock")["due"]]
    assert routed.get(f"/accounts/{routed.account}") == account
    advance(routed, 7200)
    assert len(receiver.received) == 1
    assert routed.get("/messages")["messages"] == []
    assert routed.submit().status_code == 200


def test_a_reset_of_one_account_spares_the_others(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    bench.post("/accounts", {"name": "other", "token": "token-of-the-other"})
    message = bench.sent()
    running = bench.sandbox
    answered = running.request("POST", "/_sandbox/v1/reset", json={"scope": "other"})
    assert answered.json() == {"reset": "other"}
    assert bench.get(f"/messages/{message}")


@pytest.mark.parametrize("body", [{}, {"scope": "all"}, {"scope": None}])
def test_a_reset_without_a_scope_is_one_of_all(start_sandbox: Callable[..., "Bench"], body: dict[str, object]) -> None:
    bench = start_sandbox()
    bench.post("/accounts", {"name": "other", "token": "token-of-the-other"})
    bench.sent()
    bench.sandbox.request("POST", "/ng/v1/sendsms", json={})
    assert bench.sandbox.request("POST", "/_sandbox/v1/reset", json=body).json() == {"reset": "all"}
    assert bench.get("/messages")["messages"] == bench.get("/requests")["requests"] == []
    assert len(bench.get("/accounts")["accounts"]) == 2


def test_no_identifier_is_given_twice_although_everything_was_forgotten(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    first = bench.sent()
    bench.sandbox.request("POST", "/_sandbox/v1/reset", json={})
    assert int(bench.sent()[1:]) > int(first[1:])


def test_a_reset_of_one_account_leaves_the_clock_alone(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    now = advance(bench, 3600)["now"]
    bench.post("/reset", status=200)
    assert bench.get("/clock")["now"] == now


def test_a_reset_of_everything_brings_the_clock_back(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    advance(bench, 3600)
    bench.sandbox.request("POST", "/_sandbox/v1/reset", json={})
    assert bench.get("/clock")["ahead_s"] <= 0


def test_after_a_reset_of_everything_no_webhook_waits_for_a_moment_of_the_old_clock(
    start_sandbox: Callable[..., "Bench"], receiver: "Receiver"
) -> None:
    bench = start_sandbox()
    bench.patch_account(client_url=receiver.url)
    receiver.answer_next(429)
    bench.post("/handsets/2348020000000/send", {"text": "1", "to": "48974"})
    advance(bench, 3600)
    bench.sandbox.request("POST", "/_sandbox/v1/reset", json={})
    texted = bench.post("/handsets/2348020000000/send", {"text": "2", "to": "48974", "wait": 5})
    assert texted["webhook_delivery"]["state"] == "delivered"


def test_a_second_attempt_by_hand_waits_for_the_first(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent()
    receiver.answer_next(500)
    owed = routed.post("/handsets/2348020000000/reply", {"text": "1"})["webhook_delivery"]["id"]
    receiver.hold()
    routed.post(f"/webhook-deliveries/{owed}/attempt", {"wait": False}, status=200)
    refused = routed.call("POST", f"/webhook-deliveries/{owed}/attempt", {"wait": False})
    receiver.release()
    assert refused.status_code == 409


def test_a_call_with_a_known_token_and_a_wrong_path_is_its_accounts_own(bench: "Bench") -> None:
    answer = bench.sandbox.request(
        "POST", "/ng/v2/sendsms", json={}, headers={"Authorization": f"Bearer {bench.token}"}
    )
    record = bench.get(f"/requests/{answer.headers['ninebits-sandbox-request']}")
    assert (record["status_code"], record["account"]) == (404, bench.account)


@pytest.mark.parametrize(("body", "fields"), [({"scope": 5, "hard": True}, ["scope", "hard"])])
def test_wrong_arguments_of_a_reset_are_named(bench: "Bench", body: dict[str, object], fields: list[str]) -> None:
    message = bench.sent()
    assert invalid(bench.call("POST", "/reset", body)) == fields
    assert bench.get(f"/messages/{message}")


def test_a_reset_of_nobody_forgets_nothing(bench: "Bench") -> None:
    message = bench.sent()
    problem(bench.sandbox.request("POST", "/_sandbox/v1/reset", json={"scope": "nobody"}), 404)
    problem(bench.sandbox.request("POST", "/_sandbox/v1/reset", params={"account": "nobody"}, json={}), 404)
    assert bench.get(f"/messages/{message}")


# One shape of errors -----------------------------------------------------------------------------------------------

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def allowed() -> dict[str, set[str]]:
    """Path -> the methods that it has, with something in place of its parameters."""
    found: dict[str, set[str]] = {}
    for route in control_api.routes():
        assert isinstance(route, Route)
        path = route.path.replace("{msisdn}", NUMBER).replace("{id}", "w1").replace("{name}", "default")
        found.setdefault(path, set()).update(route.methods or ())
    return found


ALLOWED = {path: methods for path, methods in allowed().items() if "{" not in path}


@pytest.mark.parametrize("path", ALLOWED)
def test_another_method_is_answered_405_with_all_that_are_allowed(sandbox_server: "Running", path: str) -> None:
    for method in METHODS:
        if method not in ALLOWED[path]:
            options: dict[str, Any] = {"json": {}} if method in ("POST", "PUT", "PATCH") else {}
            response = sandbox_server.request(method, path, **options)
            assert response.status_code == 405
            assert {each.strip() for each in response.headers["Allow"].split(",")} == ALLOWED[path]
            if method != "HEAD":
                problem(response, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/_sandbox/",
        "/_sandbox/v1",
        "/_sandbox/v1/",
        "/_sandbox/v1/nowhere",
        "/_sandbox/v2/messages",
        f"/_sandbox/v1/handsets/{NUMBER}/call",
        "/_sandbox/v1/webhook-deliveries/w1/forget",
        "/_sandbox/v1/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_is_answered_404(sandbox_server: "Running", method: str, path: str) -> None:
    options: dict[str, Any] = {"json": {}} if method == "POST" else {}
    problem(sandbox_server.request(method, path, **options), 404)


@pytest.mark.parametrize(
    "identifier", ["0", "m", "m0", "m-1", "m1x", "M1", "x1", "m" + "9" * 25, "m%00", "m١", "%ff", "m1%20", "m1%2F"]
)
def test_what_is_no_identifier_is_answered_404(bench: "Bench", identifier: str) -> None:
    for path, letter in (("/messages", "m"), ("/requests", "r"), ("/webhook-deliveries", "w")):
        problem(bench.call("GET", f"{path}/{identifier.replace('m', letter, 1)}"), 404)


def test_the_letter_of_an_identifier_has_to_be_the_right_one(bench: "Bench") -> None:
    number = bench.sent()[1:]
    problem(bench.call("GET", f"/messages/r{number}"), 404)
    problem(bench.call("GET", f"/requests/m{number}"), 404)
    problem(bench.call("GET", f"/webhook-deliveries/w{number}"), 404)


BODIES = [
    pytest.param(b"{", id="cut off"),
    pytest.param(b"\xff\xfe{\x00}\x00", id="UTF-16"),
    pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
    pytest.param(b"[" * 100_000, id="100,000 brackets"),
    pytest.param(b'{"a":' * 33 + b"1" + b"}" * 33, id="33 levels"),
    pytest.param(b'{"n": ' + b"1" * 5000 + b"}", id="number of 5,000 digits"),
    pytest.param(b'{"n": NaN}', id="NaN"),
    pytest.param(b'{"n": 1e999}', id="1e999"),
    pytest.param(b'{"n": 1, "n": 2}', id="key twice"),
    pytest.param(b"[]", id="array"),
    pytest.param(b"null", id="null"),
    pytest.param(b'"text"', id="string"),
    pytest.param(b"a=b", id="form"),
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/handsets/{NUMBER}/reply"),
        ("POST", f"/handsets/{NUMBER}/send"),
        ("PATCH", f"/handsets/{NUMBER}"),
        ("POST", "/accounts"),
        ("PATCH", "/accounts/default"),
        ("PUT", "/clock"),
        ("POST", "/reset"),
    ],
)
def test_a_body_that_is_no_json_object_is_answered_400(bench: "Bench", method: str, path: str, body: bytes) -> None:
    response = bench.sandbox.request(
        method, f"/_sandbox/v1{path}", data=body, headers={"Content-Type": "application/json"}
    )
    assert invalid(response) == ["body"]


@pytest.mark.parametrize("name", ["\ud800", "\0", "\x1b[2J", "\u202e", "{0}", "x" * 10_000])
def test_an_unknown_argument_is_named_harmlessly(bench: "Bench", name: str) -> None:
    for method, path in (("POST", "/reset"), ("PUT", "/clock"), ("PATCH", f"/accounts/{bench.account}")):
        response = bench.call(method, path, {name: 1})
        problem(response, 400)
        assert "\x1b" not in response.text
        assert len(response.content) < 25_000


def test_not_every_one_of_a_flood_of_unknown_arguments_is_named(bench: "Bench") -> None:
    flood = {f"x{number}": 1 for number in range(50_000)}
    for method, path in (("POST", "/reset"), ("PATCH", f"/accounts/{bench.account}")):
        response = bench.call(method, path, flood)
        assert 0 < len(invalid(response)) < 30
        assert len(response.content) < 10_000


def test_an_empty_body_is_an_empty_object(bench: "Bench") -> None:
    response = bench.sandbox.request(
        "POST", f"/_sandbox/v1/reset?account={bench.account}", headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200


def test_head_is_answered_like_get_without_a_body(bench: "Bench") -> None:
    response = bench.call("HEAD", "/messages")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Invalid(("to", "to is missing.")), 400, None),
        (NotFound("There is no account nobody."), 404, None),
        (Conflict("w1 was delivered."), 409, None),
        (Busy("The backlog is full."), 503, "5"),
        (StorageError("The database cannot be used."), 503, "5"),
        (StorageFull("There is no room left."), 503, "5"),
        (RuntimeError("secrets of the house"), 500, None),
    ],
)
def test_every_kind_of_error_has_its_status(error: Exception, status: int, retry_after: str | None) -> None:
    answer = control_api.error_answer(error)
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["status"], answer.headers.get("retry-after")) == (status, status, retry_after)
    assert "secrets" not in told["detail"]
