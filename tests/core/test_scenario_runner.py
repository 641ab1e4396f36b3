"""Scenarios as they are played: what a handset answers, when exactly, and which run a message belongs to.

The webhooks are posted over real sockets to an application that records what it gets; the clock stands still.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sandbox.errors import Conflict, NotFound
from sandbox.model import EventType, Msisdn, RunState, Shortcode, TextRequest
from sandbox.store import faults, outbox, scenarios
from sandbox.store.database import Tx
from sandbox.store.scenarios import Run
from tests.conftest import Receiver
from tests.theatre import ADA, BEN, EVE, FRESH, HOUR_MS, OTHER, Theatre, in_loop, theatre

# What a handset answers, and when ----------------------------------------------------------------------------------

ECHO = 'rules: [{when: {text: "*"}, reply: {text: heard}}]'


@in_loop
async def test_a_late_reply_with_its_retries_plays_in_one_advance(receiver: Receiver) -> None:
    receiver.answer_next(*[500] * 7)
    async with theatre(receiver) as play:
        run = await play.start(
            'steps: [{expect: {text: "*cinema?*", ignore_case: true}}, {reply: {text: yesterday, after: 2h}}]'
        )
        await play.submit()
        await play.advance(2 * HOUR_MS + HOUR_MS)
        assert await play.texts() == [(ADA, "yesterday", 2 * HOUR_MS)]
        [delivery] = await play.services.database.read(lambda db: outbox.page(db, account="default"))
        attempts = await play.services.database.read(lambda db: outbox.attempts(db, delivery.seq))
        assert [each.started_ms - play.began_ms - 2 * HOUR_MS for each in attempts] == [
            1000 * offset for offset in (0, 30, 60, 120, 240, 480, 960, 1920)
        ]
        assert ((await play.run(run)).state, delivery.state) == (RunState.FINISHED, "delivered")


@in_loop
async def test_a_reply_carries_session_and_shortcode_of_what_it_answers(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(ECHO)
        await play.submit(session="67543uhn3")
        assert [(each["from"], each["to"], each["session_id"]) for each in play.payloads] == [
            (ADA, "48974", "67543uhn3")
        ]


@in_loop
async def test_duplicates_come_as_identical_bytes(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start('rules: [{when: {text: "*"}, reply: {text: heard, duplicates: 2}}]')
        await play.submit()
        assert len(receiver.received) == 3
        assert len({each.body for each in receiver.received}) == 1


@in_loop
async def test_reversed_replies_arrive_reversed_and_say_when_they_were_sent(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start('rules: [{when: {text: "*"}, reply: {text: [one, two, three], after: 1s, order: reversed}}]')
        await play.submit()
        await play.advance(60_000)
        assert [each["message"] for each in play.payloads] == ["three", "two", "one"]
        moments = [each["sent_date"] for each in play.payloads]
        assert moments == sorted(moments, reverse=True)
        assert len(set(moments)) == 3


@in_loop
async def test_a_reply_may_have_a_plus_and_another_telco(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start('rules: [{when: {text: "*"}, reply: {text: heard, format: plus, telco: glo}}]')
        await play.submit()
        assert [(each["from"], each["telco"]) for each in play.payloads] == [(f"+{ADA}", "glo")]


@in_loop
async def test_a_number_may_be_ported_in_the_middle_of_a_dialogue(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(
            'steps: [{expect: {text: "*"}}, {reply: {text: a}}, {handset: {telco: 9mobile}}, {expect: {text: "*"}}, '
            "{reply: {text: b}}]"
        )
        await play.submit()
        await play.submit()
        assert [each["telco"] for each in play.payloads] == ["airtel", "9mobile"]


@in_loop
async def test_what_was_saved_is_said_again(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(
            'steps: [{expect: {pattern: "code (\\\\d+)", save: {code: "1"}}}, {reply: {text: "my code is {code}"}}]'
        )
        await play.submit("Your code 4711, please")
        assert await play.texts() == [(ADA, "my code is 4711", 0)]


@in_loop
async def test_a_persona_has_a_state_for_each_handset(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(
            'rules: [{when: {text: "*", required_state: start, new_state: met}, reply: {text: "who?"}}, '
            '{when: {text: "*", required_state: met}, reply: {text: you again}}]'
        )
        for to in (ADA, BEN, ADA):
            await play.submit(to=to)
        assert [text for _, text, _ in await play.texts()] == ["who?", "who?", "you again"]
        assert {each.msisdn: each.cursor.named_state for each in (await play.run(run)).cursors} == {
            ADA: "met",
            BEN: "met",
        }


@in_loop
async def test_the_rules_of_a_script_go_on_when_its_steps_are_done(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start('steps: [{expect: {text: "*"}}]\nrules: [{when: {text: "*"}, reply: {text: heard}}]')
        await play.submit()
        assert (await play.run(run)).state is RunState.FINISHED
        await play.submit()
        await play.submit()
        assert [text for _, text, _ in await play.texts()] == ["heard", "heard"]
        await play.services.runner.stop("default", run.seq)
        await play.submit()
        assert len(await play.texts()) == 2


@in_loop
async def test_texts_of_one_moment_go_in_their_order(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        texts = ", ".join(f"{{reply: {{text: {number}}}}}" for number in range(20))
        await play.start(f'steps: [{{expect: {{text: "*"}}}}, {texts}]')
        await play.submit()
        await play.advance(10_000)
        assert [text for _, text, _ in await play.texts()] == [str(number) for number in range(20)]


@in_loop
async def test_a_persona_answers_for_ever_without_growing(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(ECHO)
        for _ in range(100):
            await play.submit()
            await play.advance(2_000)  # as quick as rules may be for ever
        assert len(await play.texts()) == 100
        found = await play.run(run)
        assert (found.state, len(found.cursors), await play.planned()) == (RunState.RUNNING, 1, 0)


# A handset that starts ---------------------------------------------------------------------------------------------

STARTS = "steps: [{send: {text: CINEMA, to: 48974}}, {expect: {text: '*', session: same}}]"


@in_loop
async def test_a_script_that_texts_first_has_a_number_that_nobody_has_used(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        runs = [await play.start(STARTS) for _ in range(2)]
        assert [run.msisdn for run in runs] == [FRESH, Msisdn("2348030000001")]
        assert [msisdn for msisdn, *_ in await play.texts()] == [run.msisdn for run in runs]


@in_loop
async def test_a_script_that_texts_first_may_be_given_its_handset(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(STARTS, msisdn=ADA)
        assert (run.msisdn, await play.texts()) == (ADA, [(ADA, "CINEMA", 0)])


@pytest.mark.parametrize(("same", "state"), [(True, RunState.FINISHED), (False, RunState.RUNNING)])
@in_loop
async def test_the_session_that_a_handset_opened_is_the_one_to_go_on_in(
    receiver: Receiver, same: bool, state: RunState
) -> None:
    async with theatre(receiver) as play:
        run = await play.start(STARTS)
        await play.submit(to=FRESH, session=play.payloads[0]["session_id"] if same else "another")
        assert (await play.run(run)).state == state


@in_loop
async def test_a_script_that_texts_after_a_silence_finds_its_number_then(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start("steps: [{expect_none: {within: 5s}}, {send: {text: CINEMA, to: 48974}}]")
        assert run.msisdn is None
        await play.advance(5_000)
        assert await play.texts() == [(FRESH, "CINEMA", 5_000)]
        assert (await play.run(run)).msisdn == FRESH


# Which run, and which handset --------------------------------------------------------------------------------------

ASKED = 'steps: [{expect: {text: "Cinema?"}}, {reply: {text: yesterday}}, {expect: {text: "Thanks"}}]'


@in_loop
async def test_a_script_plays_the_first_handset_whose_message_fits(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(ASKED)
        await play.submit("Weather?", to=BEN)
        await play.submit("Cinema?", to=ADA)
        await play.submit("Cinema?", to=EVE)
        assert await play.texts() == [(ADA, "yesterday", 0)]
        assert (await play.run(run)).msisdn == ADA


@in_loop
async def test_two_runs_of_a_script_play_two_handsets(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        runs = [await play.start(ASKED) for _ in range(2)]
        for text in ("Cinema?", "Cinema?", "Thanks"):
            for to in (ADA, BEN):
                await play.submit(text, to=to)
        found = [await play.run(run) for run in runs]
        assert [(run.msisdn, run.state) for run in found] == [(ADA, RunState.FINISHED), (BEN, RunState.FINISHED)]
        assert len(found[0].misses) == 1


@in_loop
async def test_a_run_for_a_handset_plays_no_other(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(ECHO, msisdn=BEN)
        await play.start(ASKED, msisdn=ADA)
        for to in (ADA, BEN, EVE):
            await play.submit(to=to)
        assert await play.texts() == [(ADA, "yesterday", 0), (BEN, "heard", 0)]


@in_loop
async def test_the_oldest_run_that_a_message_fits_takes_it_alone(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start('rules: [{when: {text: "Weather?"}, reply: {text: never}}]')
        await play.start('rules: [{when: {text: "*"}, reply: {text: first}}]')
        await play.start('rules: [{when: {text: "*"}, reply: {text: second}}]')
        await play.submit()
        assert [text for _, text, _ in await play.texts()] == ["first"]


@in_loop
async def test_no_account_plays_another_accounts_messages(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.start(ECHO, account="other")
        await play.submit()
        assert (await play.texts(), await play.texts("other")) == ([], [])
        await play.submit(by=OTHER)
        assert await play.texts("other") == [(ADA, "heard", 0)]


@in_loop
async def test_a_handset_is_played_by_one_script_at_a_time(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        first = await play.start(ASKED, msisdn=ADA)
        with pytest.raises(Conflict, match=f"{first.id} plays the handset {ADA} already"):
            await play.start(ASKED, msisdn=ADA)
        await play.start(ASKED, msisdn=BEN)
        await play.start(ASKED, msisdn=ADA, account="other")
        await play.start(ECHO, msisdn=ADA)
        await play.services.runner.stop("default", first.seq)
        assert (await play.start(ASKED, msisdn=ADA)).state == RunState.RUNNING


@in_loop
async def test_what_was_typed_by_hand_is_no_part_of_the_run(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start('steps: [{expect: {text: "*"}}, {expect: {text: "*", session: same}}]', msisdn=ADA)
        await play.submit(session="one")
        await play.services.network.originate(
            TextRequest(account="default", msisdn=ADA, text="by hand", shortcode=Shortcode("48974"), new=True)
        )
        await play.submit(session="one")
        assert (await play.run(run)).state == RunState.FINISHED


# Misses, windows and ends ------------------------------------------------------------------------------------------


@in_loop
async def test_a_miss_is_recorded_with_its_differences_and_changes_nothing(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(ASKED, msisdn=ADA)
        seq = await play.submit("Weather?")
        found = await play.run(run)
        [(message_seq, miss)] = found.misses
        assert (message_seq, miss.about) == (seq, "step 1")
        assert [tuple(each) for each in miss.differences] == [("text", "Cinema?", "Weather?")]
        assert found.cursors == run.cursors
        assert await play.news(EventType.RUN_MISSED) == [(EventType.RUN_MISSED, run.seq, ADA)]


@in_loop
async def test_every_run_that_plays_the_handset_remembers_a_miss(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        runs = [await play.start(ASKED, msisdn=to) for to in (None, ADA, BEN)]
        runs.append(await play.start("rules: [{when: {text: x}, reply: {text: never}}]"))
        await play.submit("Weather?", to=BEN)
        assert [len((await play.run(run)).misses) for run in runs] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "after_ms", "state"),
    [
        pytest.param("Thanks", 0, RunState.FAILED, id="what must not come came"),
        pytest.param(None, 4_999, RunState.RUNNING, id="not over yet"),
        pytest.param(None, 5_000, RunState.FINISHED, id="nothing came"),
        pytest.param("Weather?", 5_000, RunState.FINISHED, id="something else came"),
    ],
)
@in_loop
async def test_expect_none(receiver: Receiver, text: str | None, after_ms: int, state: RunState) -> None:
    async with theatre(receiver) as play:
        run = await play.start('steps: [{expect_none: {text: "Thanks", within: 5s}}]', msisdn=ADA)
        if text is not None:
            await play.submit(text)
        await play.advance(after_ms)
        found = await play.run(run)
        assert found.state == state
        assert ("Thanks" in found.reason) == (state is RunState.FAILED)


@in_loop
async def test_a_window_that_passes_fails_the_run_at_its_moment(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(
            'steps: [{expect: {text: "*"}}, {reply: {text: a, after: 2h}}, {expect: {text: b, within: 5s}}]'
        )
        await play.submit()
        await play.advance(24 * HOUR_MS)
        found = await play.run(run)
        assert found.ended_ms == play.began_ms + 2 * HOUR_MS + 5_000
        assert (found.state, "within 5 s" in found.reason, found.reason) == (
            RunState.FAILED,
            True,
            found.cursors[0].cursor.reason,
        )


@in_loop
async def test_a_window_is_gone_when_the_message_came(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start("steps: [{expect: {text: a, within: 5s}}, {expect: {text: b}}]")
        await play.advance(4_999)
        await play.submit("a")
        assert await play.planned() == 0
        await play.advance(HOUR_MS)
        assert (await play.run(run)).state == RunState.RUNNING


@in_loop
async def test_an_end_is_news_and_comes_once(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start('steps: [{expect: {text: "*"}}]', msisdn=ADA)
        await play.submit()
        await play.submit()
        of_run = (EventType.RUN_STARTED, EventType.RUN_MOVED, EventType.RUN_MISSED, EventType.RUN_ENDED)
        assert await play.news(*of_run) == [
            (EventType.RUN_STARTED, run.seq, ADA),
            (EventType.RUN_MOVED, run.seq, ADA),
            (EventType.RUN_ENDED, run.seq, ADA),
        ]
        assert not play.services.runner.playing("default")


@in_loop
async def test_a_script_is_finished_when_its_last_text_has_gone(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start('steps: [{expect: {text: "*"}}, {reply: {text: a, after: 2h}}]')
        await play.submit()
        before = (await play.run(run)).state
        await play.advance(2 * HOUR_MS)
        assert (before, (await play.run(run)).state) == (RunState.RUNNING, RunState.FINISHED)


# Stopping and forgetting -------------------------------------------------------------------------------------------

BUSY = (
    'steps: [{fault: {on: webhook, times: 5, status: 500}}, {expect: {text: "*"}}, {reply: {text: a, after: 2h}}, '
    "{handset: {state: off}}, {expect: {text: b, within: 1h}}]"
)


async def stop(play: Theatre, run: Run) -> None:
    await play.services.runner.stop("default", run.seq)


async def fail(play: Theatre, run: Run) -> None:
    def planned_too_much(tx: Tx) -> None:
        play.services.runner._end(tx, run, RunState.FAILED, "as a window does")

    await play.services.database.write(planned_too_much)


async def reset(play: Theatre, run: Run) -> None:
    await play.services.control.reset("default")


async def reset_all(play: Theatre, run: Run) -> None:
    await play.services.control.reset()


async def remove(play: Theatre, run: Run) -> None:
    await play.services.control.remove_account("default")


@pytest.mark.parametrize("end", [stop, fail, reset, reset_all, remove])
@in_loop
async def test_an_end_before_the_last_step_takes_back_all_that_was_asked_for(
    receiver: Receiver, end: Callable[[Theatre, Run], Coroutine[Any, Any, None]]
) -> None:
    async with theatre(receiver) as play:
        run = await play.start(BUSY)
        await play.submit()
        assert (await play.planned(), len(await play.services.database.read(faults.stored))) == (3, 1)
        await end(play, run)
        assert (await play.planned(), await play.services.database.read(faults.stored)) == (0, [])
        assert not play.services.faults.webhook
        assert not play.services.runner.playing("default")
        await play.advance(24 * HOUR_MS)
        assert await play.texts() == []


@pytest.mark.parametrize("end", [reset, reset_all, remove])
@in_loop
async def test_nothing_is_left_of_the_runs_of_an_account_that_was_forgotten(
    receiver: Receiver, end: Callable[[Theatre, Run], Coroutine[Any, Any, None]]
) -> None:
    async with theatre(receiver) as play:
        run = await play.start(BUSY)
        await end(play, run)
        assert await play.services.database.read(lambda db: scenarios.page(db, account="default")) == []


@in_loop
async def test_the_scenarios_of_an_account_that_was_removed_are_gone(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        for account in ("default", "other"):
            await play.services.runner.put(account, "play", f"scenario: play\n{ECHO}")
        await play.services.control.remove_account("default")
        own = await play.services.database.read(lambda db: [scenarios.own(db, name) for name in ("default", "other")])
        assert [len(each) for each in own] == [0, 1]


@in_loop
async def test_what_a_finished_script_asked_for_stays(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start("steps: [{fault: {on: sendsms, times: 2, status: 503}}]")
        [fault] = await play.services.database.read(faults.stored)
        assert ((await play.run(run)).state, fault.run_seq, fault.left) == (RunState.FINISHED, run.seq, 2)


@in_loop
async def test_a_run_is_stopped_once_and_by_its_own_account(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run = await play.start(ECHO)
        with pytest.raises(NotFound, match=f"no run {run.id}"):
            await play.services.runner.stop("other", run.seq)
        assert (await play.services.runner.stop("default", run.seq)).state == RunState.STOPPED
        with pytest.raises(Conflict, match="ended already: stopped"):
            await play.services.runner.stop("default", run.seq)


@in_loop
async def test_a_stopped_run_answers_nothing(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        run, other = await play.start(ECHO), await play.start(ASKED, msisdn=BEN)
        await stop(play, run)
        await play.submit()
        await play.submit(to=BEN)
        assert await play.texts() == [(BEN, "yesterday", 0)]
        assert (await play.run(other)).state == RunState.RUNNING


@in_loop
async def test_a_reset_of_one_account_leaves_the_runs_of_others_and_its_own_scenarios(receiver: Receiver) -> None:
    async with theatre(receiver) as play:
        await play.services.runner.put("default", "play", f"scenario: play\n{ECHO}")
        await play.start(ECHO, account="other")
        await reset(play, await play.start(ECHO))
        await play.submit(by=OTHER)
        assert await play.texts("other") == [(ADA, "heard", 0)]
        assert (await play.services.runner.start("default", name="play")).state == RunState.RUNNING
