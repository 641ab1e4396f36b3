"""Messages and requests over real HTTP: which ones are listed, and what is complained about."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from sandbox.api import messages
from tests.api.asking import NUMBER, in_background, invalid, walk

if TYPE_CHECKING:
    from tests.conftest import Bench, Running


# Messages -----------------------------------------------------------------------------------------------------------


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


# By pattern --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ({"pattern": "film"}, ["Which film?"]),
        ({"pattern": "^W.*\\?$"}, ["When was it?", "Which film?"]),
        ({"pattern": "FILM"}, []),
        ({"pattern": "FILM", "ignore_case": "true"}, ["Which film?"]),
        ({"pattern": "FILM", "ignore_case": "false"}, []),
        ({"text": "*FALL*", "ignore_case": "true"}, ["Things Fall Apart"]),
        ({"pattern": "it|film", "direction": "mt", "session_id": "two"}, ["When was it?"]),
        ({"segments": 1, "direction": "mo"}, ["yesterday", "Things Fall Apart"]),
        ({"segments": 2}, []),
        ({"encoding": "UCS-2"}, []),
        ({"encoding": "GSM-7", "pattern": "y$"}, ["yesterday"]),
    ],
)
def test_messages_are_found_by_what_only_the_matcher_can_tell(
    talk: "Bench", query: dict[str, str], texts: list[str]
) -> None:
    assert [each["text"] for each in talk.get("/messages", **query)["messages"]] == texts


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"pattern": "("}, ["pattern"]),
        ({"pattern": "x" * 201}, ["pattern"]),
        ({"pattern": "(", "limit": 0, "colour": "red"}, ["limit", "pattern", "colour"]),
        ({"ignore_case": "yes"}, ["ignore_case"]),
        ({"segments": "many", "encoding": "UTF-8", "state": "lost"}, ["state", "segments", "encoding"]),
    ],
)
def test_a_filter_that_makes_no_sense_is_complained_about(
    bench: "Bench", query: dict[str, str | int], fields: list[str]
) -> None:
    for path in ("/messages", "/messages/wait"):
        told = [each for each in invalid(bench.call("GET", path, **query)) if path == "/messages" or each != "limit"]
        assert sorted(told) == sorted(each for each in fields if path == "/messages" or each != "limit")


def test_a_walk_by_pattern_meets_every_match_once(bench: "Bench") -> None:
    sent = [bench.sent(message="code 1234" if number % 3 else "no code") for number in range(12)]
    matching = [each for number, each in enumerate(sent) if number % 3][::-1]
    for limit in (1, 3, 50):
        assert walk(bench, "/messages", "messages", limit=limit, pattern="[0-9]{4}") == matching


def test_a_page_by_pattern_looks_only_so_far_and_says_where_to_go_on(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "LOOKED_AT", 4)
    monkeypatch.setattr(messages, "CHUNK", 2)
    first = bench.sent(message="1234")
    others = [bench.sent() for _ in range(5)]
    page = bench.get("/messages", pattern="1234")
    assert page == {"messages": [], "next": others[1][1:]}
    assert [each["id"] for each in bench.get("/messages", pattern="1234", next=page["next"])["messages"]] == [first]
    assert walk(bench, "/messages", "messages", pattern="1234") == [first]


def test_a_page_by_pattern_takes_only_so_much_time(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LOOKED_FOR_S", 0.0)
    sent = [bench.sent() for _ in range(3)]
    page = bench.get("/messages", pattern="nothing like it")
    assert page == {"messages": [], "next": sent[-1][1:]}
    assert walk(bench, "/messages", "messages", pattern="cinema") == sent[::-1]


def test_a_pattern_that_takes_for_ever_keeps_nobody_waiting(bench: "Bench") -> None:
    bench.sent(message="a" * 1500)
    assert bench.get("/messages", pattern="(a+)+$|(a*)*b")["messages"] is not None
    assert bench.get("/messages", pattern="^(a|aa)+b")["messages"] == []


# Waiting and verifying ---------------------------------------------------------------------------------------------


def test_a_wait_is_over_at_once_when_enough_is_there(bench: "Bench") -> None:
    first, second = bench.sent(message="one"), bench.sent(message="two")
    done = bench.get("/messages/wait", count=2, timeout=300)
    assert [each["id"] for each in done["messages"]] == [first, second]
    assert done["satisfied"] is True
    assert done["near_misses"] == []
    assert done["seq"] >= int(second[1:])


def test_a_wait_ends_when_the_message_comes(bench: "Bench") -> None:
    sent: list[str] = []
    bench.sent(message="something else")
    with in_background(lambda: sent.append(bench.sent(message="Your code is 4711"))):
        done = bench.get("/messages/wait", pattern="code is [0-9]+", timeout=10)
    assert done["satisfied"] is True
    assert [each["id"] for each in done["messages"]] == sent


def test_a_wait_in_vain_says_what_came_closest(bench: "Bench") -> None:
    sent = bench.sent(message="Which film?")
    done = bench.get("/messages/wait", text="*cinema?*", timeout="0.01")
    assert (done["satisfied"], done["messages"]) == (False, [])
    (miss,) = done["near_misses"]
    assert miss["message"] == bench.get(f"/messages/{sent}")
    assert miss["differences"] == [{"field": "text", "wanted": "*cinema?*", "found": "Which film?"}]


def test_a_wait_goes_on_after_what_was_seen(bench: "Bench") -> None:
    first, second = bench.sent(), bench.sent()
    seen = bench.get("/messages/wait", after=first)
    assert [each["id"] for each in seen["messages"]] == [second]
    assert bench.get("/messages/wait", after=seen["seq"], timeout=0)["satisfied"] is False


@pytest.mark.parametrize(
    "wrong", [{"timeout": -1}, {"timeout": 301}, {"timeout": "long"}, {"count": 0}, {"count": "x"}, {"limit": 5}]
)
def test_wrong_arguments_of_a_wait_are_named(bench: "Bench", wrong: dict[str, str | int]) -> None:
    assert invalid(bench.call("GET", "/messages/wait", **wrong)) == list(wrong)


def test_a_wait_ends_as_soon_as_its_client_leaves(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox().sandbox
    with running.connect() as sock:
        sock.sendall(b"GET /_sandbox/v1/messages/wait?timeout=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(running, lambda: len(running.services.bus._subscriptions) == 1)
    until(running, lambda: not running.services.bus._subscriptions)


def test_a_wait_is_answered_when_the_server_stops(
    serving: Callable[..., AbstractContextManager["Running"]],
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving() as running:
            asked = pool.submit(running.request, "GET", "/_sandbox/v1/messages/wait?timeout=300")
            until(running, lambda: len(running.services.bus._subscriptions) == 1)
        answered = asked.result(10)
    assert (answered.status_code, answered.json()["satisfied"]) == (200, False)


def until(running: "Running", there: Callable[[], bool]) -> None:
    """Return when it is so; the server has something to do meanwhile."""
    for _ in range(2000):
        if there():
            return
        running.request("GET", "/livez")
    raise AssertionError("it has never come to that")


@pytest.mark.parametrize(
    ("body", "satisfied"),
    [
        ({}, True),
        ({"match": {"text": "*cinema?"}}, True),
        ({"match": {"text": "*cinema?"}, "times": {"exactly": 2}}, True),
        ({"match": {"text": "*cinema?"}, "times": {"exactly": 1}}, False),
        ({"times": {"at_least": 3}}, True),
        ({"times": {"at_least": 4}}, False),
        ({"times": {"at_most": 3}}, True),
        ({"times": {"at_most": 2}}, False),
        ({"times": {"at_least": 1, "at_most": 2}, "match": {"direction": "mt"}}, False),
        ({"times": {"exactly": 0}, "match": {"direction": "mo"}}, True),
        ({"times": {"at_most": 0}, "match": {"direction": "mo"}}, True),
        ({"times": {"exactly": 0}}, False),
        ({"times": {}, "match": {}}, True),
        ({"times": None, "match": None, "within": None, "after": None}, True),
        ({"match": {"pattern": "FILM", "ignore_case": True}}, True),
        ({"match": {"to": "+2348020000000", "from": "48974", "segments": 1, "encoding": "GSM-7"}}, True),
        ({"match": {"to": "2348030000001"}, "within": 0.01}, False),
    ],
)
def test_verification_says_whether_as_many_came_as_should(
    bench: "Bench", body: dict[str, object], satisfied: bool
) -> None:
    for message in ("When was the cinema?", "Which film?", "Where is the cinema?"):
        bench.sent(message=message)
    assert bench.post("/verify", body, status=200)["satisfied"] is satisfied


def test_verification_looks_at_what_came_after(bench: "Bench") -> None:
    first = bench.sent()
    assert bench.post("/verify", {"after": first, "times": {"exactly": 0}}, status=200)["satisfied"] is True
    second = bench.sent()
    for after in (first, int(first[1:])):
        found = bench.post("/verify", {"after": after}, status=200)["messages"]
        assert [each["id"] for each in found] == [second]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"match": []}, ["match"]),
        ({"match": {"colour": "red"}}, ["match.colour"]),
        ({"match": {"pattern": "("}}, ["match.pattern"]),
        ({"match": {"to": "cinema", "segments": 0, "ignore_case": "true"}}, None),
        ({"times": {"exactly": 1, "at_most": 2}}, ["times.exactly"]),
        ({"times": {"at_least": 3, "at_most": 2}}, ["times.at_most"]),
        ({"times": {"exactly": -1, "often": 2}}, ["times.exactly", "times.often"]),
        ({"times": 2, "within": 301, "after": "yesterday", "count": 1}, ["times", "within", "after", "count"]),
    ],
)
def test_wrong_arguments_of_a_verification_are_named_by_where_they_stand(
    bench: "Bench", body: dict[str, object], fields: list[str] | None
) -> None:
    told = invalid(bench.call("POST", "/verify", body))
    assert told == (fields or ["match.to", "match.ignore_case", "match.segments"])


# Requests -----------------------------------------------------------------------------------------------------------


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


def test_a_call_of_no_account_is_listed_only_where_it_is_asked_for(bench: "Bench") -> None:
    own = bench.submit(to="0802").headers["ninebits-sandbox-request"]
    answered = bench.sandbox.request(
        "POST", "/ng/v1/sendsms", json={}, headers={"Authorization": "Bearer nobody-has-this-token"}
    )
    stray = answered.headers["ninebits-sandbox-request"]
    later = bench.submit(to="0802").headers["ninebits-sandbox-request"]
    assert [each["id"] for each in bench.get("/requests")["requests"]] == [later, own]
    assert [each["id"] for each in bench.get("/requests", unowned="false")["requests"]] == [later, own]
    unowned = bench.get("/requests", unowned="true", after=own)["requests"]
    assert [(each["id"], each["account"], each["status_code"]) for each in unowned] == [(stray, None, 401)]
    assert bench.get("/requests", unowned="true", verdict="accepted")["requests"] == []
    assert bench.get(f"/requests/{stray}")["id"] == stray


def test_requests_after_one_that_was_seen(bench: "Bench") -> None:
    first, second, third = (bench.submit(to="0802").headers["ninebits-sandbox-request"] for _ in range(3))
    assert [each["id"] for each in bench.get("/requests", after=first)["requests"]] == [third, second]
    assert bench.get("/requests", after=third)["requests"] == []


def test_a_call_with_a_known_token_and_a_wrong_path_is_its_accounts_own(bench: "Bench") -> None:
    answer = bench.sandbox.request(
        "POST", "/ng/v2/sendsms", json={}, headers={"Authorization": f"Bearer {bench.token}"}
    )
    record = bench.get(f"/requests/{answer.headers['ninebits-sandbox-request']}")
    assert (record["status_code"], record["account"]) == (404, bench.account)


def test_wrong_filters_of_requests_are_named_all_at_once(bench: "Bench") -> None:
    wrong: dict[str, str | int] = {"limit": "x", "verdict": "maybe", "next": "-1", "state": "x"}
    assert invalid(bench.call("GET", "/requests", **wrong)) == list(wrong)
