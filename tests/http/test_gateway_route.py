"""The imitated gateway over real HTTP: what an application sees, and what is recorded of its call."""

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import create_connection
from typing import TYPE_CHECKING

import pytest
import requests

from sandbox.clock import Clock
from sandbox.core.accounts import AccountCache
from sandbox.core.faults import LiveFaults
from sandbox.core.gateway import Gateway, GatewayCall
from sandbox.core.network import RetentionPolicy
from sandbox.core.scenario_runner import ScenarioRunner
from sandbox.model import Shortcode
from sandbox.settings import DEFAULT_ACCOUNT
from sandbox.store.database import Database
from sandbox.wire.problems import CATALOGUE, status_of

if TYPE_CHECKING:
    from tests.conftest import Bench, Reply, Running

PATH = "/ng/v1/sendsms"
JSON = "Content-Type: application/json"
EXAMPLE = (
    b'{"from": "48974", "to": "2348020000000", "message": "When was the last time you went to the cinema?", '
    b'"session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)


def submit(bench: "Bench", *headers: str, body: bytes = EXAMPLE, method: str = "POST", path: str = PATH) -> "Reply":
    """A call to the gateway with exactly these headers, and Host."""
    return bench.sandbox.plain(method, path, "Host: localhost", *headers, body=body)


def bearer(bench: "Bench") -> str:
    return f"Authorization: Bearer {bench.token}"


def codes(reply: "Reply") -> list[str]:
    return [error["code"] for error in json.loads(reply.body)["errors"]]


# Accepted ----------------------------------------------------------------------------------------------------------


def test_the_documented_python_example_is_answered_200_with_json(
    sandbox_server: "Running", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    response = requests.post(
        f"{sandbox_server.url}/ng/v1/sendsms",
        json={
            "from": "48974",
            "to": "2348020000000",
            "message": "When was the last time you went to the cinema?",
            "session_id": "67543uhn3",
            "sent_date": "2024-01-02T23:50:37.000000Z",
        },
        headers={"Authorization": "Bearer sandbox-token"},
        timeout=10,
    )
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["status_code"] == 200
    assert response.json()["message"] == "Message accepted"


def test_an_accepted_message_can_be_read_by_its_reference_id(bench: "Bench") -> None:
    made = bench.get(f"/messages/{bench.sent()}")
    assert (made["direction"], made["from"], made["to"]) == ("mt", "48974", "2348020000000")
    assert made["text"] == "When was the last time you went to the cinema?"
    assert (made["session_id"], made["sent_date"]) == ("67543uhn3", "2024-01-02T23:50:37.000000Z")
    assert made["state"] == "arrived"


def test_an_accepted_call_is_recorded_as_it_came(bench: "Bench") -> None:
    reply = submit(bench, bearer(bench), JSON, "X-Trace: 1", "X-Trace: 2")
    record = bench.get(f"/requests/{reply.header('ninebits-sandbox-request')}")
    assert (record["verdict"], record["status_code"], record["problems"]) == ("accepted", 200, [])
    assert (record["method"], record["path"], record["client"]) == ("POST", PATH, "127.0.0.1")
    assert record["message_id"] == json.loads(reply.body)["reference_id"]
    assert record["body"].encode() == EXAMPLE
    assert record["answer"].encode() == reply.body
    assert [(each["name"].lower(), each["value"]) for each in record["headers"]] == [
        ("host", "localhost"),
        ("authorization", "Bearer toke…"),
        ("content-type", "application/json"),
        ("x-trace", "1"),
        ("x-trace", "2"),
        ("content-length", str(len(EXAMPLE))),
    ]


def test_the_same_call_twice_is_two_messages(bench: "Bench") -> None:
    assert bench.sent() != bench.sent()
    assert len(bench.get("/messages")["messages"]) == 2


def test_unknown_keys_are_accepted_kept_and_warned_of(bench: "Bench") -> None:
    made = bench.get(f"/messages/{bench.sent(priority=5)}")
    assert made["extra"] == {"priority": 5}
    assert len(made["warnings"]) == 1
    assert bench.get(f"/requests/{made['request_id']}")["warnings"] == made["warnings"]


def test_an_account_may_answer_in_words_of_its_own(bench: "Bench") -> None:
    bench.patch_account(success_body='{"status": "OK", "ref": "{ref_id}", "parts": "{segments}"}')
    assert bench.submit(ref_id="873ghf").content == b'{"status": "OK", "ref": "873ghf", "parts": 1}'


def test_a_lenient_account_fills_in_what_is_missing(bench: "Bench") -> None:
    bench.patch_account(strict=False)
    bench.sent(session_id="first-session")
    made = bench.get(f"/messages/{bench.sent(session_id=None, sent_date=None)}")
    assert made["session_id"] == "first-session"
    assert made["sent_date"] == made["at"]
    assert len(made["warnings"]) == 2


def test_what_a_lenient_account_fills_in_stands_in_its_answer_too(bench: "Bench") -> None:
    bench.patch_account(strict=False, success_body='{"session": "{session_id}", "date": "{sent_date}"}')
    told = bench.submit(session_id=None, sent_date=None).json()
    (made,) = bench.get("/messages")["messages"]
    assert told == {"session": made["session_id"], "date": made["sent_date"]}


def test_a_message_has_the_telco_that_its_handset_was_given(bench: "Bench") -> None:
    bench.call("PATCH", "/handsets/2348020000000", {"telco": "glo"})
    assert bench.get(f"/messages/{bench.sent()}")["telco"] == "glo"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ; charset=utf8",
    ],
)
def test_a_charset_parameter_is_fine(bench: "Bench", content_type: str) -> None:
    assert submit(bench, bearer(bench), f"Content-Type: {content_type}").status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_case_of_the_scheme_does_not_matter(bench: "Bench", scheme: str) -> None:
    assert submit(bench, f"Authorization: {scheme} {bench.token}", JSON).status == 200


def test_a_body_in_chunks_is_put_together(bench: "Bench") -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{bearer(bench)}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [EXAMPLE[at : at + 7] for at in range(0, len(EXAMPLE), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    assert bench.sandbox.raw(head.encode(), chunks, b"0\r\n\r\n").status == 200


def test_many_applications_at_once_get_an_answer_each(bench: "Bench") -> None:
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.extend(bench.sent() for _ in range(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 40


def test_a_handset_that_is_off_gets_its_message_later(bench: "Bench") -> None:
    bench.call("PATCH", "/handsets/2348020000000", {"state": "off"})
    message = bench.sent()
    assert bench.get(f"/messages/{message}")["state"] == "accepted"
    bench.call("PATCH", "/handsets/2348020000000", {"state": "on"})
    assert bench.get(f"/messages/{message}")["state"] == "arrived"


# Refused -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A call that is refused for one reason; `{token}` in a header is the account's."""

    method: str = "POST"
    path: str = PATH
    authorization: str | None = "Bearer {token}"
    content_type: str | None = "application/json"
    body: bytes = EXAMPLE


def changed(**changes: object) -> Wrong:
    return Wrong(body=json.dumps({**json.loads(EXAMPLE), **changes}).encode())


WRONG = {  # for every code of the catalogue one call that meets it
    "method_not_allowed": Wrong(method="PUT"),
    "not_found": Wrong(path="/ng/v2/sendsms"),
    "body_too_large": Wrong(body=EXAMPLE + b" " * 65_536),
    "content_type": Wrong(content_type="text/plain"),
    "no_authorization": Wrong(authorization=None),
    "not_bearer": Wrong(authorization="Basic dXNlcjpwYXNzd29yZA=="),
    "unknown_token": Wrong(authorization="Bearer nobody-has-this-one"),
    "foreign_shortcode": changed(**{"from": "99999"}),
    "invalid_json": Wrong(body=b"from=48974"),
    "not_an_object": Wrong(body=b"[]"),
    "missing": changed(to=None),
    "a2p_text": changed(message=None, content="Hello"),
    "not_a_string": changed(to=2348020000000),
    "empty": changed(message=""),
    "too_long": changed(message="x" * 1601),
    "unusable_character": changed(message="\0"),
    "shortcode_malformed": changed(**{"from": "cinema"}),
    "msisdn_malformed": changed(to="cinema"),
    "msisdn_not_international": changed(to="08020000000"),
    "msisdn_length": changed(to="234802"),
    "date_malformed": changed(sent_date="yesterday"),
}


def send_wrong(bench: "Bench", wrong: Wrong) -> "Reply":
    bench.patch_account(shortcodes=["48974"])
    headers = []
    if wrong.authorization is not None:
        headers.append("Authorization: " + wrong.authorization.format(token=bench.token))
    if wrong.content_type is not None:
        headers.append(f"Content-Type: {wrong.content_type}")
    return submit(bench, *headers, body=wrong.body, method=wrong.method, path=wrong.path)


def test_every_code_of_the_catalogue_is_met_by_a_test() -> None:
    elsewhere = {"storage", "fault"}  # what is wrong with the sandbox or was asked for, not with the call
    assert {*WRONG, *elsewhere} == CATALOGUE.keys()


@pytest.mark.parametrize(("code", "wrong"), WRONG.items(), ids=WRONG)
def test_a_wrong_call_is_refused_in_the_gateways_own_shape(bench: "Bench", code: str, wrong: Wrong) -> None:
    reply = send_wrong(bench, wrong)
    told = json.loads(reply.body)
    assert reply.status == told["status_code"] == status_of(code)
    assert reply.header("content-type") == "application/json"
    assert [error["code"] for error in told["errors"]] == [code]
    assert list(told) == ["status_code", "message", "errors"]


@pytest.mark.parametrize(("code", "wrong"), WRONG.items(), ids=WRONG)
def test_a_refused_call_is_recorded_with_all_that_explains_it(bench: "Bench", code: str, wrong: Wrong) -> None:
    reply = send_wrong(bench, wrong)
    record = bench.get(f"/requests/{reply.header('ninebits-sandbox-request')}")
    assert (record["verdict"], record["status_code"]) == ("refused", status_of(code))
    assert (record["method"], record["path"]) == (wrong.method, wrong.path)
    assert record["problems"] == json.loads(reply.body)["errors"]
    assert record["answer"].encode() == reply.body
    assert record["message_id"] is None
    if code != "body_too_large":  # of that one, as much as was read
        assert record["body"].encode() == wrong.body
    names = [each["name"].lower() for each in record["headers"]]
    assert names[0] == "host"
    assert ("authorization" in names) == (wrong.authorization is not None)
    assert bench.token not in json.dumps(record)


@pytest.mark.parametrize(("code", "wrong"), WRONG.items(), ids=WRONG)
def test_a_refused_call_sends_nothing(bench: "Bench", code: str, wrong: Wrong) -> None:
    send_wrong(bench, wrong)
    assert bench.get("/messages")["messages"] == []


def test_all_problems_of_a_body_come_at_once(bench: "Bench") -> None:
    reply = submit(bench, bearer(bench), JSON, body=b'{"to": "0802", "message": ""}')
    told = json.loads(reply.body)
    assert told["message"] == "5 fields are invalid"
    assert [(error["field"], error["code"]) for error in told["errors"]] == [
        ("from", "missing"),
        ("to", "msisdn_not_international"),
        ("message", "empty"),
        ("session_id", "missing"),
        ("sent_date", "missing"),
    ]


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        pytest.param(None, "no_authorization", id="none"),
        pytest.param("", "not_bearer", id="empty"),
        pytest.param("Bearer", "not_bearer", id="no token"),
        pytest.param("sandbox-token", "not_bearer", id="token alone"),
        pytest.param("Basic c2FuZGJveDp0b2tlbg==", "not_bearer", id="basic"),
        pytest.param("Bearer sandbox-token sandbox-token", "not_bearer", id="two tokens"),
        pytest.param("Bearer no-such-token", "unknown_token", id="unknown"),
        pytest.param("Bearer sandbox-toke", "unknown_token", id="one character short"),
        pytest.param("Bearer SANDBOX-TOKEN", "unknown_token", id="another case"),
        pytest.param("Bearer jet\xf6n-\xff", "unknown_token", id="beyond ASCII"),
    ],
)
def test_a_call_without_a_known_token_is_answered_401(bench: "Bench", authorization: str | None, code: str) -> None:
    headers = [] if authorization is None else [f"Authorization: {authorization}"]
    reply = submit(bench, *headers, JSON)
    assert (reply.status, codes(reply)) == (401, [code])
    assert reply.header("www-authenticate") == "Bearer"


def test_two_authorization_headers_are_answered_401_even_if_both_are_right(bench: "Bench") -> None:
    reply = submit(bench, bearer(bench), bearer(bench), JSON)
    assert (reply.status, codes(reply)) == (401, ["not_bearer"])
    assert reply.header("www-authenticate") == "Bearer"
    assert bench.token not in reply.body.decode()


def test_an_unknown_token_is_told_apart_by_four_characters_at_most(bench: "Bench") -> None:
    reply = submit(bench, "Authorization: Bearer live-token-9f31c2", JSON)
    assert "live…" in json.loads(reply.body)["message"]
    assert b"live-" not in reply.body


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer canary-5f2a9c71",
        "canary-5f2a9c71",
        "canary-5f2a9c71 Bearer",
        "Bearer canary-5f2a9c71 canary-5f2a9c71",
        "Basic Y2FuYXJ5LTVmMmE5Yzcx",
        "Key=canary-5f2a9c71 x",
    ],
)
def test_no_record_holds_a_token_however_it_was_sent(bench: "Bench", authorization: str) -> None:
    reply = submit(bench, f"Authorization: {authorization}", "Proxy-Authorization: " + authorization, JSON)
    record = json.dumps(bench.get(f"/requests/{reply.header('ninebits-sandbox-request')}"))
    assert "canary-" not in record
    assert "Y2FuY" not in record


def test_cookies_are_masked_in_the_record(bench: "Bench") -> None:
    reply = submit(bench, bearer(bench), JSON, "Cookie: session=canary-5f2a9c71")
    assert "canary" not in json.dumps(bench.get(f"/requests/{reply.header('ninebits-sandbox-request')}"))


def test_a_foreign_shortcode_is_told_which_are_the_accounts_own(bench: "Bench") -> None:
    bench.patch_account(shortcodes=["48975", "48976"])
    reply = submit(bench, bearer(bench), JSON)
    (error,) = json.loads(reply.body)["errors"]
    assert reply.status == 403
    assert error["field"] == "from"
    assert "48974" in error["message"]
    assert "48975, 48976" in error["hint"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_another_method_is_answered_405_with_the_one_that_is_allowed(bench: "Bench", method: str) -> None:
    reply = submit(bench, bearer(bench), JSON, method=method)
    assert reply.status == 405
    assert reply.header("allow") == "POST"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/vnd.api+json",
        "text/json",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
    ],
)
def test_another_content_type_is_answered_415(bench: "Bench", content_type: str | None) -> None:
    headers = [] if content_type is None else [f"Content-Type: {content_type}"]
    reply = submit(bench, bearer(bench), *headers)
    assert (reply.status, codes(reply)) == (415, ["content_type"])


def test_two_content_types_are_answered_415(bench: "Bench") -> None:
    assert submit(bench, bearer(bench), JSON, "Content-Type: text/plain").status == 415


@pytest.mark.parametrize(
    "path", ["/ng/", "/ng/v1/sendsms/", "/ng/v2/sendsms", "/ng/v1/SendSMS", "/ng/v1//sendsms", "/ng/%00%ff", "/ng/../x"]
)
def test_an_unknown_path_is_answered_404_in_the_gateways_shape(bench: "Bench", path: str) -> None:
    reply = submit(bench, bearer(bench), JSON, path=path)
    assert (reply.status, codes(reply)) == (404, ["not_found"])
    assert bench.get("/requests", verdict="refused")["requests"][0]["status_code"] == 404


def test_a_query_does_not_change_what_is_called(bench: "Bench") -> None:
    assert submit(bench, bearer(bench), JSON, path=f"{PATH}?debug=1").status == 200


def test_a_body_that_is_no_text_is_recorded_byte_for_byte(bench: "Bench") -> None:
    body = EXAMPLE.decode().encode("utf-16")
    reply = submit(bench, bearer(bench), JSON, body=body)
    assert (reply.status, codes(reply)) == (400, ["invalid_json"])
    record = bench.get(f"/requests/{reply.header('ninebits-sandbox-request')}")
    assert base64.b64decode(record["body_base64"]) == body


def test_the_refusals_of_an_account_are_shown_to_it_alone(bench: "Bench") -> None:
    reply = submit(bench, bearer(bench), JSON, body=b"[]")
    path = f"/_sandbox/v1/requests/{reply.header('ninebits-sandbox-request')}"
    assert bench.sandbox.request("GET", path, params={"account": bench.account}).status_code == 200
    assert bench.sandbox.request("GET", path, params={"account": "default"}).status_code == 404


def test_a_call_that_belongs_to_no_account_is_shown_to_all(bench: "Bench") -> None:
    identifier = submit(bench, JSON).header("ninebits-sandbox-request")
    for account in (bench.account, "default"):
        found = bench.sandbox.request("GET", f"/_sandbox/v1/requests/{identifier}", params={"account": account})
        assert found.json()["account"] is None


def test_a_connection_goes_on_after_a_refused_call(bench: "Bench") -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {bench.token}"
        url, bodies = bench.sandbox.url + PATH, [b"[]", EXAMPLE] * 3
        session.headers["Content-Type"] = "application/json"
        answers = [session.post(url, data=body, timeout=10).status_code for body in bodies]
    assert answers == [400, 200] * 3


def test_a_client_that_leaves_in_the_middle_of_its_body_changes_nothing(bench: "Bench") -> None:
    with bench.sandbox.connect() as sock:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{bearer(bench)}\r\n{JSON}\r\nContent-Length: 500\r\n\r\n"
        sock.sendall(head.encode() + EXAMPLE)
    bench.sent(message="the next one")
    assert [each["text"] for each in bench.get("/messages")["messages"]] == ["the next one"]


# Limits ------------------------------------------------------------------------------------------------------------


def test_a_body_may_be_as_large_as_the_limit(bench: "Bench") -> None:
    assert submit(bench, bearer(bench), JSON, body=EXAMPLE.ljust(65_536)).status == 200


def test_a_body_over_the_limit_is_answered_413_and_the_connection_is_closed(bench: "Bench") -> None:
    reply = submit(bench, bearer(bench), JSON, body=EXAMPLE.ljust(65_537))
    assert (reply.status, codes(reply)) == (413, ["body_too_large"])
    assert reply.closed


def test_a_body_over_the_limit_is_answered_before_it_is_sent(bench: "Bench") -> None:
    reply = submit(bench, bearer(bench), JSON, "Content-Length: 300000000", body=b"")
    assert (reply.status, reply.closed) == (413, True)


def chunked_head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", JSON, "Transfer-Encoding: chunked", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_chunked_body_over_the_limit_is_answered_413_and_the_connection_is_closed(bench: "Bench") -> None:
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    reply = bench.sandbox.raw(chunked_head(PATH, bearer(bench)), *[chunk] * 17)
    assert (reply.status, codes(reply)) == (413, ["body_too_large"])
    assert reply.closed


def test_what_was_read_of_a_body_over_the_limit_is_recorded(bench: "Bench") -> None:
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    reply = bench.sandbox.raw(chunked_head(PATH, bearer(bench)), *[chunk] * 17)
    record = bench.get(f"/requests/{reply.header('ninebits-sandbox-request')}")
    assert record["body"] == "x" * 65_536


def test_a_connection_is_closed_as_well_when_a_body_over_the_limit_is_refused_for_another_reason(
    bench: "Bench",
) -> None:
    reply = submit(bench, JSON, "Content-Length: 300000000", body=b"")
    assert (reply.status, reply.closed) == (401, True)


def test_the_limit_of_the_body_is_a_setting(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox(max_body=200)
    assert submit(bench, bearer(bench), JSON, body=EXAMPLE.ljust(200)).status == 200
    assert submit(bench, bearer(bench), JSON, body=EXAMPLE.ljust(201)).status == 413


def test_the_limit_of_a_text_is_a_setting(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox(max_text=5)
    assert bench.submit(message="12345").status_code == 200
    assert bench.submit(message="123456").json()["errors"][0]["code"] == "too_long"


SERVE = """
from sandbox import server
from sandbox.settings import Settings
server.run(Settings(port=0, db=":memory:"), on_ready=lambda services, address, *_: print(address.port, flush=True))
"""


@contextmanager
def served_elsewhere() -> Iterator[tuple[int, Callable[[], int]]]:
    """A sandbox in a process of its own: its port, and how many bytes of memory it holds."""
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    def resident() -> int:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    try:
        yield int(process.stdout.readline()), resident
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def flood(port: int, head: bytes, mebibytes: int) -> int:
    """Stream a body of so many MiB in chunks, until the server closes. Returns how many bytes it let itself be sent."""
    chunk = b"100000\r\n" + b" " * 1024**2 + b"\r\n"
    sent = 0
    with create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            sock.sendall(head)
            for _ in range(mebibytes):
                sock.sendall(chunk)
                sent += len(chunk)
            sock.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
    return sent


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read from /proc")
def test_a_body_of_300_mib_costs_no_memory() -> None:
    heads = [
        chunked_head(PATH, "Authorization: Bearer sandbox-token"),
        chunked_head(PATH),
        chunked_head("/_sandbox/v1/reset"),
        chunked_head("/"),
    ]
    with served_elsewhere() as (port, resident):
        for head in heads:
            flood(port, head, 4)
        before = resident()
        sent = [flood(port, head, 300) for head in heads for _ in range(3)]
        grown = resident() - before
    assert grown < 20 * 1024**2
    assert max(sent) < 300 * 1024**2, "the connection was not closed"


# When nothing can be stored ----------------------------------------------------------------------------------------


def test_a_message_that_cannot_be_stored_is_answered_503_and_not_200() -> None:
    async def submit_to_closed_store() -> tuple[int, bytes, str | None]:
        database = Database(":memory:")
        database.open()
        await database.close()
        account = replace(DEFAULT_ACCOUNT, shortcodes=(Shortcode("48974"),))
        clock, accounts, faults = Clock.virtual(), AccountCache([account]), LiveFaults()
        runner = ScenarioRunner(database, clock, accounts, faults)
        gateway = Gateway(database, clock, accounts, faults, runner, keeping=RetentionPolicy(), max_text=1600)
        headers = [(b"authorization", b"Bearer sandbox-token"), (b"content-type", b"application/json")]
        answer = await gateway.submit(GatewayCall(method="POST", path=PATH, client="", headers=headers, body=EXAMPLE))
        return answer.status_code, answer.body, answer.request_id

    status, body, request_id = asyncio.run(submit_to_closed_store())
    assert (status, request_id) == (503, None)
    assert [error["code"] for error in json.loads(body)["errors"]] == ["storage"]
