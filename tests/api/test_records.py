"""What is made of the record, over real HTTP: findings, transcripts, and files that are exported and imported."""

import ast
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sandbox.scenario.steps import Scenario
from tests.api.asking import NUMBER, in_state, invalid, problem

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver


# Findings ----------------------------------------------------------------------------------------------------------


def test_a_follow_up_that_was_sent_twice_is_found(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent(message="Which film?")
    receiver.answer_next(500)
    owed = routed.post(f"/handsets/{NUMBER}/reply", {"text": "yesterday"})
    first = routed.sent(message="Thank you")
    routed.post(f"/webhook-deliveries/{owed['webhook_delivery']['id']}/attempt", status=200)
    again = routed.sent(message="Thank you")
    answered = routed.get("/findings")
    assert answered["next"] is None
    (finding,) = answered["findings"]
    assert finding.keys() == {"code", "message", "hint", "at", "message_ids", "webhook_delivery_id"}
    assert finding["code"] == "follow_up_twice"
    assert finding["message_ids"] == [owed["message"]["id"], first, again]
    assert finding["webhook_delivery_id"] == owed["webhook_delivery"]["id"]


def test_an_account_without_a_record_has_no_findings(bench: "Bench") -> None:
    assert bench.get("/findings") == {"findings": [], "next": None}


# Transcripts -------------------------------------------------------------------------------------------------------


@pytest.fixture
def conversation(routed: "Bench") -> "Bench":
    routed.sent(message="When was the last time you went to the cinema?")
    routed.post(f"/handsets/{NUMBER}/reply", {"text": "yesterday"})
    routed.sent(message="Which film?")
    routed.sent(to="2348030000001", message="somebody else's")
    return routed


def transcript(bench: "Bench", **query: str) -> requests.Response:
    response = bench.call("GET", f"/conversations/{NUMBER}/transcript", **query)
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize("query", [{}, {"as": "text"}])
def test_a_transcript_reads_as_it_was_said(conversation: "Bench", query: dict[str, str]) -> None:
    response = transcript(conversation, **query)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    heading, asked, said, _, follow_up = response.text.splitlines()
    assert NUMBER in heading
    assert asked.endswith("application  When was the last time you went to the cinema?")
    assert said.endswith("handset      yesterday")
    assert follow_up.endswith("application  Which film?")


def test_a_transcript_as_a_scenario_can_be_put_and_played(conversation: "Bench") -> None:
    from sandbox.scenario import script

    response = transcript(conversation, **{"as": "scenario"})
    assert response.headers["Content-Type"] == "application/yaml"
    assert isinstance(script.read(response.text), Scenario)
    assert conversation.call("PUT", "/scenarios/recorded", {"source": response.text}).status_code == 201


def test_a_transcript_as_a_test_is_python(conversation: "Bench") -> None:
    response = transcript(conversation, **{"as": "pytest"})
    assert response.headers["Content-Type"] == "text/x-python; charset=utf-8"
    names = [each.name for each in ast.parse(response.text).body if isinstance(each, ast.FunctionDef)]
    assert names == ["test_recorded"]


def test_a_handset_that_said_nothing_has_an_empty_transcript(bench: "Bench") -> None:
    assert transcript(bench).text == ""


@pytest.mark.parametrize(
    ("number", "query", "fields"),
    [("cinema", {}, ["msisdn"]), (NUMBER, {"as": "film"}, ["as"]), (NUMBER, {"format": "text"}, ["format"])],
)
def test_wrong_arguments_of_a_transcript_are_named(
    bench: "Bench", number: str, query: dict[str, str], fields: list[str]
) -> None:
    assert invalid(bench.call("GET", f"/conversations/{number}/transcript", **query)) == fields


# Files -------------------------------------------------------------------------------------------------------------


def exported(bench: "Bench") -> str:
    response = bench.call("GET", "/export")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/jsonl"
    assert bench.account in response.headers["Content-Disposition"]
    return response.text


def imported(bench: "Bench", text: str | bytes) -> requests.Response:
    data = text.encode() if isinstance(text, str) else text
    path = f"/_sandbox/v1/import?account={bench.account}"
    return bench.sandbox.request("POST", path, data=data, headers={"Content-Type": "application/json"})


def record(bench: "Bench") -> list[Any]:
    """What is listed of an account, without what belongs to this account and to this moment."""
    own = ("id", "seq", "account", "webhook_delivery_id", "request_id")
    return [
        {name: value for name, value in each.items() if name not in own}
        for path, plural in (("/messages", "messages"), ("/handsets", "handsets"))
        for each in bench.get(path)[plural]
    ]


def test_what_was_exported_is_imported_as_it_was(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent(message="Which film? ₦500")
    routed.submit(to="0802")
    in_state(routed, receiver, "rejected")
    routed.call("PATCH", "/handsets/2348030000001", {"label": "Ada"})
    before, text = record(routed), exported(routed)
    routed.post("/reset", status=200)
    answered = imported(routed, text)
    assert answered.status_code == 201, answered.text
    counts = {"handsets": 1, "scenarios": 0, "messages": 2, "refusals": 1, "webhook_deliveries": 1, "attempts": 1}
    nothing = dict.fromkeys(counts, 0)
    lines = len(text.splitlines())
    assert answered.json() == {
        **counts, "already_there": nothing, "left": nothing, "lines": lines, "of_lines": lines
    }  # fmt: skip
    assert record(routed) == before
    assert [each["verdict"] for each in routed.get("/requests")["requests"]] == ["refused", "accepted"]


def test_a_file_of_what_the_account_has_itself_is_recognised_as_a_whole(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(200, b"\xff\x00 no text")
    routed.sent(message="₦500 \u202e", extra={"deep": [1, None]}, ref_id="r")
    routed.sent(to="+2348030000001")
    routed.submit(to="0802")
    routed.sandbox.raw(
        b"POST /ng/v1/sendsms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nX-Raw: \xff\r\n"
        b"Content-Length: 3\r\n\r\n\xff\x00{" % routed.token.encode(),
        method="POST",
    )
    routed.sandbox.plain("POST", "/ng/%00", "Host: localhost", f"Authorization: Bearer {routed.token}")
    owed = routed.post(f"/handsets/{NUMBER}/reply", {"text": "yesterday"})["webhook_delivery"]
    for body in ({}, {}, {"body": "no JSON \u202e"}):
        routed.post(f"/webhook-deliveries/{owed['id']}/redeliver", body)
    receiver.answer_next(503)
    routed.post(f"/handsets/{NUMBER}/reply", {"text": "or before"})  # which is still owed
    routed.call("PATCH", "/handsets/2348030000001", {"label": "Ada"})
    source = "scenario: mine\nrules:\n  - when: {text: hello}\n    reply: {text: hi}\n"
    assert routed.call("PUT", "/scenarios/mine", {"source": source}).status_code == 201
    text, seq = exported(routed), routed.get("/messages/wait", timeout=0)["seq"]
    answered = imported(routed, text)
    assert answered.status_code == 201, answered.text
    counts = answered.json()
    assert counts["already_there"] == {
        "handsets": 1, "scenarios": 1, "messages": 4, "refusals": 3, "webhook_deliveries": 5, "attempts": 5
    }  # fmt: skip
    assert [counts[name] for name in counts["already_there"]] == [0] * 6
    assert exported(routed) == text
    assert routed.get("/messages/wait", timeout=0)["seq"] == seq  # nothing happened


def test_an_export_has_every_page_and_hides_what_is_secret(bench: "Bench") -> None:
    sent = [bench.sent(message=f"number {number}") for number in range(120)]
    lines = [json.loads(line) for line in exported(bench).splitlines()]
    assert [each["id"] for each in lines if each["type"] == "message"] == sent
    assert bench.token not in json.dumps(lines)


def test_an_export_of_nothing_is_one_of_the_account(bench: "Bench") -> None:
    assert [json.loads(line)["type"] for line in exported(bench).splitlines()] == ["export", "account"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 1),
        (b"{}", 1),
        (b"[]\n", 1),
        (b'{"type": "export", "version": 1}\n{"type": "film"}\n', 2),
        (b'{"type": "export", "version": 1}\n\xff\xfe\n', 2),
        (b'{"type": "export", "version": 99}\n', 1),
        (b'{"type": "export", "version": 1}\n' + b"[" * 100_000, 2),
    ],
)
def test_a_file_that_is_no_export_is_complained_about_line_by_line(bench: "Bench", text: bytes, line: int) -> None:
    answered = imported(bench, text)
    assert answered.status_code == 400
    (error,) = answered.json()["errors"]
    assert error.keys() == {"field", "message", "line"}
    assert (error["field"], error["line"]) == ("body", line)
    assert record(bench) == []


def test_of_a_file_with_one_wrong_line_nothing_is_imported(bench: "Bench") -> None:
    bench.sent()
    text = exported(bench)
    bench.post("/reset", status=200)
    assert imported(bench, text + '{"type": "film"}\n').status_code == 400
    assert bench.get("/messages")["messages"] == []


def test_a_file_is_for_an_account_that_is_there(bench: "Bench") -> None:
    for method, path in (("GET", "/export"), ("POST", "/import")):
        options: dict[str, Any] = {"json": {}} if method == "POST" else {}
        problem(bench.sandbox.request(method, f"/_sandbox/v1{path}?account=nobody", **options), 404)
