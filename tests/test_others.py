"""The examples of docs/testing-with-pytest.md about other plugins and mocks, and what went wrong beside those.

Each runs in a pytest process of its own, with no plugin but ours and the one that it is about, where that is installed;
.ci/versions installs all of tests/others.txt.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.test_docs import WITH_PYTEST, environment, files

EXAMPLES = {name: text for name, text in files(WITH_PYTEST).items() if name.startswith("living_")}
DJANGO = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.contenttypes"]
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "living_django"
"""


@dataclass(frozen=True, slots=True)
class Other:
    """`module` has to be there; `options` are pytest's."""

    module: str
    options: str = ""


OTHERS: Mapping[str, Other] = {
    "aioresponses": Other("aioresponses", "-p anyio.pytest_plugin"),
    "django": Other("pytest_django", "-p pytest_django.plugin --ds=living_settings"),
    "eventlet": Other("eventlet"),
    "freezegun": Other("freezegun"),
    "gevent": Other("gevent"),
    "hypothesis": Other("hypothesis", "-p _hypothesis_pytestplugin"),
    "pook": Other("pook"),
    "pyfakefs": Other("pyfakefs", "-p pyfakefs.pytest_plugin"),
    "pytest_httpx": Other("pytest_httpx", "-p pytest_httpx"),
    "pytest_socket": Other("pytest_socket", "-p pytest_socket --disable-socket"),
    "requests_mock": Other("requests_mock"),
    "responses": Other("responses"),
    "respx": Other("respx", "-p respx.plugin"),
    "session": Other("requests"),
    "time_machine": Other("time_machine"),
    "trio": Other("pytest_trio", "-p pytest_trio.plugin -o trio_mode=true"),
    "vcr": Other("pytest_recording", "-p pytest_recording.plugin --record-mode=none"),
}


def ran(other: Other, folder: Path, *arguments: str) -> str:
    """What pytest prints. Skips the test where the other is not installed."""
    if importlib.util.find_spec(other.module) is None:
        pytest.skip(f"{other.module} is not installed")
    options = ("-q", "-p", "no:cacheprovider", "-p", "sandbox.pytest_plugin", *other.options.split(), *arguments)
    env = {**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        (sys.executable, "-m", "pytest", *options),
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in files(WITH_PYTEST).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "living_settings.py").write_text(DJANGO, encoding="utf-8")
    return tmp_path


def test_every_example_is_known() -> None:
    assert sorted(EXAMPLES) == sorted(f"living_{name}.py" for name in OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_the_example_passes(folder: Path, name: str) -> None:
    printed = ran(OTHERS[name], folder, f"living_{name}.py")
    assert " passed" in printed.splitlines()[-1], printed
    assert not any(word in printed.splitlines()[-1] for word in ("failed", "error", "skipped")), printed


# gevent and eventlet -----------------------------------------------------------------------------------------------

GREEN = """
import asyncio

import pytest
import requests
from living import message


def test_the_sandbox_is_the_tests_own_and_its_clock_stands_still(ninebits, handset, ninebits_server):
    assert ninebits_server.in_process
    requests.post(**message(ninebits, handset), timeout=10)
    handset.wait_for_message("Hello")
    before = ninebits.clock.now()
    ninebits.clock.advance(3600)
    assert (ninebits.clock.now() - before).total_seconds() == 3600


def test_a_wsgi_application_and_one_event_loop_may_be_served_together(ninebits, handset, ninebits_hostile, app):
    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    ninebits.client_url = wsgi
    assert handset.send("CINEMA", to="48974").status_code == 200


def test_async_fixtures_can_be_used(async_ninebits, async_handset):
    async def main():
        async_ninebits.client_url = "http://127.0.0.1:9/"
        return (await async_handset.send("CINEMA", to="48974")).state

    assert asyncio.run(main()) == "retrying"
"""
PATCHED = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


@pytest.mark.parametrize("name", PATCHED)
def test_fixtures_work_where_threads_are_greenlets(folder: Path, name: str) -> None:
    conftest = (folder / "conftest.py").read_text(encoding="utf-8")
    (folder / "conftest.py").write_text(f"{PATCHED[name]}\n{conftest}", encoding="utf-8")
    (folder / "test_green.py").write_text(GREEN.replace(", app)", ")"), encoding="utf-8")
    printed = ran(OTHERS[name], folder, "test_green.py")
    assert "3 passed" in printed, printed
    (folder / "test_green.py").write_text(GREEN, encoding="utf-8")
    printed = ran(OTHERS[name], folder, "test_green.py", "-k", "together")
    assert "only one event loop can run at a time" in printed, printed


@pytest.mark.parametrize("name", PATCHED)
def test_where_no_server_can_run_a_sentence_says_so(folder: Path, name: str) -> None:
    threads_alone = {"gevent": "from gevent import monkey; monkey.patch_thread()", "eventlet": PATCHED["eventlet"]}
    (folder / "conftest.py").write_text(
        threads_alone[name].replace("monkey_patch()", "monkey_patch(thread=True)"), encoding="utf-8"
    )
    test = "def test_it(ninebits):\n    ninebits.client_url = lambda environ, start_response: [b'']\n"
    (folder / "test_green.py").write_text(test, encoding="utf-8")
    printed = ran(OTHERS[name], folder, "test_green.py")
    assert "no server can run in this process" in printed, printed


# pytest-socket -----------------------------------------------------------------------------------------------------

SOCKETS = """
import pytest

def test_forbidden(ninebits): pass

@pytest.mark.enable_socket
def test_allowed(ninebits, handset): ninebits.messages()

def test_allowed_by_fixture(socket_enabled, ninebits): ninebits.messages()
"""


@pytest.mark.parametrize("warnings", ["default", "error"])
@pytest.mark.parametrize("hosts", ["", "--allow-hosts=192.0.2.1"])
def test_a_test_that_may_not_reach_the_sandbox_is_told_what_to_allow_and_spoils_no_other(
    folder: Path, warnings: str, hosts: str
) -> None:
    (folder / "test_sockets.py").write_text(SOCKETS, encoding="utf-8")
    printed = ran(OTHERS["pytest_socket"], folder, "test_sockets.py", "-W", warnings, *hosts.split())
    assert "2 passed" in printed, printed
    assert "1 error" in printed, printed
    assert "Allow it: pytest --allow-hosts=127.0.0.1." in printed, printed
    assert "pytest_plugin.py" not in printed


# pyfakefs ----------------------------------------------------------------------------------------------------------

FAKED = """
import pytest
import requests

PLACES = (
    "/", "/present", "/scenarios", "/scenarios/late-reply", "/requests", "/webhooks", "/settings", "/_sandbox/docs",
    "/_sandbox/openapi.json", "/_sandbox/v1/scenarios", "/_sandbox/v1/findings", "/_sandbox/v1/export",
    "/static/page.css", "/static/page.js",
)


@pytest.mark.parametrize("turn", range(2))
def test_pages_scenarios_and_patterns_are_there(fs, ninebits, handset, ninebits_hostile, turn):
    found = {place: requests.get(ninebits.url + place, timeout=10).status_code for place in (*PLACES, "/nowhere")}
    assert found == {**dict.fromkeys(PLACES, 200), "/nowhere": 404}
    ninebits.scenario("silence", handset)
    ninebits.messages(pattern="a+")
    ninebits.client_url = ninebits_hostile.url("bad_certificate")
    assert handset.send("CINEMA", to="48974").state == "retrying"
    for kind in ("text", "scenario", "pytest"):
        assert "CINEMA" in ninebits.transcript(handset, kind)


def test_a_scenario_may_lie_in_the_fake_file_system(fs, ninebits, handset):
    ninebits.client_url = "http://127.0.0.1:9/"
    fs.create_file("/mine.yaml", contents='scenario: mine\\nsteps:\\n  - send: {text: hello, to: "48974"}\\n')
    ninebits.scenario("/mine.yaml", handset).wait()
"""


def test_a_fake_file_system_takes_nothing_of_the_sandbox_away(folder: Path) -> None:
    (folder / "test_faked.py").write_text(FAKED, encoding="utf-8")
    printed = ran(OTHERS["pyfakefs"], folder, "test_faked.py")
    assert "3 passed" in printed, printed
