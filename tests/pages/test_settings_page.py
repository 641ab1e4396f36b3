"""The settings page over real HTTP and without a browser: faults, the clock, accounts, and the webhook doctor."""

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from sandbox import server, settings
from tests.conftest import Bench, Receiver, Running
from tests.pages.browsing import ADA, HOSTILE, Visitor, read


@pytest.fixture
def visitor(bench: Bench) -> Visitor:
    return Visitor(bench=bench)


# Faults ------------------------------------------------------------------------------------------------------------

FAULT = {"on": "sendsms", "effect": "status", "status": "503", "delay": "", "times": "1", "handset": ""}


def effect(**wanted: object) -> dict[str, object]:
    return {"status": None, "body": None, "delay_s": 0, "drop": None, "hold": False, **wanted}


@pytest.mark.parametrize(
    ("form", "on", "times", "made", "shown"),
    [
        ({}, "sendsms", 1, effect(status=503), "sendsms: answered 503 1 of 1 left"),
        ({"times": "3", "status": "429"}, "sendsms", 3, effect(status=429), "answered 429 3 of 3 left"),
        ({"times": ""}, "sendsms", None, effect(status=503), "answered 503 0 so far, until it is removed"),
        ({"effect": "refused"}, "sendsms", 1, effect(drop="refused"), "connection closed, nothing accepted"),
        ({"effect": "accepted"}, "sendsms", 1, effect(drop="accepted"), "accepted, the answer is lost"),
        ({"effect": "body"}, "sendsms", 1, effect(drop="body"), "accepted, the answer is cut off"),
        ({"effect": "hold"}, "sendsms", 1, effect(hold=True), "held without an answer"),
        ({"effect": "delay", "delay": "1.5"}, "sendsms", 1, effect(delay_s=1.5), "answered late after 1.5 s"),
        ({"delay": "2"}, "sendsms", 1, effect(status=503, delay_s=2), "answered 503 after 2 s"),
        ({"on": "webhook"}, "webhook", 1, effect(status=503), "webhook: counts as answered 503"),
        ({"on": "webhook", "effect": "hold"}, "webhook", 1, effect(hold=True), "counts as timed out"),
        ({"on": "webhook", "effect": "refused"}, "webhook", 1, effect(drop="refused"), "connection refused"),
        ({"on": "webhook", "effect": "accepted"}, "webhook", 1, effect(drop="accepted"), "posted, the answer is lost"),
        ({"on": "webhook", "effect": "delay", "delay": "1"}, "webhook", 1, effect(delay_s=1), "posted late after 1 s"),
    ],
)
def test_a_fault_is_made_of_what_was_chosen(
    visitor: Visitor, form: dict[str, str], on: str, times: int | None, made: object, shown: str
) -> None:
    assert visitor.done("/settings/faults", **{**FAULT, **form}) == "/settings#faults"
    (fault,) = visitor.bench.get("/faults")["faults"]
    assert (fault["on"], fault["times"], fault["effect"], fault["match"]) == (on, times, made, {})
    assert shown in visitor.text("/settings")


@pytest.mark.parametrize(("on", "key"), [("sendsms", "to"), ("webhook", "from")])
def test_a_fault_may_strike_one_handset_only(visitor: Visitor, on: str, key: str) -> None:
    visitor.done("/settings/faults", **{**FAULT, "on": on, "handset": "+234 802 000 0000"})
    (fault,) = visitor.bench.get("/faults")["faults"]
    assert fault["match"] == {key: ADA}
    assert f"only if {key} is {ADA}" in visitor.text("/settings")


@pytest.mark.parametrize(
    ("form", "field", "error"),
    [
        ({"status": "200"}, "status", "400"),
        ({"status": ""}, "status", "Which status?"),
        ({"effect": "delay"}, "delay", "How late?"),
        ({"effect": "delay", "delay": "301"}, "delay", "from 0s to 5m"),
        ({"times": "0"}, "times", "10000"),
        ({"times": "x"}, "times", "10000"),
        ({"handset": "0802"}, "handset", "0802"),
        ({"on": "email"}, "on", "sendsms, webhook"),
        ({"effect": "magic"}, "effect", "status, refused, accepted, body, hold, delay"),
        ({"on": "webhook", "effect": "body"}, "effect", "cannot cut it off"),
    ],
)
def test_what_is_wrong_with_a_fault_stands_beside_the_field(
    visitor: Visitor, form: dict[str, str], field: str, error: str
) -> None:
    answer = visitor.post("/settings/faults", **{**FAULT, **form})
    assert answer.status_code == 400
    found = re.search(rf'id="{field}-error">(.*?)</p>', answer.text, re.DOTALL)
    assert found is not None
    assert error in read(found[1])
    assert visitor.bench.get("/faults")["faults"] == []


def test_a_page_that_complains_opens_at_the_field(visitor: Visitor) -> None:
    page = visitor.post("/settings/faults", **{**FAULT, "times": "none"}).text
    assert re.search(r'<input id="times"[^>]* aria-describedby="times-error" autofocus>', page)


def test_what_was_typed_stays_in_the_form(visitor: Visitor) -> None:
    page = visitor.post("/settings/faults", **{**FAULT, "on": "webhook", "status": HOSTILE, "times": ""}).text
    assert '<option value="webhook" selected>' in page
    assert HOSTILE in html.unescape(page)
    assert re.search(r'name="times"[^>]* value=""', page)


def test_a_fault_that_is_used_up_says_so_and_can_be_removed(visitor: Visitor) -> None:
    visitor.done("/settings/faults", **FAULT)
    assert visitor.bench.submit().status_code == 503
    assert "answered 503 used up" in visitor.text("/settings")
    (fault,) = visitor.bench.get("/faults")["faults"]
    assert visitor.done(f"/settings/faults/{fault['id']}/remove") == "/settings#faults"
    assert "None: no call fails on request." in visitor.text("/settings")
    visitor.told(f"/settings/faults/{fault['id']}/remove", 404)


# The clock ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(start_sandbox: Callable[..., Bench]) -> Visitor:
    """On a sandbox of this test's own, because the clock is everybody's."""
    return Visitor(bench=start_sandbox())


def test_the_clock_advances_to_the_next_timer_and_no_further_when_asked_twice(
    alone: Visitor, receiver: Receiver
) -> None:
    alone.bench.patch_account(client_url=receiver.url)
    assert "Nothing is due." in alone.text("/settings")
    for delay_s in (60, 7200):
        alone.bench.post(
            f"/handsets/{ADA}/send", {"text": f"after {delay_s}", "to": "48974", "delay_s": delay_s}, status=202
        )
    page = alone.page("/settings")
    assert re.search(r"Advance to the next timer, \d\d:\d\d:\d\d in 1 min", read(page))
    assert "a planned text" in read(page)
    until = re.search(r'name="until" value="(\d+)"', page)
    assert until is not None
    for _ in range(2):
        assert alone.done("/settings/clock", until=until[1]) == "/settings#clock"
    assert [b"after 60" in each.body for each in receiver.wait_for(1)] == [True]
    assert "Advance to the next timer, " in alone.text("/settings")


@pytest.mark.parametrize("until", ["x", "-1", "99999999999999999"])
def test_a_moment_that_no_button_names_is_refused(alone: Visitor, until: str) -> None:
    assert "Use a whole number from 0 to" in alone.told("/settings/clock", until=until)


def test_how_far_the_clock_can_be_moved_is_said_in_figures(alone: Visitor) -> None:
    assert "Use a time from 0s to 366d" in alone.told("/settings/clock", action="advance", seconds="soon")


def test_what_is_due_of_a_run_leads_to_it(alone: Visitor) -> None:
    source = "scenario: later\nsteps:\n  - send: {text: hello, to: 48974, after: 1h}\n  - expect_none: {within: 1h}\n"
    alone.done("/scenarios/_edit", source=source)
    run = alone.done("/scenarios/later/runs", msisdn=ADA).partition("#")[2]
    page = alone.page("/settings")
    assert f'a planned text of <a href="/runs/{run}">{run}</a>' in page
    assert f"end of a step's time in {run}" in read(page)
    until = re.search(r'name="until" value="(\d+)"', page)
    assert until is not None
    assert alone.done("/settings/clock", until=until[1], back=run) == f"/runs/{run}"


# Accounts ----------------------------------------------------------------------------------------------------------


def test_an_account_is_added_looked_at_and_removed(alone: Visitor) -> None:
    form = {
        "new_name": "shop",
        "new_token": "a-token-of-the-shop",
        "new_client_url": "http://u:secret@x/",
        "new_shortcodes": "700, 48974",
    }
    assert alone.post("/settings/accounts", **form).headers["location"] == "/settings?account=shop#accounts"
    page = alone.page("/settings")
    assert "secret" not in page
    assert "a-token-of-the-shop" not in page
    assert "shop look" in read(page)
    assert "700, 48974" in read(page)
    assert 'href="/settings?account=shop"' in page
    assert (
        alone.post("/settings/accounts/remove", name="shop").headers["location"] == "/settings?account=default#accounts"
    )
    assert "shop look" not in alone.text("/settings")


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"new_name": "Shop 1"}, "new_name"),
        ({"new_name": ""}, "new_name"),
        ({"new_token": ""}, "new_token"),
        ({"new_token": "two words"}, "new_token"),
        ({"new_token": "sandbox-token"}, "new_token"),
        ({"new_client_url": "ftp://x"}, "new_client_url"),
        ({"new_shortcodes": "x"}, "new_shortcodes"),
    ],
)
def test_what_is_wrong_with_an_account_stands_beside_the_field(
    alone: Visitor, form: dict[str, str], field: str
) -> None:
    answer = alone.post("/settings/accounts", **{"new_name": "shop", "new_token": "token-of-shop", **form})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert re.search(r'<details [^>]*id="add-account" open', answer.text)
    assert len(alone.bench.get("/accounts")["accounts"]) == 1


def test_a_name_that_is_taken_and_the_last_account_are_conflicts(alone: Visitor) -> None:
    page = alone.told("/settings/accounts", 409, new_name="default", new_token="another-token")
    assert "There is an account default already" in page
    assert "cannot be removed" in alone.told("/settings/accounts/remove", 409, name="default")
    alone.told("/settings/accounts/remove", 404, name="nobody")


# The webhook doctor ------------------------------------------------------------------------------------------------


def test_the_doctor_says_how_to_mend_what_is_missing(visitor: Visitor) -> None:
    page = visitor.told("/doctor", 200)
    assert "Something stands in the way" in page
    assert "has no client_url" in page
    assert "Set client_url to where your application takes them" in page
    assert "json not tried:" in page


def test_the_doctor_posts_only_when_asked(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.patch_account(client_url=receiver.url)
    assert "Nothing is wrong, as far as was looked" in visitor.told("/doctor", 200)
    assert receiver.received == []
    assert "json is well:" in visitor.told("/doctor", 200, post="yes")
    assert len(receiver.received) == 1


def test_following_a_link_to_the_doctor_asks_nothing(visitor: Visitor, receiver: Receiver) -> None:
    visitor.bench.patch_account(client_url=receiver.url)
    page = visitor.text("/doctor")
    assert "tcp" not in page
    assert "Examine" in page
    assert f'action="/doctor?account={visitor.bench.account}"' in visitor.page("/settings")


def test_another_address_can_be_examined_and_its_secrets_are_not_repeated(visitor: Visitor, receiver: Receiver) -> None:
    page = visitor.post("/doctor", url=receiver.url).text
    assert f'value="{receiver.url}"' in page
    page = visitor.post("/doctor", url=receiver.url.replace("//", "//user:hush@")).text
    assert "hush" not in page
    assert visitor.post("/doctor", url=HOSTILE).status_code == 200
    assert "url has 2049 characters" in visitor.told("/doctor", url="x" * 2049)


def test_a_form_of_another_origin_asks_the_doctor_nothing(visitor: Visitor, receiver: Receiver) -> None:
    answer: requests.Response = visitor.bench.sandbox.request(
        "POST", "/doctor", data={"url": receiver.url, "post": "yes"}, headers={"Origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    assert receiver.received == []


# Where a value was set ---------------------------------------------------------------------------------------------


def rows(visitor: Visitor) -> dict[str, str]:
    """What the page says of each setting, by its name."""
    found = re.findall(r"<tr[^>]*><th scope=\"row\"><code>(\w+)</code></th>(.*?)</tr>", visitor.page("/settings"), re.S)
    return {name: read(row) for name, row in found}


def holds(row: str, *wanted: str) -> bool:
    return all(each in row for each in wanted)


def test_every_setting_says_where_it_was_set(tmp_path: Path) -> None:
    (tmp_path / "ninebits-sandbox.toml").write_text('max_text = 700\n[[accounts]]\nname = "default"\nstrict = false\n')
    written = settings.load(
        flags={"port": "0", "db": ":memory:"},
        environ={"NINEBITS_SANDBOX_MAX_MESSAGES": "500", "NINEBITS_SANDBOX_TOKEN": "a-token-that-is-long"},
        cwd=tmp_path,
    )
    with server.in_thread(written.settings, origin=written.origin) as (address, services):
        bench = Bench(
            sandbox=Running(address=address, services=services), account="default", token="a-token-that-is-long"
        )
        visitor = Visitor(bench=bench)
        bench.patch_account(client_url="http://127.0.0.1:9/sms")
        shown = rows(visitor)
        assert holds(shown["db"], ":memory:", "flag --db")
        assert holds(shown["max_text"], "700", "file ninebits-sandbox.toml")
        assert holds(shown["max_messages"], "500", "environment NINEBITS_SANDBOX_MAX_MESSAGES")
        assert holds(shown["host"], "127.0.0.1", "default")
        assert holds(shown["strict"], "false", "file ninebits-sandbox.toml")
        assert holds(shown["token"], "a-to…", "environment NINEBITS_SANDBOX_TOKEN")
        assert holds(shown["client_url"], "http://127.0.0.1:9/sms", "set while running")
        assert holds(shown["order"], "free", "default")
        assert "in full where it was set: environment NINEBITS_SANDBOX_TOKEN" in visitor.text("/")


def test_an_account_made_while_running_and_settings_of_a_program_say_so(visitor: Visitor) -> None:
    shown = rows(visitor)
    assert holds(shown["token"], "set while running")
    assert holds(shown["strict"], "true", "default")
    assert holds(shown["clock"], "virtual", "the program that started it")
    assert "as it was given when the account was made" in visitor.text("/")
