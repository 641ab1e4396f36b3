"""What a hostile endpoint can do to the sandbox: only fail, by the deadline, in bounded memory, one POST at a time.

The endpoint is real, and so is the sandbox that posts to it; its clock is virtual, so that the retries take no time.
"""

import asyncio
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from sandbox.clock import Clock
from sandbox.hostile import HEALTHY, HostileEndpoint, Received
from sandbox.model import ANSWER_KEPT
from sandbox.webhooks.poster import IDLE_S, PROBATION_S, Poster
from tests.conftest import PATIENCE_S, Bench, Running

DEADLINE_S = 1.5  # room enough for a busy machine to answer what is answered
RETRIES_S = [1, 2]
BODY = b'{"message": "yesterday"}'

Key = tuple[str, str]
Serving = Callable[..., AbstractContextManager[Running]]

EVERY: list[Key] = [
    (name, variant) for name in HostileEndpoint.behaviours for variant in HostileEndpoint.variants(name)
]


class End(NamedTuple):
    """How an attempt ends, what follows it, and how many warnings it carries."""

    outcome: str
    status_code: int | None
    state: str
    warnings: int = 0


def answered(status_code: int, warnings: int = 0) -> End:
    if status_code == 429 or status_code >= 500:
        return End("answered", status_code, "retrying", warnings)
    return End("answered", status_code, "delivered" if 200 <= status_code < 300 else "rejected", warnings)


REFUSED = End("unreachable", None, "retrying")
BROKEN = End("broken", None, "retrying")
TIMED_OUT = End("timed_out", None, "retrying")
NO_TLS = End("tls_failed", None, "retrying")
OK = answered(200)
FLAGGED = answered(200, warnings=1)  # no JSON

EITHER = frozenset({REFUSED, BROKEN})  # a reset may overtake the news that the connection was accepted

# Behaviour -> variant -> how it ends; "*" stands for those that are not named.
TABLE: Mapping[str, Mapping[str, End | frozenset[End]]] = {
    "refuses": {"*": REFUSED},
    "resets": {"*": EITHER},
    "resets_after_request": {"*": BROKEN},
    "hangs": {"*": TIMED_OUT},
    "hangs_after_headers": {"*": TIMED_OUT},
    "dribbles": {"*": TIMED_OUT},
    "endless_headers": {"*": BROKEN},
    "endless_body": {"*": OK},
    "gzip_bomb": {"small": FLAGGED, "large": OK},
    "redirects": {each: answered(int(each)) for each in HostileEndpoint.variants("redirects")},
    "redirect_loop": {each: answered(int(each)) for each in HostileEndpoint.variants("redirect_loop")},
    "too_many_requests": {"absent": answered(429), "control": BROKEN, "*": answered(429, warnings=1)},
    "server_errors": {each: answered(int(each)) for each in HostileEndpoint.variants("server_errors")},
    "client_errors": {each: answered(int(each)) for each in HostileEndpoint.variants("client_errors")},
    "body_after_204": {"*": answered(204, warnings=1)},
    "interim_flood": {"many": OK, "101": answered(101), "*": BROKEN},
    "bad_chunks": {"huge": TIMED_OUT, "*": BROKEN},
    "wrong_length": {"too-small": OK, "too-large-open": TIMED_OUT, "*": BROKEN},
    "bad_status_line": {"*": BROKEN},
    "not_http": {"*": BROKEN},
    "bad_certificate": {"*": NO_TLS},
    "plain_on_https": {"*": NO_TLS},
    "closes_silently": {"*": OK},
    "answers_first": {"before-request": OK, "after-headers": answered(413)},
    "strange_answers": {"string": OK, "null": OK, "large": OK, "*": FLAGGED},
    "accepts_late": {"late": OK, "never": TIMED_OUT},
}
# Where every answer is a whole one, and says nothing against the next request on the same connection.
REUSED = {
    *(
        (name, each)
        for name in ("redirects", "redirect_loop", "server_errors", "client_errors")
        for each in HostileEndpoint.variants(name)
    ),
    *(("too_many_requests", each) for each in HostileEndpoint.variants("too_many_requests") if each != "control"),
    *(("strange_answers", each) for each in HostileEndpoint.variants("strange_answers") if each != "large"),
    ("gzip_bomb", "small"),
    ("answers_first", "before-request"),  # the answer came when the request was on its way, as a quick one does
    ("interim_flood", "many"),
    ("closes_silently", "on-use"),
    ("accepts_late", "late"),
}


def expected(key: Key) -> frozenset[End]:
    variants = TABLE[key[0]]
    end = variants.get(key[1]) or variants["*"]
    return frozenset({end}) if isinstance(end, End) else end


def named(key: Key) -> str:
    return " ".join(key)


@pytest.fixture
def endpoint() -> Iterator[HostileEndpoint]:
    with HostileEndpoint(pause_s=0.01) as it:
        yield it


# Each behaviour by itself, in a sandbox -----------------------------------------------------------------------------


def account(running: Running, name: str, **settings: object) -> Bench:
    """An account of the name on a sandbox."""
    it = Bench(sandbox=running, account=name, token=f"token-of-{name}")
    created = running.request("POST", "/_sandbox/v1/accounts", json={"name": name, "token": it.token, **settings})
    assert created.status_code == 201, created.text
    return it


def text(bench: Bench, number: int = 0, *, wait: bool | float = False) -> Any:
    """A handset texts the account's application. Returns the answer's JSON."""
    response = bench.call(
        "POST", f"/handsets/{2348020000000 + number}/send", {"text": "1", "to": "48974", "wait": wait}
    )
    assert response.status_code == 201, response.text
    return response.json()


def settled(bench: Bench, patience_s: float = PATIENCE_S) -> Any:
    """The account's webhook deliveries, newest first, once none of them has an attempt before it or under way."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        found = bench.get("/webhook-deliveries", limit=500)["webhook_deliveries"]
        if found and all(each["state"] not in ("pending", "in_flight") for each in found):
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"{bench.account} still waits")


def only(bench: Bench) -> Any:
    """The account's only webhook delivery, with its attempts, once none is under way."""
    (delivery,) = settled(bench)
    return bench.get(f"/webhook-deliveries/{delivery['id']}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one text to each behaviour: after the first attempt, and after the last retry."""

    first: Mapping[Key, Any]
    last: Mapping[Key, Any]
    received: Mapping[Key, list[Received]]
    connections: Mapping[Key, int]
    sent: Mapping[Key, int]
    followed: int  # requests where redirects lead to


@pytest.fixture(scope="module")
def seen(serving: Serving) -> Seen:
    with HostileEndpoint(pause_s=0.05) as endpoint, serving(webhook_deadline_s=DEADLINE_S) as running:
        benches = {}
        for number, key in enumerate(EVERY):
            url = endpoint.url(*key)
            benches[key] = account(running, f"hostile-{number}", client_url=url, retry=RETRIES_S)
            text(benches[key])
        (first, last) = ({}, {})
        for key, bench in benches.items():
            first[key] = only(bench)
        some = next(iter(benches.values()))
        assert some.call("PUT", "/clock", {"action": "advance", "seconds": RETRIES_S[-1] + 1}).status_code == 200
        for key, bench in benches.items():
            last[key] = only(bench)
        return Seen(
            first=first,
            last=last,
            received={key: list(endpoint.received_by(*key)) for key in EVERY},
            connections=dict(endpoint.connections),
            sent=dict(endpoint.sent),
            followed=len(endpoint.received_by(HEALTHY)),
        )


@pytest.mark.proof("T9")
@pytest.mark.parametrize("key", EVERY, ids=named)
def test_what_follows_a_behaviour(seen: Seen, key: Key) -> None:
    delivery = seen.first[key]
    (attempt,) = delivery["attempts"]
    end = End(attempt["outcome"], attempt["status_code"], delivery["state"], len(attempt["warnings"]))
    assert end in expected(key)


@pytest.mark.proof("T9")
@pytest.mark.parametrize("key", EVERY, ids=named)
def test_what_is_retried_is_given_up_after_the_last_retry(seen: Seen, key: Key) -> None:
    first, last = seen.first[key], seen.last[key]
    if first["state"] == "retrying":
        assert (last["state"], len(last["attempts"])) == ("exhausted", 1 + len(RETRIES_S))
        assert {each["outcome"] for each in last["attempts"]} <= {each.outcome for each in expected(key)}
    else:
        assert last == first


@pytest.mark.proof("T9")
@pytest.mark.parametrize("key", EVERY, ids=named)
def test_an_attempt_ends_by_the_deadline(seen: Seen, key: Key) -> None:
    took_s = [each["duration_ms"] / 1000 for each in seen.last[key]["attempts"]]
    assert max(took_s) < DEADLINE_S + 0.5
    if expected(key) == {TIMED_OUT}:
        assert min(took_s) > DEADLINE_S - 0.01


@pytest.mark.proof("T9")
@pytest.mark.parametrize("key", EVERY, ids=named)
def test_an_attempt_is_one_post_on_one_connection(seen: Seen, key: Key) -> None:
    attempts = len(seen.last[key]["attempts"])
    assert seen.connections.get(key, 0) <= attempts
    assert len(seen.received[key]) <= attempts
    assert all(json.loads(each.body)["message"] == "1" for each in seen.received[key])


@pytest.mark.proof("T9")
@pytest.mark.parametrize("key", EVERY, ids=named)
def test_16_kib_of_an_answer_are_kept_and_little_more_is_taken(seen: Seen, key: Key) -> None:
    delivery = seen.last[key]
    assert all(len(each["response_body"].encode()) <= 3 * ANSWER_KEPT for each in delivery["attempts"])  # U+FFFD is 3
    assert seen.sent.get(key, 0) <= len(delivery["attempts"]) * (16 << 20)  # what the buffers of both sides hold


@pytest.mark.proof("T9")
def test_no_redirect_is_followed(seen: Seen) -> None:
    assert seen.followed == 0
    assert all(len(seen.received[key]) == 1 for key in EVERY if key[0].startswith("redirect"))


def test_the_table_names_every_behaviour() -> None:
    assert TABLE.keys() == HostileEndpoint.behaviours.keys()
    assert {key for key in EVERY if expected(key)} == set(EVERY)


# The postman's own manners ------------------------------------------------------------------------------------------


@pytest.mark.proof("T9")
def test_a_connection_is_used_again_only_where_every_answer_was_whole(endpoint: HostileEndpoint) -> None:
    async def post_twice(poster: Poster, key: Key, some: asyncio.Semaphore) -> None:
        url = endpoint.url(*key)
        async with some:
            for _ in range(2):
                await poster.post(url, BODY, None)
                await Clock.pause(PROBATION_S * 8)

    async def main() -> None:
        poster, some = Poster(deadline_s=0.5), asyncio.Semaphore(8)
        assert PROBATION_S * 16 < IDLE_S
        async with asyncio.TaskGroup() as tasks:
            for key in EVERY:
                tasks.create_task(post_twice(poster, key, some))
        await poster.close()

    asyncio.run(main())
    used = [(each.behaviour, each.variant, each.connection) for each in endpoint.received]
    reused = {
        (behaviour, variant)
        for behaviour, variant, connection in set(used)
        if used.count((behaviour, variant, connection)) > 1
    }
    assert reused
    assert reused <= REUSED


@pytest.mark.proof("T9")
def test_what_is_kept_of_a_gzip_bomb_is_what_came_over_the_wire(endpoint: HostileEndpoint) -> None:
    async def main() -> bytes:
        poster = Poster()
        outcome = await poster.post(endpoint.url("gzip_bomb", "small"), BODY, None)
        await poster.close()
        return outcome.body

    kept = asyncio.run(main())
    assert (kept[:2], len(kept) < ANSWER_KEPT) == (b"\x1f\x8b", True)


@pytest.mark.proof("T9")
def test_memory_stays_flat_whatever_is_sent(
    endpoint: HostileEndpoint, sized: Callable[[int, int], int], record_property: Callable[[str, object], None]
) -> None:
    rounds = sized(3, 100)
    large = [key for key in EVERY if key[0] in ("endless_headers", "endless_body", "gzip_bomb", "interim_flood")]

    async def post_to_all(poster: Poster) -> None:
        for key in large:
            await poster.post(endpoint.url(*key), BODY, None)

    async def main() -> int:
        poster = Poster()
        await post_to_all(poster)
        tracemalloc.start()
        try:
            for _ in range(rounds):
                await post_to_all(poster)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            await poster.close()

    peak = asyncio.run(main())  # the endpoint's own buffers included
    record_property("figure", f"{peak / (1 << 20):.1f} MiB at most for {rounds * len(large)} floods")
    assert peak < 16 << 20


# All of them at once ------------------------------------------------------------------------------------------------


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def texting(bench: Bench, ended: threading.Event, took_s: list[float]) -> None:
    """Text the healthy application again and again, and note how long it takes until each text is delivered."""
    number = 0
    while not ended.wait(0.02):
        begun = time.perf_counter()
        answer = text(bench, number, wait=PATIENCE_S)
        took_s.append(time.perf_counter() - begun)
        assert answer["webhook_delivery"]["state"] == "delivered", answer
        number += 1


@pytest.mark.proof("T9")
def test_a_healthy_host_is_served_at_once_while_all_behaviours_are_in_full_swing(
    serving: Serving,
    endpoint: HostileEndpoint,
    sized: Callable[[int, int], int],
    record_property: Callable[[str, object], None],
    pytestconfig: pytest.Config,
) -> None:
    count = sized(300, 5_000)
    with serving(clock="system", webhook_deadline_s=2) as running:
        healthy = account(running, "healthy", client_url=endpoint.healthy_url)
        hostile = [
            account(running, f"hostile-{number}", client_url=endpoint.url(*key), retry=[86_400])
            for number, key in enumerate(EVERY)
        ]
        ended, took_s = threading.Event(), list[float]()
        texter = threading.Thread(target=texting, args=(healthy, ended, took_s))
        texter.start()
        try:
            for number in range(count):
                text(hostile[number % len(hostile)], number)
            made = [len(settled(bench, PATIENCE_S + count / 20)) for bench in hostile]
        finally:
            ended.set()
            texter.join()
    assert sum(made) == count
    slowest = p99(took_s) * 1000
    record_property("figure", f"{count} deliveries, {len(took_s)} healthy ones beside them, p99 {slowest:.0f} ms")
    assert slowest < (250 if pytestconfig.getoption("--long") else 1500)


@pytest.mark.proof("T9")
def test_32_hanging_attempts_to_8_hosts_starve_no_other(serving: Serving) -> None:
    hosts = [HostileEndpoint() for _ in range(8)]
    with serving(clock="system", webhook_deadline_s=PATIENCE_S) as running, HostileEndpoint() as well:
        healthy = account(running, "healthy", client_url=well.healthy_url)
        for number, host in enumerate(hosts):
            host.__enter__()
            bench = account(running, f"hostile-{number}", client_url=host.url("hangs"))
            for each in range(4):
                text(bench, each)
        try:
            for host in hosts:
                until = time.monotonic() + PATIENCE_S / 2
                while len(host.received) < 4 and time.monotonic() < until:
                    threading.Event().wait(0.01)
            assert [len(host.received) for host in hosts] == [4] * 8
            begun = time.perf_counter()
            assert text(healthy, wait=PATIENCE_S)["webhook_delivery"]["state"] == "delivered"
            assert time.perf_counter() - begun < PATIENCE_S / 5
        finally:
            for host in hosts:
                host.__exit__(None, None, None)
