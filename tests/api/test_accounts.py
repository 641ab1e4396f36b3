"""Accounts over real HTTP: made, changed, removed, and blind to each other."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.api.asking import NUMBER, RETRIES_S, delivery, in_state, invalid, problem

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver


# Accounts -----------------------------------------------------------------------------------------------------------


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


# Isolation ----------------------------------------------------------------------------------------------------------


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
