"""A handset in a test's hand: waits, what their failures say, replies and the webhooks that they become."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.errors import Conflict
from sandbox.testing import Handset, Sandbox, Server
from sandbox.testkit.transport import Refused
from tests.conftest import Receiver
from tests.testkit.conftest import failure, refuse, submit, survey

# Waiting


def test_the_same_wait_twice_gives_the_next_message(ninebits: Sandbox, handset: Handset) -> None:
    for text in ("first", "second"):
        submit(ninebits, handset.number, text)
    assert [handset.wait_for_message().text for _ in range(2)] == ["first", "second"]
    handset.assert_no_message(within=0.01)


def test_a_wait_ends_with_a_message_that_comes_later(ninebits: Sandbox, handset: Handset) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(handset.wait_for_message, "*cinema?")
        submit(ninebits, handset.number, "Been to the cinema?")
        assert waiting.result().text == "Been to the cinema?"


def test_a_wait_tells_handsets_apart(ninebits: Sandbox, handset: Handset) -> None:
    other = ninebits.handset()
    submit(ninebits, other.number, "for the other")
    submit(ninebits, handset.number, "for this one")
    assert handset.wait_for_message().text == "for this one"
    assert ninebits.wait_for().text == "for the other"
    assert ninebits.wait_for(to=handset.number).text == "for this one"


@pytest.mark.parametrize(
    "filters",
    [
        {"pattern": "(?i)CINEMA"},
        {"pattern": "CINEMA", "ignore_case": True},
        {"text": "*Cinema*", "ignore_case": True},
        {"session_id": "the-session"},
        {"from_": "48975"},
        {"encoding": "UCS-2"},
        {"segments": 2},
    ],
)
def test_a_wait_chooses_by_every_filter(ninebits: Sandbox, handset: Handset, filters: dict[str, Any]) -> None:
    submit(ninebits, handset.number, "something else")
    text = f"The cinema ₦ {'x' * 70}"
    wanted = submit(ninebits, handset.number, text, session_id="the-session", from_="48975")
    assert handset.wait_for_message(**filters).id == wanted


def test_several_messages_are_waited_for_at_once(ninebits: Sandbox, handset: Handset) -> None:
    for text in ("1", "2", "3"):
        submit(ninebits, handset.number, text)
    assert [each.text for each in handset.wait_for_messages(2)] == ["1", "2"]
    assert handset.wait_for_message().text == "3"


def test_messages_and_the_last_one_move_no_wait_forward(ninebits: Sandbox, handset: Handset) -> None:
    assert handset.last is None
    assert handset.messages() == []
    for text in ("1", "2"):
        submit(ninebits, handset.number, text)
    assert [each.text for each in handset.messages()] == ["1", "2"]
    assert [each.text for each in handset.messages("2")] == ["2"]
    assert handset.last is not None
    assert handset.last.text == "2"
    assert handset.wait_for_message().text == "1"


def test_a_handset_that_is_off_gets_its_messages_when_it_is_on(ninebits: Sandbox, handset: Handset) -> None:
    ninebits.client.change_handset(handset.number, state="off")
    submit(ninebits, handset.number, "hello")
    handset.assert_no_message(within=0)
    assert "wanted  'arrived'" in failure(lambda: handset.wait_for_message(timeout=0.01))
    ninebits.client.change_handset(handset.number, state="on")
    assert handset.wait_for_message().text == "hello"


def test_a_misspelt_filter_is_named_with_the_right_one(handset: Handset) -> None:
    with pytest.raises(TypeError, match="Did you mean pattern"):
        handset.wait_for_message(patern="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Use one of: text, pattern"):
        handset.wait_for_message(whatever="x")  # type: ignore[call-arg]


# What a failure says


def test_a_failure_shows_what_was_wanted_what_came_and_the_nearest_miss(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "Which film did you see?")
    said = failure(lambda: handset.wait_for_message("*cinema?*", timeout=0.01))
    assert said.startswith(f"No message came to {handset.number} within 0.01 s, with:\n    text         '*cinema?*'\n")
    assert re.search(r"Nearest to it:\n    m\d+ +48974 → \d+ .* 'Which film did you see\?'\n", said)
    assert re.search(r"text +wanted +'\*cinema\?\*'\n +found +'Which film did you see\?'\n", said)
    assert "The conversation:" in said
    assert "application  Which film did you see?" in said


def test_the_handset_s_own_texts_are_no_near_misses(routed: Sandbox, handset: Handset) -> None:
    handset.send("*cinema?*", "48974")
    assert "Nearest" not in failure(lambda: handset.wait_for_message("*cinema?*", timeout=0.01))


def test_a_failure_names_calls_that_were_refused_and_why(ninebits: Sandbox, handset: Handset) -> None:
    refuse(ninebits)
    said = failure(lambda: handset.wait_for_message(timeout=0.01))
    assert "The gateway refused:" in said
    assert "a national number" in said
    assert "Send the number with its country code" in said


def test_a_failure_names_calls_with_a_token_of_nobody(ninebits: Sandbox, handset: Handset) -> None:
    refuse(ninebits, token="the-wrong-token")
    said = failure(lambda: handset.wait_for_message(timeout=0.01))
    assert "does the application use ninebits.token?" in said


def test_a_failure_without_any_call_says_where_the_gateway_is(ninebits: Sandbox, handset: Handset) -> None:
    said = failure(lambda: handset.wait_for_message(timeout=0.01))
    assert f"The application has not called the gateway, POST {ninebits.url}/ng/v1/sendsms." in said


def test_a_failure_shows_the_application_s_answers_to_webhooks(
    routed: Sandbox, handset: Handset, receiver: Receiver
) -> None:
    submit(routed, handset.number, "Been to the cinema?")
    handset.wait_for_message()
    receiver.answer_next(500)
    handset.reply("yesterday")
    said = failure(lambda: handset.wait_for_message(timeout=0.01, pattern="thank"))
    assert "answered 500" in said


def test_a_failure_names_a_message_that_came_before_the_cursor(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "thank you")
    submit(ninebits, handset.number, "goodbye")
    handset.wait_for_message("goodbye")
    said = failure(lambda: handset.wait_for_message("thank you", timeout=0.01))
    assert re.search(r"came before the message that was waited for last:\n.*'thank you'", said)


def test_a_failure_counts_what_came(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "one")
    said = failure(lambda: handset.wait_for_messages(2, timeout=0.01))
    assert said.startswith(f"1 of 2 messages came to {handset.number} within 0.01 s.")


def test_a_failure_shows_no_control_character(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "red \x1b[31m and \u202e reversed\r\n\x07")
    said = failure(lambda: handset.wait_for_message("nothing", timeout=0.01))
    assert all(each.isprintable() or each == "\n" for each in said)
    assert "\\x1b[31m" in said


def test_an_unwanted_message_is_shown(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "surprise")
    said = failure(lambda: handset.assert_no_message(within=0.01))
    assert said.startswith(f"1 message came to {handset.number}, and none should.")
    assert "'surprise'" in said
    handset.assert_no_message("something else", within=0)


# Replying


def test_a_reply_returns_after_the_application_answered(routed: Sandbox, handset: Handset, receiver: Receiver) -> None:
    submit(routed, handset.number, "Been to the cinema?", session_id="s1")
    receiver.answer_with(200, b'{"ok": true}')
    webhook = handset.reply("yesterday")
    assert (webhook.status_code, webhook.state, webhook.response_body) == (200, "delivered", '{"ok": true}')
    sent = json.loads(receiver.wait_for(1)[0].body)
    assert (sent["from"], sent["message"], sent["session_id"]) == (handset.number, "yesterday", "s1")
    assert json.loads(webhook.body) == sent


def test_a_text_out_of_the_blue_opens_a_session(routed: Sandbox, handset: Handset, receiver: Receiver) -> None:
    webhook = handset.send("CINEMA", "48974")
    assert webhook.state == "delivered"
    assert json.loads(receiver.wait_for(1)[0].body)["to"] == "48974"


def test_a_handset_that_nobody_texted_replies_to_the_account_s_shortcode(server: Server, receiver: Receiver) -> None:
    with server.account(shortcodes=["48975", "48976"], client_url=receiver.url) as ninebits:
        assert ninebits.shortcode == "48975"
        ninebits.handset().reply("hello")
        ninebits.handset().send("hello")
        assert {json.loads(each.body)["to"] for each in receiver.wait_for(2)} == {"48975"}


def test_a_reply_from_a_handset_that_is_off_is_refused(routed: Sandbox, handset: Handset) -> None:
    routed.client.change_handset(handset.number, state="off")
    with pytest.raises(Refused, match="is off"):
        handset.reply("hello")


def test_attempts_are_those_of_the_moment_in_which_they_are_read(
    routed: Sandbox, handset: Handset, receiver: Receiver
) -> None:
    receiver.answer_with(500)
    webhook = handset.send("1", "48974", wait=False)
    routed.clock.advance(3600)
    assert [each.offset_s for each in webhook.attempts] == [0, 30, 60, 120, 240, 480, 960, 1920, 3600]
    assert (webhook.state, webhook.status_code) == ("exhausted", 500)


def test_a_webhook_is_attempted_by_hand_redelivered_and_cancelled(
    routed: Sandbox, handset: Handset, receiver: Receiver
) -> None:
    receiver.answer_next(500)
    webhook = handset.send("1", "48974")
    webhook.attempt()
    assert [each.status_code for each in webhook.attempts] == [500, 200]
    again = webhook.redeliver()
    assert again.id != webhook.id
    assert len({each.body for each in receiver.wait_for(3)}) == 1
    edited = webhook.redeliver(body="no JSON ₦")
    assert (edited.body, receiver.wait_for(4)[3].body) == ("no JSON ₦", "no JSON ₦".encode())
    receiver.answer_next(500)
    other = handset.send("2", "48974")
    other.cancel()
    assert other.state == "cancelled"


def test_what_a_webhook_caused_ends_with_the_handset_s_next_text(routed: Sandbox, handset: Handset) -> None:
    first = handset.send("1", "48974")
    submit(routed, handset.number, "a")
    submit(routed, handset.number, "b")
    submit(routed, routed.handset().number, "for somebody else")
    second = handset.send("2", "48974")
    submit(routed, handset.number, "c")
    assert [each.text for each in first.caused] == ["a", "b"]
    assert [each.text for each in second.caused] == ["c"]


def test_a_text_without_an_application_says_what_to_set(ninebits: Sandbox, handset: Handset) -> None:
    with pytest.raises(Conflict, match=r"ninebits\.client_url = "):
        handset.send("1", "48974")


def test_a_conversation_is_one_call(ninebits: Sandbox, handset: Handset) -> None:
    ninebits.client_url = survey(ninebits)
    handset.send("CINEMA", "48974")
    came = handset.converse([("*cinema?", "yesterday"), ("*film?", "Things Fall Apart"), "thank*"])
    assert [each.text for each in came] == ["Been to the cinema?", "Which film?", "thank you"]
    handset.send("CINEMA", "48974")
    assert (
        len(handset.converse(["*cinema?", "yesterday", "*film?", "Things Fall Apart", "THANK*"], ignore_case=True)) == 3
    )


def test_a_conversation_ends_where_the_application_takes_no_reply(
    routed: Sandbox, handset: Handset, receiver: Receiver
) -> None:
    submit(routed, handset.number, "Been to the cinema?")
    receiver.answer_with(404)
    said = failure(lambda: handset.converse([("*cinema?", "yesterday"), "never"]))
    assert said.startswith("The application did not take the reply 'yesterday', which is rejected.")
    assert "answered 404" in said
