"""Two who change the same thing at the same moment: what both were told is done, is done.

The two requests of a pair are on their way before either is answered. Who names different things of a noun finds both;
who does what can be done only once finds that one of them did it.
"""

from collections.abc import Callable, Iterator

import pytest

from sandbox.core.gateway import PATH
from sandbox.store import messages
from tests.conftest import EXAMPLE, Bench
from tests.faulty import fail, in_loop
from tests.two import Ask, Two, two_of

pytestmark = pytest.mark.proof("T15")

PAIRS = 1000  # of changes that name different things
Record = Callable[[str, object], None]
OFF = "scenario: off\nsteps:\n  - handset: {state: off}\n"


@pytest.fixture
def two(bench: Bench) -> Iterator[Two]:
    with two_of(bench) as it:
        yield it


@pytest.fixture
def pairs(sized: Callable[[int, int], int]) -> int:
    """How often two do what one of them alone can do, or what adds something."""
    return sized(100, PAIRS)


def number(pair: int) -> str:
    return f"23480{20_000_000 + pair}"


def handsets(bench: Bench) -> dict[str, dict[str, str]]:
    """All that are set up, by number."""
    found: dict[str, dict[str, str]] = {}
    query: dict[str, str | int] = {"limit": 500}
    while True:
        page = bench.get("/handsets", **query)
        found |= {each["msisdn"]: each for each in page["handsets"]}
        if page["next"] is None:
            return found
        query["next"] = page["next"]


def lost(bench: Bench, **wanted: str) -> list[dict[str, str]]:
    """The handsets of the pairs that are not as both asked for."""
    found = handsets(bench)
    stand = [found[number(pair)] for pair in range(PAIRS)]
    return [each for each in stand if any(each[name] != value for name, value in wanted.items())]


# Handsets ----------------------------------------------------------------------------------------------------------


def test_two_changes_of_a_handset_by_the_api_are_both_kept(bench: Bench, two: Two, record_property: Record) -> None:
    record_property("figure", f"a handset, by the API: {PAIRS:,} pairs, 0 lost")
    for pair in range(PAIRS):
        path = f"/handsets/{number(pair)}"
        two.both(
            Ask(method="PATCH", path=path, body={"label": "Ada"}), Ask(method="PATCH", path=path, body={"state": "off"})
        )
    assert lost(bench, label="Ada", state="off") == []


def test_the_two_forms_of_a_page_are_both_kept(bench: Bench, two: Two, record_property: Record) -> None:
    record_property("figure", f"a handset, by a page: {PAIRS:,} pairs, 0 lost")
    for pair in range(PAIRS):
        path = f"/c/48974/{number(pair)}/handset"
        two.both(
            Ask(method="POST", path=path, form={"label": "Ada", "telco": "glo"}),
            Ask(method="POST", path=path, form={"state": "off"}),
        )
    assert lost(bench, label="Ada", telco="glo", state="off") == []


def test_what_a_scenario_does_to_a_handset_and_its_new_label_are_both_kept(
    bench: Bench, two: Two, record_property: Record
) -> None:
    record_property("figure", f"a handset, by a scenario and the API: {PAIRS:,} pairs, 0 lost")
    assert bench.call("PUT", "/scenarios/off", {"source": OFF}).status_code == 201
    for pair in range(PAIRS):
        two.both(
            Ask(method="PATCH", path=f"/handsets/{number(pair)}", body={"label": "Ada"}),
            Ask(method="POST", path="/scenarios/off/runs", body={"msisdn": number(pair)}),
        )
    assert lost(bench, label="Ada", state="off") == []


def test_a_new_handset_and_a_change_of_it_are_both_kept(bench: Bench, two: Two, record_property: Record) -> None:
    record_property("figure", f"a handset, new on a page and by the API: {PAIRS:,} pairs, 0 lost")
    for pair in range(PAIRS):
        two.both(
            Ask(method="POST", path="/", form={"number": number(pair), "shortcode": "48974", "label": "Ada"}),
            Ask(method="PATCH", path=f"/handsets/{number(pair)}", body={"telco": "glo", "state": "off"}),
        )
    assert lost(bench, label="Ada", telco="glo", state="off") == []


# Accounts ----------------------------------------------------------------------------------------------------------


def test_two_changes_of_an_account_by_the_api_and_a_page_are_both_kept(
    bench: Bench, two: Two, record_property: Record
) -> None:
    record_property("figure", f"an account, by the API and a page: {PAIRS:,} pairs, 0 lost")
    path, lost = f"/accounts/{bench.account}", []
    for pair in range(PAIRS):
        url, strict = f"http://127.0.0.1:9/{pair}", bool(pair % 2)
        two.both(
            Ask(method="PATCH", path=path, body={"strict": strict}),
            Ask(method="POST", path="/settings/client-url", form={"client_url": url}),
        )
        account = bench.sandbox.services.accounts.get(bench.account)  # as calls find it
        if account is None or (account.strict, account.client_url) != (strict, url):
            lost.append(account)
    assert lost == []


def test_a_name_and_a_token_are_given_to_one_of_two(bench: Bench, two: Two, pairs: int) -> None:
    for pair in range(pairs):
        name = f"{bench.account}-{pair}"
        same = [Ask(method="POST", path="/accounts", body={"name": name, "token": f"{name}-{n}"}) for n in range(2)]
        assert sorted(each.status for each in two.at_once(*same)) == [201, 409]
        others = [Ask(method="POST", path="/accounts", body={"name": f"{name}-{n}", "token": "same"}) for n in range(2)]
        told = two.at_once(*others)
        assert sorted(each.status for each in told) == [201, 400]
        made = [name, *(each.json["name"] for each in told if each.status == 201)]
        for each in made:
            remove = Ask(method="DELETE", path=f"/accounts/{each}")
            assert sorted(each.status for each in two.at_once(remove, remove)) == [204, 404]


# Scenarios and runs ------------------------------------------------------------------------------------------------


def test_of_two_sources_of_a_scenario_one_stands_whole_and_one_is_the_first(bench: Bench, two: Two, pairs: int) -> None:
    path, firsts = "/scenarios/off", 0
    sources = [f"{OFF}  # {each}\n" for each in ("one", "another")]
    for _ in range(pairs):
        told = two.both(*(Ask(method="PUT", path=path, body={"source": each}) for each in sources))
        firsts += [each.status for each in told].count(201)
    assert firsts == 1
    assert bench.get(path)["source"] in sources


def test_a_run_is_stopped_by_one_of_two(bench: Bench, two: Two, pairs: int) -> None:
    wrong = []
    for _ in range(pairs // 2):  # two runs each, which two start at once
        start = Ask(method="POST", path="/scenarios/opt-out/runs")
        started = two.both(start, start)
        for each in started:
            stop = Ask(method="POST", path=f"/scenarios/opt-out/runs/{each.json['id']}/stop")
            told = sorted(each.status for each in two.at_once(stop, stop))
            wrong += [told] if told != [200, 409] else []
    assert wrong == []


# Faults ------------------------------------------------------------------------------------------------------------


def test_a_fault_strikes_one_of_two_calls(bench: Bench, two: Two, pairs: int) -> None:
    fault = fail(bench, times=pairs, match={"text": "struck*"}, status=429)
    struck = []
    for pair in range(pairs):
        told = two.at_once(
            Ask(method="POST", path=PATH, body={**EXAMPLE, "message": f"struck {pair}"}),
            Ask(method="POST", path=PATH, body={**EXAMPLE, "message": f"spared {pair}"}),
        )
        struck.append([each.status for each in told])
    assert struck == [[429, 200]] * pairs
    assert bench.get(f"/faults/{fault}")["used"] == pairs
    once = fail(bench, times=pairs, status=503)
    two_calls = [Ask(method="POST", path=PATH, body=EXAMPLE)] * 2
    assert [each.status for _ in range(pairs // 2) for each in two.at_once(*two_calls)] == [503] * pairs
    assert bench.get(f"/faults/{once}")["used"] == pairs
    assert [each.status for each in two.at_once(*two_calls)] == [200, 200]


def test_faults_that_two_ask_for_are_all_there_and_each_is_removed_by_one_of_two(
    bench: Bench, two: Two, pairs: int
) -> None:
    ask = Ask(method="POST", path="/faults", body={"on": "sendsms", "effect": {"status": 503}, "match": {"text": "?"}})
    made = [each.json["id"] for _ in range(pairs // 2) for each in two.both(ask, ask)]
    assert len(set(made)) == pairs
    wrong = []
    for each in made:
        remove = Ask(method="DELETE", path=f"/faults/{each}")
        told = sorted(each.status for each in two.at_once(remove, remove))
        wrong += [told] if told != [204, 404] else []
    assert wrong == []
    assert bench.get("/faults")["faults"] == []


# Messages, conversations and webhook deliveries --------------------------------------------------------------------


def test_messages_that_two_send_into_a_conversation_are_all_there_and_unread(
    bench: Bench, two: Two, pairs: int
) -> None:
    ask = Ask(method="POST", path=PATH, body=EXAMPLE)
    sent = [each.json["reference_id"] for _ in range(pairs) for each in two.both(ask, ask)]
    assert len(set(sent)) == 2 * pairs
    unread = bench.sandbox.services.database.read(lambda db: messages.unread(db, bench.account))
    assert in_loop(bench.sandbox, unread) == 2 * pairs


def test_a_webhook_delivery_is_cancelled_by_one_of_two(bench: Bench, two: Two, pairs: int) -> None:
    bench.patch_account(client_url="http://127.0.0.1:9/nobody-listens")
    wrong = []
    for pair in range(pairs // 2):
        path = f"/handsets/{number(pair)}/send"
        ask = Ask(method="POST", path=path, body={"text": "hello", "to": "48974", "wait": False})
        for each in two.both(ask, ask):
            cancel = Ask(method="POST", path=f"/webhook-deliveries/{each.json['webhook_delivery']['id']}/cancel")
            told = sorted(each.status for each in two.at_once(cancel, cancel))
            wrong += [told] if told != [200, 409] else []
    assert wrong == []
