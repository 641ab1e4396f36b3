"""The plugin as the test suites of others see it: each test here runs a suite of its own."""

import importlib
import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import testing

pytest_plugins = "pytester"

CINEMA = Path(__file__).with_name("cinema.py").read_text(encoding="utf-8")

# As the product's own description has them; only the port is one that is free.
PRODUCT = """
import pytest

def test_cinema_survey(client, ninebits, handset):
    ninebits.client_url = "http://127.0.0.1:8000/sms"          # or an ASGI/WSGI callable
    client.post("/start", json={"phone": handset.number})

    question = handset.wait_for_message(text="*cinema?*")
    webhook = handset.reply("yesterday")                        # returns after the application answered
    assert webhook.status_code == 200
    assert handset.wait_for_message(pattern="thank you", ignore_case=True).session_id == question.session_id
    handset.assert_no_message(within=0.2)

def test_survives_a_gateway_outage(ninebits, handset, app):
    ninebits.fail_next(2, status=503)
    app.send(handset.number, "hello", "s1")
    assert handset.wait_for_message().text == "hello"

@pytest.mark.ninebits(allow_failed_deliveries=True)
def test_an_hour_of_retries(ninebits, handset, app):
    app.answer_with(500)
    webhook = handset.reply("1", wait=False)
    ninebits.clock.advance(3600)
    assert [a.offset_s for a in webhook.attempts] == [0, 30, 60, 120, 240, 480, 960, 1920, 3600]
"""


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suites run as on a machine that knows of no sandbox."""
    for name in list(os.environ):
        if name.startswith(("NINEBITS_", "PYTEST_XDIST")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module", autouse=True)
def everything_imported() -> None:
    """A suite in this process unloads what it has loaded, which modules in C do not survive."""
    for name in ("sandbox.server", "sandbox.scenario.script", "httptools", "regex", "uvloop", "yaml"):
        importlib.import_module(name)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite whose conftest.py is the cinema survey."""
    pytester.makeconftest(CINEMA)
    return pytester


def run(suite: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """Run a suite in this process, with no plugin but ours; warnings are errors."""
    suite.makepyfile(tests)
    return suite.runpytest_inprocess(*ALONE, *options)


OTHERS = ("asyncio", "anyio", "xdist", "cacheprovider", "hypothesispytest", "schemathesis", "pytest_httpserver")
ALONE = (*(part for name in OTHERS for part in ("-p", f"no:{name}")), "-W", "error", "-rA")


def shown(result: pytest.RunResult) -> str:
    return result.stdout.str()


# The product's description


def test_the_tests_of_the_product_s_description_pass_as_written(suite: pytest.Pytester) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    suite.makeconftest(CINEMA.replace("PORT = 0", f"PORT = {port}"))
    run(suite, PRODUCT.replace("8000", str(port))).assert_outcomes(passed=3)


# What a failed test says


def test_a_failed_wait_says_why_without_a_traceback_through_the_plugin(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_it(app, handset):
            app.send(handset.number, "Which film?", "s1")
            handset.wait_for_message(text="*cinema?*", timeout=0.01)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r">       handset\.wait_for_message\(text=.*",
            r"E +sandbox\.[\w.]+\.ExpectationFailed: No message came to \d+ within 0\.01 s, with:",
            r"E +text +wanted +'\*cinema\?\*'",
            r"E +found +'Which film\?'",
        ]
    )
    assert "transport.py" not in shown(result)
    assert "assertions.py:" not in shown(result)


def test_a_test_that_fails_by_itself_gains_conversation_attempts_refusals_and_near_misses(
    suite: pytest.Pytester,
) -> None:
    result = run(
        suite,
        """
        def test_it(app, ninebits, handset):
            app.send("0802", "to nowhere", "s1")
            app.send(handset.number, "Which film?", "s1")
            app.answer_with(404)
            handset.reply("yesterday")
            assert ninebits.verify("*cinema?*")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            "-+ ninebits conversation -+",
            r".* application +Which film\?",
            ".* handset +yesterday",
            ".*answered 404.*",
            "-+ ninebits refused calls -+",
            ".*a national number.*",
            "-+ ninebits near misses -+",
            r".*found +'Which film\?'",
        ]
    )


def test_hostile_text_does_not_reach_the_terminal(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        r"""
        def test_it(app, handset):
            app.send(handset.number, "red \x1b[31m and \u202e reversed", "s1")
            handset.assert_no_message(within=0)

        def test_other(app, ninebits, handset):
            app.send(handset.number, "red \x1b[31m and \u202e reversed", "s1")
            assert ninebits.verify("hello")
        """,
    )
    result.assert_outcomes(failed=2)
    assert "\x1b[31m and" not in shown(result)
    assert "\u202e" not in shown(result)


def test_a_test_that_passes_is_not_reported_on(suite: pytest.Pytester) -> None:
    result = run(suite, "def test_it(app, handset):\n    app.send(handset.number, 'hello', 's1')\n")
    result.assert_outcomes(passed=1)
    assert "ninebits conversation" not in shown(result)


def test_a_fixture_that_fails_is_reported_on_too(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import pytest

        @pytest.fixture
        def asked(app, handset):
            app.send(handset.number, "Which film?", "s1")
            raise RuntimeError("no more")

        def test_it(asked): pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.re_match_lines(["-+ ninebits conversation -+", ".*Which film.*"])


# When a test is over


@pytest.mark.parametrize(
    ("doing", "error", "allowing"),
    [
        ("app.send('0802', 'hello', 's1')", "*a national number*", "allow_refused"),
        ("app._token = 'wrong'; app.send(handset.number, 'hi', 's1')", "*token that no account has*", "allow_refused"),
        (
            "app.answer_with(500); handset.send('1', '48974'); ninebits.clock.advance(3600)",
            "*A webhook was given up after its last retry.*",
            "allow_failed_deliveries",
        ),
        (
            "ninebits.scenario('late-reply')",
            "*The scenario late-reply is running at step 1 of 3*",
            "allow_unfinished",
        ),
    ],
)
def test_a_test_fails_on_what_it_left_behind_unless_marked(
    suite: pytest.Pytester, doing: str, error: str, allowing: str
) -> None:
    result = run(
        suite,
        f"""
        import pytest

        def test_it(app, ninebits, handset):
            {doing}

        def test_next(app, ninebits, handset): pass

        @pytest.mark.ninebits({allowing}=True)
        def test_allowed(app, ninebits, handset):
            {doing}
        """,
    )
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_it*", "*The test passed, but*", error, f"*{allowing}=True*"]
    )


def test_a_refusal_that_was_looked_at_is_no_error(suite: pytest.Pytester) -> None:
    tests = """
        def test_it(app, ninebits):
            app.send("0802", "hello", "s1")
            assert [each.status_code for each in ninebits.refused] == [400, 400, 400]
        """
    run(suite, tests).assert_outcomes(passed=1)


def test_a_test_that_failed_is_not_failed_twice(suite: pytest.Pytester) -> None:
    tests = """
        import pytest

        def test_it(app):
            app.send("0802", "hello", "s1")
            assert False

        @pytest.mark.xfail
        def test_expected(app):
            app.send("0802", "hello", "s1")
            assert False
        """
    run(suite, tests).assert_outcomes(failed=1, xfailed=1)


# The marker


def test_marks_give_the_account_its_settings_and_the_nearest_has_the_last_word(suite: pytest.Pytester) -> None:
    tests = """
        import pytest

        pytestmark = pytest.mark.ninebits(strict=False, settings={"msisdn_format": "plus"})

        def settings(ninebits):
            account = ninebits.client.get("accounts", ninebits.account)
            return account["strict"], account["msisdn_format"], account["order"]

        def test_module(ninebits):
            assert settings(ninebits) == (False, "plus", "free")

        @pytest.mark.ninebits(strict=True, settings={"order": "conversation"})
        def test_own(ninebits):
            assert settings(ninebits) == (True, "plus", "conversation")
        """
    run(suite, tests).assert_outcomes(passed=2)


def test_a_marked_scenario_is_played_and_may_stand_beside_the_test(suite: pytest.Pytester) -> None:
    folder = suite.mkdir("surveys")
    steps = '  - expect: {text: "*cinema?"}\n  - reply: {text: yesterday}\n'
    (folder / "mine.yaml").write_text(f"scenario: mine\nsteps:\n{steps}")
    (folder / "test_survey.py").write_text("""
import pytest

@pytest.mark.ninebits(scenario="mine.yaml")
def test_it(client, handset):
    client.post("/start", json={"phone": handset.number})
    assert [each.text for each in handset.wait_for_messages(2)][1] == "Thank you!"
""")
    suite.runpytest_inprocess(*ALONE).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        ("expect_none: {within: 50ms}", {"passed": 1}),
        ("reply: {text: bye, after: 2h}", {"passed": 1}),
        ("expect: {text: never, within: 50ms}", {"passed": 1, "errors": 1}),
        ("expect: {text: never}", {"passed": 1, "errors": 1}),
    ],
)
def test_what_a_marked_scenario_has_planned_is_played_when_the_test_is_over(
    suite: pytest.Pytester, end: str, outcome: dict[str, int]
) -> None:
    (suite.path / "mine.yaml").write_text(f'scenario: mine\nsteps:\n  - expect: {{text: "*cinema?"}}\n  - {end}\n')
    tests = """
@pytest.mark.ninebits(scenario="mine.yaml")
def test_it(client, handset):
    client.post("/start", json={"phone": handset.number})
"""
    run(suite, "import pytest\n" + tests).assert_outcomes(**outcome)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("alow_refused=True", "@pytest.mark.ninebits has no alow_refused. Did you mean allow_refused?"),
        ("'happy-survey'", "@pytest.mark.ninebits takes names: scenario, *"),
        ("settings={'shortcode': '1'}", "*Did you mean shortcodes?*"),
        ("scenario='no-such-scenario'", "The test's scenario cannot be played: *no-such-scenario*"),
        ("scenario='missing.yaml'", "The test's scenario cannot be played: *missing.yaml*"),
    ],
)
def test_a_mark_that_makes_no_sense_is_told_without_a_traceback(suite: pytest.Pytester, mark: str, said: str) -> None:
    tests = f"import pytest\n\n@pytest.mark.ninebits({mark})\ndef test_it(ninebits): pass\n"
    result = run(suite, tests)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])
    assert "pytest_plugin.py" not in shown(result)
    assert "ninebits report" not in shown(result)


def test_the_marker_is_known_where_markers_are_strict(suite: pytest.Pytester) -> None:
    tests = "import pytest\n\n@pytest.mark.ninebits(strict=False)\ndef test_it(ninebits): pass\n"
    run(suite, tests, "--strict-markers").assert_outcomes(passed=1)


# Fixtures


def test_tests_do_not_see_each_other(suite: pytest.Pytester) -> None:
    tests = """
        import pytest

        seen = set()

        @pytest.mark.parametrize("turn", range(3))
        def test_it(app, ninebits, handset, handset_factory, turn):
            other = handset_factory(telco="airtel", label="Ada")
            assert ninebits.messages() == []
            app.send(handset.number, "hello", "s1")
            assert len(ninebits.messages()) == 1
            assert not seen & {handset.number, other.number, ninebits.account, ninebits.token}
            seen.update({handset.number, other.number, ninebits.account, ninebits.token})
        """
    run(suite, tests).assert_outcomes(passed=3)


def test_settings_of_the_server_can_be_overridden(suite: pytest.Pytester) -> None:
    tests = """
        import pytest

        @pytest.fixture(scope="session")
        def ninebits_settings():
            return {"max_text": 5}

        def test_it(app, ninebits, handset):
            assert app.send(handset.number, "hello", "s1") == 200
            assert app.send(handset.number, "hello!", "s1") == 400
            assert ninebits.refused
        """
    run(suite, tests).assert_outcomes(passed=1)


def test_without_an_async_plugin_the_async_fixtures_are_there(suite: pytest.Pytester) -> None:
    tests = """
        import asyncio

        def test_it(app, async_ninebits, async_handset, async_handset_factory):
            async def main():
                other = async_handset_factory()
                assert other.number != async_handset.number
                await asyncio.to_thread(app.send, async_handset.number, "hello", "s1")
                assert (await async_handset.wait_for_message()).text == "hello"
                assert (await async_handset.reply("hi")).status_code == 200
                assert await async_ninebits.refused == []

            asyncio.run(main())
        """
    run(suite, tests).assert_outcomes(passed=1)


ASYNC = """
import asyncio
import json

import pytest

{mark}

async def send(ninebits, to, text):
    body = {{"from": "48974", "to": to, "message": text, "session_id": "s1"}}
    body["sent_date"] = "2024-01-02T23:50:37.000000Z"
    await ninebits.client.submit(body, token=ninebits.token)

async def test_the_loop_that_serves_the_webhook_is_not_blocked(async_ninebits, async_handset):
    async def serve(reader, writer):
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:"))
        came = json.loads(await reader.readexactly(length))
        await send(async_ninebits, async_handset.number, "got " + came["message"])
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        async_ninebits.client_url = "http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
        webhook = await async_handset.send("1", "48974")
        assert webhook.status_code == 200
        assert (await async_handset.wait_for_message()).text == "got 1"
        assert [each.text for each in await webhook.caused] == ["got 1"]

async def test_a_wait_fails_in_words(async_handset):
    with pytest.raises(AssertionError, match="No message came to"):
        await async_handset.wait_for_message(timeout=0.01)
"""


@pytest.mark.parametrize(
    ("plugin", "mark", "options"),
    [
        ("anyio", "pytestmark = pytest.mark.anyio\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'", ()),
        ("pytest_asyncio", "", ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")),
    ],
)
def test_async_tests_run_under_each_async_plugin(
    pytester: pytest.Pytester, plugin: str, mark: str, options: tuple[str, ...]
) -> None:
    if importlib.util.find_spec(plugin) is None:
        pytest.skip(f"{plugin} is not installed")
    pytester.makepyfile(ASYNC.format(mark=mark))
    other = "asyncio" if plugin == "anyio" else "anyio"
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", f"no:{other}", "-W", "error", *options)
    result.assert_outcomes(passed=2)


# Manners


def test_a_run_that_uses_no_fixture_imports_nothing_but_the_plugin(pytester: pytest.Pytester) -> None:
    tests = """
        import sys

        def test_it():
            ours = sorted(name for name in sys.modules if name.partition(".")[0] == "sandbox")
            assert ours == ["sandbox", "sandbox.pytest_plugin"]
        """
    pytester.makepyfile(tests)
    pytester.runpytest_subprocess(*ALONE).assert_outcomes(passed=1)


def test_an_application_that_talks_to_its_own_loop_leaves_nothing_open(suite: pytest.Pytester) -> None:
    """Threads and sockets end with the suite; a warning would be an error."""
    result = run(
        suite,
        """
        import gc, threading

        def test_it(client, handset):
            client.post("/start", json={"phone": handset.number})
            handset.converse([("*cinema?", "yesterday"), "Thank*"])

        def test_threads(ninebits_server):
            gc.collect()
            assert not [each for each in threading.enumerate() if each.name == "sandbox-application"]
        """,
    )
    result.assert_outcomes(passed=2)


# Several processes

MANY = """
import pytest

@pytest.mark.parametrize("turn", range({number}))
def test_survey(client, ninebits, handset, turn, request):
    client.post("/start", json={{"phone": handset.number}})
    handset.converse([("*cinema?", "yesterday"), "Thank*"])
    handset.assert_no_message(within=0)
    assert {{each.handset for each in ninebits.messages()}} == {{handset.number}}
    assert len(ninebits.requests) == 2
    with open(request.config.rootpath / (handset.number + ".used"), "x"):  # nobody else has this number
        pass
"""


@pytest.fixture
def xdist() -> None:
    if importlib.util.find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")


@pytest.mark.usefixtures("xdist")
def test_a_suite_runs_in_two_processes_with_a_sandbox_each(suite: pytest.Pytester) -> None:
    suite.makepyfile(MANY.format(number=40))
    result = suite.runpytest_subprocess("-n", "2", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=40)


@pytest.mark.usefixtures("xdist")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_processes_may_have_any_name(suite: pytest.Pytester, elsewhere: bool) -> None:
    suite.makepyfile(MANY.format(number=12))
    names = ("alpha", "gw01")
    workers = [part for name in names for part in ("--tx", f"popen//id={name}")]
    options = (*workers, "--dist", "load", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error")
    with testing.start() as shared:
        there = ("--ninebits-url", shared.url) if elsewhere else ()
        suite.runpytest_subprocess(*options, *there).assert_outcomes(passed=12)


@pytest.mark.usefixtures("xdist")
def test_two_processes_share_one_sandbox_without_seeing_each_other(suite: pytest.Pytester) -> None:
    suite.makepyfile(MANY.format(number=20))
    with testing.start() as shared:
        options = ("--ninebits-url", shared.url, "-n", "2", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error")
        suite.runpytest_subprocess(*options).assert_outcomes(passed=20)
        assert [each["name"] for each in shared.client.list("accounts")["accounts"]] == ["default"]


# A sandbox that runs already


@pytest.fixture
def running() -> Iterator[testing.Server]:
    with testing.start(control_token="a-token-of-sixteen-characters") as it:
        yield it


WHERE = """
def test_it(ninebits, ninebits_server):
    assert (ninebits.url, ninebits_server.in_process) == ({url!r}, False)
"""


@pytest.mark.parametrize("by", ["option", "environment", "ini"])
def test_a_running_sandbox_is_named_by_option_environment_or_ini_file(
    pytester: pytest.Pytester, running: testing.Server, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    token = running.control_token or ""
    options: tuple[str, ...] = ()
    if by == "option":
        options = ("--ninebits-url", running.url, "--ninebits-control-token", token)
        monkeypatch.setenv("NINEBITS_SANDBOX_URL", "http://127.0.0.1:1")
    elif by == "environment":
        monkeypatch.setenv("NINEBITS_SANDBOX_URL", running.url)
        monkeypatch.setenv("NINEBITS_SANDBOX_CONTROL_TOKEN", token)
        pytester.makeini("[pytest]\nninebits_url = http://127.0.0.1:1\n")
    else:
        pytester.makeini(f"[pytest]\nninebits_url = {running.url}\nninebits_control_token = {token}\n")
    run(pytester, WHERE.format(url=running.url), *options).assert_outcomes(passed=1)


def test_a_sandbox_that_does_not_answer_is_told_without_a_traceback(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it(ninebits): pass\n", "--ninebits-url", "http://127.0.0.1:1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["There is no sandbox for the tests: No sandbox answers at http://127.0.0.1:1*"])
    assert "pytest_plugin.py" not in shown(result)
