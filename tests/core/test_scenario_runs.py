"""How runs start, what they do to handsets and the gateway, and what they outlive.

The webhooks are posted over real sockets to an application that records what it gets; the clock stands still.
"""

import asyncio
import shutil
from pathlib import Path

import pytest

from sandbox.core.gateway import GatewayCall
from sandbox.errors import Conflict, Invalid, NotFound
from sandbox.model import EventType, HandsetState, Msisdn, RunState
from sandbox.scenario import catalogue
from sandbox.store import faults, messages, scenarios
from sandbox.store.database import Tx
from tests.conftest import Receiver
from tests.theatre import ADA, BEN, FRESH, HOUR_MS, Theatre, in_loop, theatre

ECHO = 'rules: [{when: {text: "*"}, reply: {text: heard}}]'
ASKED = 'steps: [{expect: {text: "Cinema?"}}, {reply: {text: yesterday, after: 2h}}, {expect: {text: b, within: 5s}}]'


# Starting ----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_scenario_is_started_by_its_name(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.services.runner.put("default", "echo", f"scenario: echo\n{ECHO}")
        run = await play.services.runner.start("default", name="echo")
        assert (run.scenario, run.source, run.steps, run.state) == (
            "echo",
            f"scenario: echo\n{ECHO}",
            0,
            RunState.RUNNING,
        )


@pytest.mark.parametrize("name", catalogue.built_in())
@in_loop
async def test_every_built_in_scenario_can_be_started(receiver: Receiver, name: str) -> None:
    async with theatre(receiver) as play:
        assert (await play.services.runner.start("default", name=name)).scenario == name


@in_loop
async def test_a_scenario_of_ones_own_goes_before_the_built_in_one_of_its_name(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.services.runner.put("default", "late-reply", f"scenario: late-reply\n{ECHO}")
        assert [
            (await play.services.runner.start(account, name="late-reply")).steps for account in ("default", "other")
        ] == [
            0,
            len_of("late-reply"),
        ]


def len_of(name: str) -> int:
    return catalogue.built_in()[name].count("\n  - ")


@in_loop
async def test_a_run_goes_on_with_the_scenario_as_it_was(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.services.runner.put("default", "echo", f"scenario: echo\n{ECHO}")
        await play.services.runner.start("default", name="echo")
        await play.services.runner.put("default", "echo", f"scenario: echo\n{ECHO}".replace("heard", "changed"))
        await play.services.runner.remove("default", "echo")
        await play.submit()
        assert await play.texts() == [(ADA, "heard", 0)]


@in_loop
async def test_putting_and_removing_says_what_was_there(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        source = f"scenario: echo\n{ECHO}"
        assert [(await play.services.runner.put("default", "echo", source))[1] for _ in range(2)] == [True, False]
        await play.services.runner.remove("default", "echo")
        with pytest.raises(NotFound, match="There is no scenario"):
            await play.services.runner.remove("default", "echo")
        with pytest.raises(Conflict, match="built in"):
            await play.services.runner.remove("default", "late-reply")
        assert len(await play.news(EventType.SCENARIO_CHANGED)) == 3


@in_loop
async def test_an_unknown_name_is_answered_with_the_nearest(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        with pytest.raises(NotFound, match="Did you mean late-reply"):
            await play.services.runner.start("default", name="late-replay")


@in_loop
async def test_an_account_that_is_not_there_plays_nothing(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        with pytest.raises(NotFound, match="no account nobody"):
            await play.start(ECHO, account="nobody")
        with pytest.raises(NotFound, match="no account nobody"):
            await play.services.runner.put("nobody", "play", f"scenario: play\n{ECHO}")


@in_loop
async def test_a_source_with_mistakes_is_refused_with_all_of_them(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        with pytest.raises(Invalid) as refused:
            await play.start("steps: [{expect: {txt: a}}, {reply: {text: b, order: sideways}}]")
        assert len(refused.value.fields) == 2
        assert [name for name, _ in refused.value.fields] == ["source"] * 2
        assert all(".yaml:2:" in error for _, error in refused.value.fields)
        assert await play.news(EventType.RUN_STARTED) == []


@in_loop
async def test_a_scenario_is_put_under_its_own_name(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        with pytest.raises(Invalid, match="is called play"):
            await play.services.runner.put("default", "other-name", f"scenario: play\n{ECHO}")


# Handsets ----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_scenario_sets_its_handset_up(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(f'handset: {{msisdn: "+{ADA}", telco: glo, label: Ada}}\n{ECHO}')
        found = await play.handset(ADA)
        assert (run.msisdn, found.telco, found.label, found.state) == (ADA, "glo", "Ada", HandsetState.ON)
        assert await play.news(EventType.HANDSET_CHANGED) == [(EventType.HANDSET_CHANGED, run.seq + 1, ADA)]


@pytest.mark.parametrize("script", [True, False])
@in_loop
async def test_a_scenario_for_any_handset_sets_it_up_when_it_plays_it(receiver: Receiver, script: bool) -> None:
    async with theatre(receiver) as play:
        await play.start(f"handset: {{msisdn: any, telco: glo}}\n{ASKED if script else ECHO}")
        before = (await play.handset()).telco
        await play.submit()
        assert (before, (await play.handset()).telco, (await play.handset(BEN)).telco) == ("airtel", "glo", "mtn")


@in_loop
async def test_a_handset_keeps_what_its_scenario_does_not_name(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.set_handset(HandsetState.OFF)
        await play.start(f"handset: {{msisdn: {ADA}, label: Ada}}\n{ECHO}")
        found = await play.handset()
        assert (found.telco, found.state) == ("airtel", HandsetState.OFF)


@in_loop
async def test_a_scenario_for_one_handset_plays_no_other(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        steps = f"handset: {{msisdn: {ADA}}}\n{ECHO}"
        assert (await play.start(steps, msisdn=ADA)).msisdn == ADA
        with pytest.raises(Invalid, match=f"plays the handset {ADA}"):
            await play.start(steps, msisdn=BEN)


@in_loop
async def test_a_handset_that_is_off_answers_when_it_is_on_again(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(ECHO)
        await play.set_handset(HandsetState.OFF)
        await play.submit()
        await play.advance(60_000)
        before = await play.texts()
        await play.set_handset(HandsetState.ON)
        assert (before, await play.texts()) == ([], [(ADA, "heard", 60_000)])


@in_loop
async def test_what_waited_is_answered_in_the_order_it_came(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start('rules: [{when: {pattern: "(.*)", save: {it: "1"}}, reply: {text: "{it}!"}}]')
        await play.set_handset(HandsetState.OFF)
        for text in ("a", "b", "c"):
            await play.submit(text)
        await play.set_handset(HandsetState.ON)
        assert [text for _, text, _ in await play.texts()] == ["a!", "b!", "c!"]


@in_loop
async def test_a_scenario_may_switch_its_handset_off_and_later_on(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(
            "steps: [{expect: {text: a}}, {handset: {state: off}}, {expect_none: {within: 10m}}, "
            "{handset: {state: on}}, {expect: {text: b}}, {reply: {text: late}}]"
        )
        await play.submit("a")
        await play.submit("b")
        await play.advance(HOUR_MS)
        assert await play.texts() == [(ADA, "late", 600_000)]


@in_loop
async def test_a_script_that_begins_by_switching_on_plays_what_waited(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.set_handset(HandsetState.OFF)
        await play.submit()
        await play.start('steps: [{handset: {state: on}}, {expect: {text: "*"}}, {reply: {text: here}}]', msisdn=ADA)
        assert await play.texts() == [(ADA, "here", 0)]


@in_loop
async def test_a_change_of_a_handset_waits_for_the_text_before_it(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(
            'rules: [{when: {text: "*"}, reply: {text: bye, after: 5s}, handset: {state: off}}]', msisdn=ADA
        )
        await play.submit()
        await play.advance(4_999)
        before = (await play.handset()).state
        await play.advance(1)
        assert (before, (await play.handset()).state) == (HandsetState.ON, HandsetState.OFF)
        assert await play.texts() == [(ADA, "bye", 5_000)]


@in_loop
async def test_switching_off_and_on_again_with_every_message_never_goes_deeper(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.set_handset(HandsetState.OFF)
        waiting = [await play.submit() for _ in range(300)]
        await play.start(
            'rules: [{when: {text: "*"}, handset: [{state: off}, {state: on}], reply: {text: heard}}]', msisdn=ADA
        )
        await play.set_handset(HandsetState.ON)
        await play.advance(0)
        assert len(await play.texts()) == len(waiting)


@in_loop
async def test_a_handset_that_switches_itself_off_lets_the_rest_wait(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.set_handset(HandsetState.OFF)
        seqs = [await play.submit(text) for text in ("a", "b", "c")]
        await play.start("rules: [{when: {text: b}, handset: {state: off}}]")
        await play.set_handset(HandsetState.ON)
        assert await play.services.database.read(lambda db: messages.waiting(db, "default", ADA)) == seqs[2:]


# Faults ------------------------------------------------------------------------------------------------------------


async def statuses(play: Theatre, count: int) -> list[int]:
    """What the gateway answers to so many calls."""
    headers = ((b"authorization", b"Bearer sandbox-token"), (b"content-type", b"application/json"))
    body = (
        b'{"from": "48974", "to": "2348020000000", "message": "a", "session_id": "s", '
        b'"sent_date": "2024-01-02T23:50:37.000000Z"}'
    )
    calls = [GatewayCall("POST", "/ng/v1/sendsms", "", headers, body) for _ in range(count)]
    return [(await play.services.gateway.submit(call)).status_code for call in calls]


@in_loop
async def test_a_scenario_makes_the_gateway_fail_so_often(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start('steps: [{fault: {on: sendsms, times: 2, status: 503}}, {expect: {text: "*"}}]')
        assert await statuses(play, 4) == [503, 503, 200, 200]


@in_loop
async def test_a_fault_waits_for_the_text_before_it(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(
            'steps: [{expect: {text: "*"}}, {reply: {text: a, after: 5s}}, {fault: {on: sendsms, status: 503}}, '
            '{expect: {text: "*"}}, {expect: {text: "*"}}, {expect: {text: "*"}}]'
        )
        assert await statuses(play, 2) == [200, 200]
        await play.advance(5_000)
        assert await statuses(play, 2) == [503, 200]


@pytest.mark.parametrize("after", ["0s", "5s"])
@in_loop
async def test_a_run_that_asks_for_too_many_faults_fails_and_no_message_with_it(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    monkeypatch.setattr(faults, "KEPT", 3)
    async with theatre(receiver) as play:
        fault = "{on: webhook, times: 9, status: 500}"
        run = await play.start(
            f'rules: [{{when: {{text: "*"}}, reply: {{text: a, after: {after}}}, fault: [{fault}, {fault}]}}]'
        )
        assert await statuses(play, 2) == [200, 200]
        await play.advance(60_000)
        found = await play.run(run)
        assert (found.state, "Remove some of them" in found.reason) == (RunState.FAILED, True)
        assert await statuses(play, 1) == [200]


# One transaction, and the next start -------------------------------------------------------------------------------


@in_loop
async def test_a_neighbour_that_fails_in_the_same_commit_makes_nothing_happen_twice(receiver: Receiver) -> None:
    def fail(tx: Tx) -> None:
        raise Conflict("as a neighbour may")

    async with theatre(receiver) as play:
        run = await play.start("steps: [{expect: {text: a}}, {reply: {text: once}}, {expect: {text: b}}]", msisdn=ADA)
        for text in ("x", "a"):
            gathered = await asyncio.gather(
                *(play.services.database.write(fail) for _ in range(20)),
                play.submit(text),
                *(play.services.database.write(fail) for _ in range(20)),
                return_exceptions=True,
            )
            assert sum(isinstance(each, Conflict) for each in gathered) == 40
        found = await play.run(run)
        assert (found.cursors[0].cursor.step, len(found.misses)) == (2, 1)
        assert await play.texts() == [(ADA, "once", 0)]


@in_loop
async def test_a_run_goes_on_after_a_crash(receiver: Receiver, tmp_path: Path) -> None:
    before, after = tmp_path / "before.db", tmp_path / "after.db"
    async with theatre(receiver, db=str(before)) as play:
        run = await play.start(ASKED, msisdn=ADA)
        echo = await play.start(ECHO)
        await play.submit()
        for suffix in ("", "-wal"):  # what a process that is killed now leaves behind
            shutil.copy(f"{before}{suffix}", f"{after}{suffix}")
        began_ms = play.began_ms
    async with theatre(receiver, db=str(after)) as play:
        assert play.services.runner.playing("default")
        assert not play.services.runner.playing("other")
        await play.advance(began_ms + 2 * HOUR_MS - play.services.clock.now_ms())
        assert [each["message"] for each in play.payloads] == ["yesterday"]
        await play.submit("b")
        assert (await play.run(run)).state == RunState.FINISHED
        await play.submit("c")
        assert [each["message"] for each in play.payloads] == ["yesterday", "heard"]
        assert (await play.run(echo)).state == RunState.RUNNING


@in_loop
async def test_a_window_passes_after_a_restart(receiver: Receiver, tmp_path: Path) -> None:
    db = str(tmp_path / "sandbox.db")
    async with theatre(receiver, db=db) as play:
        run = await play.start(ASKED, msisdn=ADA)
        await play.submit()
        began_ms = play.began_ms
    async with theatre(receiver, db=db) as play:
        await play.advance(24 * HOUR_MS)
        found = await play.run(run)
        assert (found.state, found.ended_ms) == (RunState.FAILED, began_ms + 2 * HOUR_MS + 5_000)


@in_loop
async def test_a_run_whose_scenario_cannot_be_read_any_more_fails_at_the_start(
    receiver: Receiver, tmp_path: Path
) -> None:
    db = str(tmp_path / "sandbox.db")
    async with theatre(receiver, db=db) as play:
        run = await play.start(ASKED)
        await play.services.database.write(
            lambda tx: tx.execute("UPDATE runs SET source = 'scenario: of old'") and None
        )
    async with theatre(receiver, db=db) as play:
        found = await play.run(run)
        assert (found.state, "cannot be read any more" in found.reason) == (RunState.FAILED, True)
        assert not play.services.runner.playing("default")


@in_loop
async def test_a_run_without_a_handset_is_found_by_its_state(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(ASKED)
        assert [(each.msisdn, each.cursor.step) for each in (await play.run(run)).cursors] == [(None, 0)]
        page = await play.services.database.read(lambda db: scenarios.page(db, account="default", state="running"))
        assert page == [await play.run(run)]
        assert Msisdn(FRESH) == FRESH
