"""What an unfolded bubble says over real HTTP and without a browser: attempts, causes, edited payloads, quick replies,
sessions and permanent links."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.pages.views import BUBBLES
from tests.conftest import Bench, Receiver
from tests.faulty import eventually
from tests.pages.browsing import ADA, BEN, CHAT, HOSTILE, Visitor, read, typed_in


@pytest.fixture
def visitor(routed: Bench) -> Visitor:
    return Visitor(bench=routed)


@pytest.fixture
def own(start_sandbox: Callable[..., Bench], receiver: Receiver) -> Visitor:
    """A sandbox of the test's own, whose clock it may move."""
    bench = start_sandbox()
    bench.patch_account(client_url=receiver.url)
    return Visitor(bench=bench)


def advance(visitor: Visitor, seconds: float) -> None:
    moved = visitor.bench.call("PUT", "/clock", {"action": "advance", "seconds": seconds})
    assert moved.status_code == 200, moved.text


def text(visitor: Visitor, said: str = "yesterday", **more: object) -> Any:
    """A text from the handset; its webhook delivery after the first attempt."""
    return visitor.bench.post(f"/handsets/{ADA}/send", {"text": said, "to": "48974", **more})["webhook_delivery"]


def reply(visitor: Visitor, said: str = "yesterday") -> Any:
    return visitor.bench.post(f"/handsets/{ADA}/reply", {"text": said})["webhook_delivery"]


def bubble(page: str, identifier: str) -> str:
    """How a bubble reads."""
    end = '<li class="(?:bubble|session|older)|<form class="composer"'
    found = re.search(rf'<li class="bubble[^>]* id="{identifier}"(?:.(?!{end}))*', page, re.DOTALL)
    assert found is not None, f"there is no bubble {identifier}"
    return read(found[0])


def points(page: str, delivery: str) -> list[str]:
    """The points of a webhook delivery's timeline, as they read."""
    return [read(each) for each in re.findall(rf'<li[^>]* id="{delivery}-(?:a\d+|next)">.*?</li>', page, re.DOTALL)]


def chips(page: str) -> list[str]:
    return [html.unescape(each) for each in re.findall(r'<button[^>]* name="quick" value="([^"]*)"', page)]


# The timeline -------------------------------------------------------------------------------------------------------


def test_attempts_are_a_timeline_that_ends_with_the_moment_of_the_next(own: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(503, b'{"error": "<maintenance>"}')
    owed = text(own)
    advance(own, 30)
    for path in (CHAT, f"/webhooks/{owed['id']}"):
        first, second, *_, last = points(own.page(path), owed["id"])
        assert re.fullmatch(r'503 \+0 s \d\d:\d\d:\d\d \d+ ms attempt 1, scheduled \{"error": "<maintenance>"\}', first)
        assert second.startswith("503 +30 s")
        assert re.fullmatch(r"next at \d\d:\d\d:\d\d , in 30 s of a clock that stands still retry 2 of 8", last)


def test_an_attempt_by_hand_says_so(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(503)
    owed = text(visitor)
    visitor.bench.post(f"/webhook-deliveries/{owed['id']}/attempt", status=200)
    assert "attempt 2, by hand" in points(visitor.page(CHAT), owed["id"])[1]


ENDINGS = [
    (200, "delivered: nothing more follows"),
    (404, "404 is not retried, only 429, 5xx and no answer are: nothing more follows by itself"),
    (302, "a redirect is not followed, and not retried: nothing more follows by itself"),
]


@pytest.mark.parametrize(("status", "words"), ENDINGS)
def test_a_timeline_says_why_no_attempt_follows(visitor: Visitor, receiver: Receiver, status: int, words: str) -> None:
    receiver.answer_with(status)
    owed = text(visitor)
    assert points(visitor.page(CHAT), owed["id"])[1:] == [words]
    assert points(visitor.page(f"/webhooks/{owed['id']}"), owed["id"])[1:] == [words]


def test_an_exhausted_and_a_cancelled_webhook_say_that_nothing_follows(own: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(500)
    exhausted = text(own)
    advance(own, 3600)
    cancelled = text(own)
    own.done(f"/webhooks/{cancelled['id']}/cancel")
    page = own.page(CHAT)
    assert len(points(page, exhausted["id"])) == 10
    assert points(page, exhausted["id"])[-1] == "that was the last retry: nothing more follows by itself"
    assert points(page, cancelled["id"])[-1] == "cancelled: nothing more follows"


@pytest.mark.parametrize(("size", "words"), [(300, "All 300 characters"), (20_000, "The first 16,384 characters")])
def test_an_answer_that_is_not_kept_whole_is_not_called_whole(
    visitor: Visitor, receiver: Receiver, size: int, words: str
) -> None:
    receiver.answer_with(404, b"x" * size)
    assert words in visitor.text(f"/webhooks/{text(visitor)['id']}")


def test_an_account_without_retries_says_so(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.patch_account(retry=[])
    receiver.answer_with(500)
    owed = text(visitor)
    assert points(visitor.page(CHAT), owed["id"])[-1].startswith("the account has no retries")


def test_one_that_waits_for_the_one_before_says_so(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.patch_account(order="conversation")
    receiver.answer_with(500)
    text(visitor)
    waiting = text(visitor, wait=False)
    wanted = "waits until the webhook delivery before it in this conversation has ended"
    assert points(visitor.page(CHAT), waiting["id"]) == [wanted]


# Cause and effect ---------------------------------------------------------------------------------------------------


def test_a_reply_and_what_was_sent_upon_it_name_each_other(visitor: Visitor) -> None:
    question = visitor.bench.sent(message="When?")
    owed = reply(visitor)
    follow_up = visitor.bench.sent(message="Which film?")
    page = visitor.page(CHAT)
    told = bubble(page, owed["message_id"])
    assert re.search(rf"Your application answered 200 after \d+ ms and sent {follow_up} “ Which film\? ”", told)
    assert f"Sent after the reply {owed['message_id']} “ yesterday ”" in bubble(page, follow_up)
    assert "the reply" not in bubble(page, question)


def test_milliseconds_are_told_where_the_clock_runs(start_sandbox: Callable[..., Bench], receiver: Receiver) -> None:
    bench = start_sandbox(clock="system")
    bench.patch_account(client_url=receiver.url)
    own = Visitor(bench=bench)
    bench.sent()
    owed = reply(own)
    follow_up = bench.sent(message="Which film?")
    page = own.page(CHAT)
    assert re.search(r"Which film\? ” (\d+ ms|\d+\.\d s) after the reply", bubble(page, owed["message_id"]))
    assert re.search(r"Sent (\d+ ms|\d+\.\d s) after the reply", bubble(page, follow_up))


def test_nothing_is_claimed_of_what_the_application_cannot_have_read(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.sent()
    visitor.bench.post("/faults", {"on": "webhook", "effect": {"drop": "refused"}})
    lost = reply(visitor)
    same, other = visitor.bench.sent(message="Are you there?"), visitor.bench.sent(session_id="another")
    page = visitor.page(CHAT)
    for each in (lost["message_id"], same, other):
        assert "the reply" not in bubble(page, each)


def test_an_answer_that_is_not_there_yet_is_not_spoken_of(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.sent()
    receiver.hold()
    owed = visitor.bench.post(f"/handsets/{ADA}/reply", {"text": "yesterday", "wait": False})["webhook_delivery"]
    receiver.wait_for(1)
    page = visitor.page(CHAT)
    assert "Your application" not in bubble(page, owed["message_id"])
    sent = visitor.bench.sent(message="Which film?")
    told = bubble(visitor.page(CHAT), owed["message_id"])
    receiver.release()
    assert f"Your application sent {sent}" in told


def test_a_cause_on_the_page_before_is_linked_there(visitor: Visitor) -> None:
    visitor.bench.sent()
    owed = reply(visitor)
    sent = [visitor.bench.sent(message=f"part {number}") for number in range(BUBBLES)]
    page = visitor.page(CHAT)
    assert f'id="{owed["message_id"]}"' not in page
    assert f"Sent after the reply {owed['message_id']}" in bubble(page, sent[0])
    link = f"{CHAT}?account={visitor.bench.account}&amp;at={owed['message_id']}#{owed['message_id']}"
    assert f'href="{link}"' in page


def test_a_redelivery_is_named_as_what_was_answered_last(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.sent()
    receiver.answer_with(404)
    owed = reply(visitor)
    receiver.answer_with(200)
    again = visitor.bench.post(f"/webhook-deliveries/{owed['id']}/redeliver")
    visitor.bench.sent(message="Which film?")
    told = bubble(visitor.page(CHAT), owed["message_id"])
    assert re.search(rf"answered 200 after \d+ ms \({again['id']}, attempt 1\) and sent", told)


# Edited payloads ----------------------------------------------------------------------------------------------------


def test_an_edited_payload_is_posted_marked_and_warned_about(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(404)
    owed = text(visitor, "₦5 \u202e<b>")
    page = visitor.page(f"/webhooks/{owed['id']}")
    prefilled = typed_in(page, "body")
    assert json.loads(prefilled) == json.loads(owed["body"])
    assert "\u202e" not in page
    where = visitor.done(f"/webhooks/{owed['id']}/redeliver", body='{"type": "two-way sms", "message": 5}\r\n')
    assert receiver.wait_for(2)[1].body == b'{"type": "two-way sms", "message": 5}\n'
    assert '<span class="chip">edited</span>' in visitor.page(where)
    page = visitor.text(where)
    assert f"Somebody edited these bytes; a redelivery after {owed['id']} ." in page
    assert "Without telco, from, to, session_id and sent_date, which 9bits always sends." in page
    assert "Not a string: message." in page
    assert "Delivered again as" in visitor.text(f"/webhooks/{owed['id']}")
    told = bubble(visitor.page(CHAT), owed["message_id"])
    assert f"{where.rpartition('/')[2]} edited again, after {owed['id']}" in told
    assert f"{where.rpartition('/')[2]} again, edited" in visitor.text("/webhooks")
    assert visitor.bench.get(f"/webhook-deliveries/{where.rpartition('/')[2]}")["edited"] is True


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("no JSON", "This is not JSON: Expecting value at line 1, column 1.", id="no JSON"),
        pytest.param("", "This is not JSON:", id="nothing"),
        pytest.param("[1]", "This is JSON, but not an object.", id="no object"),
        pytest.param(HOSTILE, "This is not JSON:", id="hostile"),
    ],
)
def test_any_text_can_be_posted_and_is_shown_literally(
    visitor: Visitor, receiver: Receiver, body: str, words: str
) -> None:
    receiver.answer_with(404)
    owed = text(visitor)
    where = visitor.done(f"/webhooks/{owed['id']}/redeliver", body=body, **{"from": "webhook"})
    assert receiver.wait_for(2)[1].body == body.encode()
    eventually(lambda: "rejected 404" in visitor.text(where))
    page = visitor.page(where)
    assert words in read(page)
    assert typed_in(page, "body") == body


def test_a_payload_that_is_sent_back_as_it_was_is_not_called_edited(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(404)
    owed = text(visitor)
    body = typed_in(visitor.page(f"/webhooks/{owed['id']}"), "body")
    where = visitor.done(f"/webhooks/{owed['id']}/redeliver", body=body)
    assert visitor.bench.get(f"/webhook-deliveries/{where.rpartition('/')[2]}")["edited"] is False


def test_a_payload_that_cannot_be_posted_is_refused_in_words(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(404)
    owed = text(visitor)
    told = visitor.told(f"/webhooks/{owed['id']}/redeliver", body="₦" * 21_846)
    assert "body has 65,538 bytes as UTF-8. At most 65,536 are accepted." in told


def test_what_is_still_owed_offers_no_edited_redelivery(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(503)
    owed = text(visitor)
    assert 'name="body"' not in visitor.page(f"/webhooks/{owed['id']}")
    assert "still owed" in visitor.told(f"/webhooks/{owed['id']}/redeliver", 409, body="{}")


def test_what_came_of_an_edited_payload_is_no_finding(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.sent()
    owed = reply(visitor)
    visitor.bench.sent(message="Which film?")
    assert visitor.bench.get("/findings")["findings"] == []
    visitor.bench.post(f"/webhook-deliveries/{owed['id']}/redeliver", {"body": owed["body"].replace("yes", "Yes")})
    visitor.bench.sent(message="Which film?")
    assert visitor.bench.get("/findings")["findings"] == []
    visitor.bench.sent(message="How many stars?")
    again = reply(visitor, "5")
    visitor.bench.sent(message="Thank you")
    visitor.bench.post(f"/webhook-deliveries/{again['id']}/redeliver")
    visitor.bench.sent(message="Thank you")
    assert [each["code"] for each in visitor.bench.get("/findings")["findings"]] == ["follow_up_twice"]


# Copies ------------------------------------------------------------------------------------------------------------


def test_a_refused_call_can_be_copied_as_curl_from_its_bubble(visitor: Visitor) -> None:
    visitor.bench.sent()
    visitor.bench.submit(sent_date="yesterday")
    page = visitor.page(CHAT)
    refused = re.search(r'<li class="bubble mt refused" id="(r\d+)"', page)
    assert refused is not None
    told = bubble(page, refused[1])
    assert "Copy as curl" in told
    assert f"curl {visitor.bench.sandbox.url}/ng/v1/sendsms" in told


def test_the_conversation_up_to_a_message_can_be_had_as_a_test(visitor: Visitor) -> None:
    first = visitor.bench.sent(message="When?")
    visitor.bench.sent(message="Which film?")
    path = f"{CHAT}/as/pytest"
    assert f"{path}?account={visitor.bench.account}&amp;until={first}" in visitor.page(CHAT)
    upto = visitor.text(path, until=first)
    assert "When?" in upto
    assert "Which film?" not in upto
    assert "Which film?" in visitor.text(path)


# Quick replies and sessions -----------------------------------------------------------------------------------------


def test_quick_replies_are_what_the_question_lists_and_stop(visitor: Visitor) -> None:
    visitor.bench.sent(message="Did you like it? 1. Yes 2. No")
    page = visitor.page(CHAT)
    assert chips(page) == ["1", "2", "STOP"]
    assert "1 Yes" in read(page)


def test_quick_replies_hold_what_the_handset_said_lately_six_at_most(visitor: Visitor) -> None:
    assert chips(visitor.page(CHAT)) == []
    for said in ("one", "two", "two", "Stop", "three", "four", "five"):
        text(visitor, said)
    visitor.bench.sent(message="Reply 1 for Yes, 2 for No. Reply STOP to end.")
    assert chips(visitor.page(CHAT)) == ["1", "2", "five", "four", "three", "STOP"]


def test_a_quick_reply_sends_itself_and_not_what_was_typed(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.sent(message="Yes or no?", session_id="67543uhn3")
    assert visitor.done(CHAT, text="half a sen", quick="1", session="last") == CHAT
    posted = json.loads(receiver.wait_for(1)[0].body)
    assert (posted["message"], posted["session_id"]) == ("1", "67543uhn3")


def test_hostile_texts_are_no_quick_replies_or_literal_ones(visitor: Visitor) -> None:
    for said in ("a\u202eb", '"><script>x</script>'):
        text(visitor, said)
    visitor.bench.sent(message='Choose: 1. "><img src=x onerror=y> 2. \u202eNo')
    page = visitor.page(CHAT)
    assert '"><script>x</script>' in chips(page)
    assert "\u202e" not in page


def test_a_late_reply_goes_into_an_earlier_session(visitor: Visitor, receiver: Receiver) -> None:
    for session in ("old", "older", HOSTILE, "new"):
        visitor.bench.sent(session_id=session)
    page = visitor.page(CHAT)
    offered = re.findall(r'<option id="in-(\d+)" value="\1">([^<]*)</option>', page)
    assert [html.unescape(label).rpartition(",")[0] for _, label in offered] == [HOSTILE, "older", "old", "new"]
    [number] = [number for number, label in offered if label.startswith("old,")]
    visitor.done(CHAT, text="late", session="earlier", earlier=number)
    receiver.wait_for(1)
    visitor.done(CHAT, text="now", session="last", earlier=number)
    assert [json.loads(each.body)["session_id"] for each in receiver.wait_for(2)] == ["old", "new"]


def test_a_conversation_with_one_session_offers_no_earlier_one(visitor: Visitor) -> None:
    visitor.bench.sent()
    reply(visitor)
    assert 'name="earlier"' not in visitor.page(CHAT)


@pytest.mark.parametrize("earlier", ["999999999", "", "x"])
def test_a_session_that_is_not_there_is_complained_about_and_the_text_kept(visitor: Visitor, earlier: str) -> None:
    visitor.bench.sent()
    answer = visitor.post(CHAT, text="late", session="earlier", earlier=earlier)
    assert answer.status_code == 400
    assert typed_in(answer.text, "text") == "late"
    assert 'class="error"' in answer.text


def test_a_session_of_another_handset_is_not_there(visitor: Visitor) -> None:
    visitor.bench.sent()
    foreign = visitor.bench.sent(to=BEN)
    assert "That session is no longer kept" in visitor.told(CHAT, text="late", session="earlier", earlier=foreign)


# Permanent links ----------------------------------------------------------------------------------------------------


def shown(page: str) -> list[str]:
    return re.findall(r'<li class="bubble [^"]*" id="(m\d+)"', page)


def test_a_permanent_link_shows_the_page_that_holds_the_message(visitor: Visitor) -> None:
    sent = [visitor.bench.sent(message=f"message {number}") for number in range(70)]
    for place in (0, 1, 20, 35, 59, 60, 69):
        page = visitor.page(CHAT, at=sent[place])
        around = shown(page)
        assert sent[place] in around
        start = sent.index(around[0])
        assert around == sent[start : start + len(around)]
        assert len(around) == BUBBLES or place < BUBBLES
        assert ("Older messages" in page) is (start > 0)
        assert ("Newest messages" in page) is (around[-1] != sent[-1])
    assert shown(visitor.page(CHAT, at="999999999")) == sent[-BUBBLES:]
    assert shown(visitor.page(CHAT, before=sent[40])) == sent[40 - BUBBLES : 40]


def test_every_place_that_names_a_message_links_to_it_for_good(visitor: Visitor) -> None:
    sent = visitor.bench.sent()
    owed = reply(visitor)
    account = f"account={visitor.bench.account}"
    for path, message in (
        (f"/requests/r{sent[1:]}", sent),
        (f"/webhooks/{owed['id']}", owed["message_id"]),
        (CHAT, sent),
    ):
        assert f'href="{CHAT}?{account}&amp;at={message}#{message}"' in visitor.page(path)
    answer = visitor.get(f"/messages/{sent}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{CHAT}?{account}&at={sent}#{sent}")


def test_a_finding_leads_to_the_messages_that_it_is_about(visitor: Visitor) -> None:
    visitor.bench.sent()
    owed = reply(visitor)
    first = visitor.bench.sent(message="Which film?")
    twice = visitor.bench.post(f"/webhook-deliveries/{owed['id']}/redeliver")
    again = visitor.bench.sent(message="Which film?")
    for path in (CHAT, f"/webhooks/{twice['id']}"):
        page = visitor.page(path)
        for message in (owed["message_id"], first, again):
            assert f'href="/messages/{message}?account={visitor.bench.account}">{message}</a>' in page


def test_a_message_of_nobody_or_of_another_account_is_not_found(visitor: Visitor, sandbox_server: Any) -> None:
    sent = visitor.bench.sent()
    assert visitor.get("/messages/m999999999").status_code == 404
    assert visitor.get("/messages/x").status_code == 404
    other = sandbox_server.request("GET", f"/messages/{sent}", allow_redirects=False)
    assert other.status_code == 404


def test_a_button_far_back_leads_back_to_its_place(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(404)
    owed = text(visitor)
    message = owed["message_id"]
    for number in range(40):
        visitor.bench.sent(message=f"message {number}")
    page = visitor.page(CHAT, at=message)
    assert f'<input type="hidden" name="at" value="{message[1:]}">' in page
    answer = visitor.post(f"/webhooks/{owed['id']}/redeliver", **{"from": "thread", "at": message[1:]})
    assert answer.headers["location"] == f"{CHAT}?account={visitor.bench.account}&at={message}#{message}"
    receiver.wait_for(2)


@pytest.mark.parametrize("place", ["before", "at"])
def test_a_handset_that_is_changed_far_back_leads_back_to_its_place(visitor: Visitor, place: str) -> None:
    message = visitor.bench.sent()
    number = message[1:]
    for form in ({"label": "Ada", "telco": "glo"}, {"state": "off"}):
        answer = visitor.post(f"{CHAT}/handset", **form, **{"from": "thread", place: number})
        back = f"{CHAT}?account={visitor.bench.account}&{place}={message if place == 'at' else number}"
        assert answer.headers["location"] == back
        page = visitor.page(CHAT, **{place: message if place == "at" else number})
        assert page.count(f'<input type="hidden" name="{place}" value="{number}">') >= 2


def test_a_label_that_is_too_long_leaves_the_page_alive_and_the_telco_chosen(visitor: Visitor) -> None:
    page = visitor.post(f"{CHAT}/handset", label="L" * 81, telco="glo").text
    assert "At most 80 are accepted" in page
    assert "<option selected>glo</option>" in page
    here = re.search(r'data-here="([^"]*)"', page)
    assert here is not None
    assert html.unescape(here[1]) == f"{CHAT}?account={visitor.bench.account}"
