"""An account in a test's hand: what was sent and refused, applications that are served, and errors in the end."""

import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from textwrap import dedent
from typing import Any

import pytest

from sandbox import testing
from sandbox.errors import Unreachable
from sandbox.testing import Handset, Sandbox, Server
from sandbox.testkit.transport import Refused
from sandbox.wire.numbers import TELCOS, parse_msisdn, telco_of
from tests.conftest import PATIENCE_S, Receiver
from tests.processes import own_environment
from tests.testkit.conftest import failure, refuse, submit, survey

# Verifying


def test_what_was_sent_is_asserted_whatever_was_waited_for(ninebits: Sandbox, handset: Handset) -> None:
    for text in ("one", "two", "two"):
        submit(ninebits, handset.number, text)
    handset.wait_for_messages(3)
    assert [each.text for each in ninebits.assert_sent("one")] == ["one"]
    assert len(ninebits.assert_sent("two", times=2, to=handset.number)) == 2
    ninebits.assert_sent(at_least=2, at_most=3)
    ninebits.assert_not_sent("three")
    assert ninebits.assert_sent("three", times=0) == []


def test_what_was_not_sent_as_often_is_told(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "one")
    said = failure(lambda: ninebits.assert_sent("one", times=2))
    assert said.startswith("1 message came; wanted exactly 2, with:")
    assert failure(lambda: ninebits.assert_sent("two")).startswith("No message came; wanted at least 1, with:")
    assert "'one'" in failure(lambda: ninebits.assert_not_sent("one"))


def test_the_account_s_waits_go_forward_too(ninebits: Sandbox) -> None:
    for text in ("first", "second", "third"):
        submit(ninebits, ninebits.handset().number, text)
    assert ninebits.wait_for().text == "first"
    assert [each.text for each in ninebits.wait_for_messages(2)] == ["second", "third"]


def test_verify_says_so_and_raises_nothing(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "one")
    assert ninebits.verify("one", exactly=1)
    missed = ninebits.verify("two")
    assert not missed
    assert missed.near_misses[0].differences[0].found == "one"
    assert not ninebits.verify("one", after=missed.seq)


def test_handsets_texts_are_no_messages_of_the_application(routed: Sandbox, handset: Handset) -> None:
    handset.send("hello", "48974")
    routed.assert_not_sent()
    assert not routed.verify()
    assert [each.direction for each in routed.messages()] == ["mo"]
    assert routed.wait_for(direction="mo").text == "hello"


# Requests, webhooks


def test_requests_hold_what_was_accepted_and_what_was_refused(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "one")
    refuse(ninebits)
    refuse(ninebits, token="the-wrong-token")
    assert [each.status_code for each in ninebits.requests] == [200, 400, 401]
    first, second = ninebits.refused
    assert (first.problems[0].field, first.problems[0].code) == ("to", "msisdn_not_international")
    assert second.problems[0].code == "unknown_token"


def test_webhook_deliveries_are_listed_with_their_attempts(
    routed: Sandbox, handset: Handset, receiver: Receiver
) -> None:
    receiver.answer_next(404)
    handset.send("1", "48974")
    handset.send("2", "48974")
    assert [each.status_code for each in routed.webhook_deliveries] == [404, 200]


# The account


def test_replies_go_to_an_application_that_is_served_here(ninebits: Sandbox, handset: Handset) -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    ninebits.client_url = app
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", ninebits.client_url or "")
    assert handset.send("1", "48974").state == "delivered"
    base = ninebits.serve(app, "/sms")
    assert ninebits.client_url == f"{base}/sms"
    assert handset.send("2", "48974").state == "delivered"
    assert paths == ["/", "/sms"]


def test_an_application_is_served_until_the_account_ends(server: Server) -> None:
    before = threading.active_count()
    with server.account() as ninebits:
        ninebits.client_url = survey(ninebits)
        ninebits.client_url = None
        assert ninebits.client_url is None
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_settings_of_an_account_are_those_of_its_table(server: Server) -> None:
    with server.account(strict=False, shortcodes=["48974"], client_url="http://127.0.0.1:9/sms") as ninebits:
        body = {"from": "48974", "to": ninebits.handset().number, "message": "hello"}
        assert ninebits.client.submit(body, token=ninebits.token)["status_code"] == 200
        assert ninebits.client_url == "http://127.0.0.1:9/sms"
    with pytest.raises(Refused, match="Did you mean shortcodes"), server.account(shortcode="1"):
        pass


def test_accounts_do_not_see_each_other(server: Server, ninebits: Sandbox, handset: Handset) -> None:
    with server.account() as other:
        submit(other, handset.number, "theirs")
        assert other.token != ninebits.token
        assert ninebits.messages() == []
        assert [each.text for each in other.messages()] == ["theirs"]


@pytest.mark.parametrize("telco", TELCOS)
def test_handsets_have_valid_numbers_of_their_operator(ninebits: Sandbox, telco: str) -> None:
    one, other = ninebits.handset(telco=telco), ninebits.handset(telco=telco)
    assert one.number != other.number
    assert parse_msisdn(one.number) == one.number
    assert {telco_of(each) for each in (parse_msisdn(one.number), parse_msisdn(other.number))} == {telco}  # type: ignore[arg-type]


def test_a_handset_may_have_a_label_or_a_number_of_ones_own(ninebits: Sandbox) -> None:
    ada = ninebits.handset(label="Ada")
    assert ninebits.client.get("handsets", ada.number)["label"] == "Ada"
    ported = ninebits.handset("2348020000000", telco="glo")
    assert ninebits.client.get("handsets", ported.number)["telco"] == "glo"
    with pytest.raises(ValueError, match="wanted mtn, airtel"):
        ninebits.handset(telco="vodafone")


def test_a_reset_forgets_what_was_recorded(ninebits: Sandbox, handset: Handset) -> None:
    submit(ninebits, handset.number, "one")
    ninebits.reset()
    assert ninebits.messages() == []
    submit(ninebits, handset.number, "two")
    assert handset.wait_for_message().text == "two"


def test_a_transcript_is_text_or_can_be_played_again(routed: Sandbox, handset: Handset) -> None:
    submit(routed, handset.number, "Been to the cinema?")
    handset.reply("yesterday")
    submit(routed, routed.handset().number, "hello")
    whole = routed.transcript()
    assert re.search(r"application +Been to the cinema\?\n.* handset +yesterday\n", whole)
    assert "hello" in whole
    assert "hello" not in routed.transcript(handset)
    assert "scenario:" in routed.transcript(handset, "scenario")
    compile(routed.transcript(handset, "pytest"), "recorded", "exec")


def test_findings_are_worth_a_look(routed: Sandbox, handset: Handset, receiver: Receiver) -> None:
    receiver.answer_with(200, b"thanks")
    handset.send("1", "48974")
    assert [each.code for each in routed.findings] == ["answer_not_json"]


def test_tokens_are_not_in_what_objects_print(ninebits: Sandbox, handset: Handset) -> None:
    for each in (ninebits, handset, ninebits.clock, ninebits.faults):
        assert ninebits.token not in repr(each)
        assert type(each).__name__ in repr(each)


# When a test is over


def test_a_clean_test_has_nothing_to_complain_about(routed: Sandbox, handset: Handset) -> None:
    submit(routed, handset.number, "hello")
    handset.reply("hi")
    routed.assert_clean()


def test_a_refused_call_that_nobody_looked_at_is_complained_about(ninebits: Sandbox) -> None:
    refuse(ninebits)
    said = failure(ninebits.assert_clean)
    assert "a national number" in said
    assert "allow_refused=True" in said
    ninebits.assert_clean(allow_refused=True)
    assert len(ninebits.refused) == 1
    ninebits.assert_clean()
    refuse(ninebits)
    assert "a national number" in failure(ninebits.assert_clean)


def test_a_call_with_a_token_of_nobody_counts_against_the_test_in_which_it_comes(server: Server) -> None:
    with server.account() as first:
        refuse(first, token="the-wrong-token")
        assert "token that no account has" in failure(first.assert_clean)
    with server.account() as second:
        second.assert_clean()


def test_a_call_with_a_token_of_nobody_does_not_count_against_the_next_test_though_nobody_looked(
    server: Server,
) -> None:
    with server.account() as first:
        refuse(first, token="the-wrong-token")
        first.assert_clean(allow_refused=True)
    with server.account() as second:
        second.assert_clean()


def test_an_application_with_the_documented_token_is_told_of_it(ninebits: Sandbox, handset: Handset) -> None:
    with pytest.raises(Refused):
        submit(ninebits, handset.number, "hello", token="sandbox-token")
    assert "does the application use ninebits.token?" in failure(ninebits.assert_clean)


def test_a_refusal_that_was_asked_for_is_no_error(ninebits: Sandbox, handset: Handset) -> None:
    ninebits.fail_next(status=401)
    with pytest.raises(Refused):
        submit(ninebits, handset.number, "hello")
    ninebits.assert_clean()


def test_a_webhook_that_was_given_up_is_complained_about(routed: Sandbox, handset: Handset, receiver: Receiver) -> None:
    receiver.answer_with(500)
    handset.send("1", "48974")
    routed.assert_clean()
    routed.clock.advance(3600)
    said = failure(routed.assert_clean)
    assert said.startswith("A webhook was given up after its last retry.")
    assert said.count("answered 500") == 9
    routed.assert_clean(allow_failed_deliveries=True)


# Attaching


def test_processes_of_one_run_share_no_names_and_no_numbers(server: Server) -> None:
    names: set[str] = set()
    numbers: set[str] = set()
    for worker in range(3):
        with testing.attach(server.url, run="a-run", worker=worker) as attached:
            assert not attached.in_process
            for _ in range(2):
                with attached.account() as ninebits:
                    names.add(ninebits.account)
                    numbers |= {ninebits.handset().number for _ in range(2)}
    assert (len(names), len(numbers)) == (6, 12)


def test_runs_that_are_not_told_of_each_other_differ(server: Server) -> None:
    with (
        testing.attach(server.url) as one,
        testing.attach(server.url) as other,
        one.account() as first,
        other.account() as second,
    ):
        assert first.account != second.account
        assert first.handset().number != second.handset().number


def test_calls_with_a_token_of_nobody_may_be_anybody_s_on_a_shared_sandbox(server: Server) -> None:
    with testing.attach(server.url) as attached, attached.account() as ninebits:
        refuse(ninebits, token="the-wrong-token")
        assert ninebits.refused == []
        ninebits.assert_clean()


def test_where_no_sandbox_answers_attaching_says_so() -> None:
    with pytest.raises(Unreachable, match="No sandbox answers"), testing.attach("http://127.0.0.1:1"):
        pass


def test_a_control_token_is_asked_for_and_sent() -> None:
    with testing.start(control_token="a-token-of-sixteen-characters") as server:
        with server.account() as ninebits:
            assert ninebits.messages() == []
        with pytest.raises(Refused), testing.attach(server.url):
            pass
        with testing.attach(server.url, "a-token-of-sixteen-characters") as attached, attached.account() as ninebits:
            assert ninebits.messages() == []


def test_a_test_begins_at_the_present_whatever_the_one_before_did(server: Server) -> None:
    with server.account() as first:
        begun = first.clock.now()
        first.clock.advance(86_400)
    with server.account() as second:
        assert (second.clock.now() - begun).total_seconds() < 3600


def test_time_that_had_stopped_before_anything_was_imported_is_real_all_the_same() -> None:
    """As by a fixture of a whole session."""
    body = """
        from sandbox import testing
        with testing.start() as server, server.account() as ninebits:
            try:
                ninebits.handset().wait_for_message("never", timeout=0.05)
            except testing.ExpectationFailed:
                print(ninebits.clock.now().year)
    """
    before = str(datetime.now(UTC).year)  # noqa: TID251
    for stop in (
        "freezegun.freeze_time('2024-01-02').start()",
        "time.time = time.monotonic = time.perf_counter = lambda: 42.0",
    ):
        code = f"import freezegun, sys, time\nsys.modules['uvloop'] = None\n{stop}\n{dedent(body)}"
        done = subprocess.run(
            [sys.executable, "-c", code], env=own_environment(), capture_output=True, text=True, timeout=PATIENCE_S * 3
        )
        assert (done.stdout.split(), done.stderr) == ([before], ""), stop
