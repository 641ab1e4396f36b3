"""What the pages in docs/ say is run: their snippets as they stand, and their tables against the code."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sandbox.api import openapi
from sandbox.api.operations import V1
from sandbox.errors import SandboxError
from sandbox.model import DeliveryState
from sandbox.rules import matching
from sandbox.scenario import catalogue, fault_spec, grammar, script, shapes
from sandbox.scenario.steps import Scenario
from sandbox.values import kinds
from tests.conftest import Bench, Receiver

DOCS = Path(__file__).parents[1] / "docs"
SANDBOX = "http://127.0.0.1:2081"
PLUGINS = "-p no:cacheprovider -p no:schemathesis -p no:asyncio"  # without those, as in the project's own settings
PYTEST = (sys.executable, "-m", "pytest", "-q", "-W", "error", *PLUGINS.split())


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def snippets(name: str, language: str) -> list[str]:
    """The snippets of a page in one language, in its order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page(name), re.DOTALL | re.MULTILINE)


def files(name: str) -> Mapping[str, str]:
    """The snippets of a page that are files: their first line is a comment with the name. Those of one name are one."""
    found: dict[str, str] = {}
    for language in ("python", "yaml"):
        for snippet in snippets(name, language):
            if named := re.match(r"# ([\w.-]+)\n", snippet):
                found[named[1]] = found.get(named[1], "") + snippet
    return found


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NINEBITS_", "PYTEST_"))}
    return {**kept, "NO_PROXY": "*"}


def ran(command: tuple[str, ...], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=60, check=False)


# Testing with pytest -----------------------------------------------------------------------------------------------

WITH_PYTEST = "testing-with-pytest.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page, as a reader would write them."""
    for name, content in files(WITH_PYTEST).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def test_every_python_snippet_of_the_pytest_page_is_a_file() -> None:
    assert all(re.match(r"# [\w.-]+\.py\n", each) for each in snippets(WITH_PYTEST, "python"))


def test_the_tests_of_the_pytest_page_pass(folder: Path) -> None:
    done = ran(PYTEST, folder)
    assert done.returncode == 0, done.stdout


def test_the_tests_of_the_pytest_page_pass_in_parallel(folder: Path) -> None:
    (command,) = [each.split() for each in snippets(WITH_PYTEST, "sh") if " -n " in each]
    assert command[:2] == ["pytest", "-n"]
    done = ran((*PYTEST, "-n", "2"), folder)
    assert done.returncode == 0, done.stdout


def test_the_tests_of_the_pytest_page_pass_on_a_sandbox_that_runs_elsewhere(
    folder: Path, start_sandbox: Callable[..., Bench]
) -> None:
    (command,) = [each for each in snippets(WITH_PYTEST, "sh") if "--ninebits-url" in each]
    first, *arguments = command.replace(SANDBOX, start_sandbox().sandbox.url).split()
    assert first == "pytest"
    done = ran((*PYTEST, *arguments), folder)
    assert done.returncode == 0, done.stdout


def _alike(printed: str) -> list[str]:
    """What two runs have in common: without ids, numbers of handsets, moments and durations."""
    for varying, same in (
        (r"\bm\d+ *", "m "),
        (r"\b23480\d{8}\b", "N"),
        (r"\d{4}-\d\d-\d\d", "D"),
        (r"\d\d:\d\d:\d\d", "T"),
        (r"\d+ ms", "ms"),
    ):
        printed = re.sub(varying, same, printed)
    return [line.rstrip() for line in printed.splitlines()]


def test_a_failure_prints_what_the_pytest_page_shows(folder: Path) -> None:
    done = ran((*PYTEST, "failing.py"), folder)
    assert done.returncode == 1, done.stdout
    (shown,) = snippets(WITH_PYTEST, "text")
    assert _alike(shown) == _alike("\n".join(line for line in done.stdout.splitlines() if line.startswith("E  ")))


def test_the_example_without_pytest_runs(folder: Path) -> None:
    done = ran((sys.executable, "without_pytest.py"), folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Your application sends to http://127.0.0.1:" in done.stdout


def test_the_pytest_example_of_the_readme_passes(folder: Path) -> None:
    (example,) = [each for each in snippets("../README.md", "python") if "ninebits" in each]
    (folder / "test_readme.py").write_text(example, encoding="utf-8")
    done = ran((*PYTEST, "test_readme.py"), folder)
    assert done.returncode == 0, done.stdout


def test_the_table_of_fixtures_names_those_that_there_are() -> None:
    from sandbox import pytest_plugin

    there = {name for name, value in vars(pytest_plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"}
    rows = re.findall(r"^\| (`.*?`) \| (?:test|session) \|", page(WITH_PYTEST), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == there


# Shell -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell in an empty folder, in which the commands of a page mean the account of a bench."""

    bench: Bench
    folder: Path

    def run(self, commands: str) -> subprocess.CompletedProcess[str]:
        address = self.bench.sandbox.url
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        named = {"NINEBITS_SANDBOX_URL": address, "NINEBITS_SANDBOX_ACCOUNT": self.bench.account, "PATH": path}
        ending = "trap 'kill $(jobs -p) 2>&- || true' EXIT"  # what was begun ends, even where a command fails
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{ending}\n{commands.replace(SANDBOX, address)}"],
            cwd=self.folder,
            env={**environment(), **named},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def terminal(start_sandbox: Callable[..., Bench], receiver: Receiver, tmp_path: Path) -> Terminal:
    """On a sandbox of its own, of which the documented example and a reply are known."""
    bench = start_sandbox()
    bench.patch_account(client_url=receiver.url)
    bench.sent()
    bench.post("/handsets/2348020000000/reply", {"text": "yesterday"})
    return Terminal(bench, tmp_path)


# Scenarios ---------------------------------------------------------------------------------------------------------

SCENARIOS = "scenarios.md"


@pytest.mark.parametrize("name", ["scenarios.md", "testing-with-pytest.md", "testing-from-other-languages.md"])
def test_every_scenario_can_be_played(name: str) -> None:
    for source in snippets(name, "yaml"):
        if "scenario:" in source:
            assert isinstance(script.read(source), Scenario), script.read(source)


def test_the_commands_of_the_scenario_page_work(terminal: Terminal) -> None:
    for commands in snippets(SCENARIOS, "sh"):
        done = terminal.run(commands)
        assert done.returncode == 0, (commands, done.stdout, done.stderr)
    recorded = script.read((terminal.folder / "recorded.yaml").read_text(encoding="utf-8"))
    assert isinstance(recorded, Scenario)
    compile((terminal.folder / "test_recorded.py").read_text(encoding="utf-8"), "test_recorded.py", "exec")


def test_the_table_of_shipped_scenarios_is_made_of_their_descriptions() -> None:
    found = {name: script.read(source) for name, source in catalogue.built_in().items()}
    wanted = [f"| `{name}` | {each.description} |" for name, each in found.items() if isinstance(each, Scenario)]
    table = page(SCENARIOS)[page(SCENARIOS).index("## Shipped scenarios") :]
    assert [line for line in table.splitlines() if line.startswith("| `")] == wanted


def _keys(heading: str) -> set[str]:
    """The keys in the first column of the first table after some words of the page."""
    after = page(SCENARIOS)[page(SCENARIOS).index(heading) :]
    table = after[after.index("\n| --- ") + 1 :].split("\n\n")[0]
    return {key for row in table.splitlines()[1:] for key in re.findall(r"`([a-z_]+)`", row.split(" | ")[0])}


def test_the_tables_of_the_scenario_page_have_every_key_of_a_file() -> None:
    def keys(*path: str) -> set[str]:
        at: Any = script.SCHEMA
        for name in path:
            at = at[name] if name == "items" else at["properties"][name]
        return set(at["properties"])

    assert _keys("## The file") == keys()
    assert _keys("The scenario's `handset`:") == keys("handset")
    assert _keys("## Steps") == keys("steps", "items")
    assert _keys("## Rules") == keys("rules", "items")
    assert _keys("## Which message fits") == keys("steps", "items", "expect")
    assert _keys("**`reply`**") == keys("steps", "items", "send") | keys("steps", "items", "reply")
    assert _keys("**`fault`**") == keys("steps", "items", "fault")
    assert _keys("**`handset`**") == keys("steps", "items", "handset")
    for said, *path in (("`expect_none` needs", "expect_none"), ("| `match` |", "fault", "match")):
        (line,) = [each for each in page(SCENARIOS).splitlines() if each.startswith(said)]
        assert keys("steps", "items", *path) <= set(re.findall(r"[a-z_]+", line))


def test_the_limits_of_the_scenario_page_are_those_of_the_code() -> None:
    table = page(SCENARIOS)[page(SCENARIOS).index("## Limits") : page(SCENARIOS).index("## Shipped")]
    for limit in (
        f"{script.MAX_BYTES // 1024**2} MiB, nested {script.MAX_DEPTH} deep, {shapes.MAX_PARTS:,} steps",
        f"{grammar.MAX_TEXT:,} characters",
        f"does | {shapes.MAX_LIST} |",
        f"{matching.MAX_GLOB:,} and {matching.MAX_PATTERN} characters",
        f"sees {matching.SEEN:,} characters of a text, for {matching.PATTERN_S * 1000:.0f} ms",
        f"{kinds.MAX_TIME_S // 86_400} days; a fault's `delay` {fault_spec.MOST_DELAY_S // 60} minutes",
        f"strikes | {fault_spec.MOST_TIMES:,} |",
        f"{fault_spec.MOST_BODY // 1024} KiB",
    ):
        assert limit in table


# Other languages ---------------------------------------------------------------------------------------------------

OTHERS = "testing-from-other-languages.md"
NODE = shutil.which("node")


def test_the_job_of_the_page_on_other_languages_passes(terminal: Terminal, receiver: Receiver) -> None:
    job = "\n".join(each for each in snippets(OTHERS, "sh") if not each.startswith("node "))
    with socket.create_server(("127.0.0.1", 0)) as found:  # a port that is free
        port = found.getsockname()[1]
    job = job.replace(SANDBOX, f"http://127.0.0.1:{port}").replace("http://127.0.0.1:8000/sms", receiver.url)
    done = terminal.run(
        f"unset NINEBITS_SANDBOX_URL NINEBITS_SANDBOX_ACCOUNT; export NINEBITS_SANDBOX_PORT={port}\n{job}"
    )
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_the_exit_codes_are_those_of_the_page(terminal: Terminal) -> None:
    said = re.findall(r"^\| (\d) \|", page(OTHERS), re.MULTILINE)
    assert [*map(int, said)] == sorted({0, 2, *(each.exit_code for each in every(SandboxError))})
    for code, command in (
        (0, "wait --text '*cinema?*'"),
        (1, "wait --text '*nothing*' --timeout 10ms"),
        (1, "verify --exactly 7"),
        (2, "wait --timeout never"),
        (3, "messages --url http://127.0.0.1:9"),
    ):
        assert terminal.run(f"ninebits-sandbox {command}").returncode == code, command


def every(kind: type[SandboxError]) -> Iterator[type[SandboxError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from every(each)


@pytest.mark.skipif(NODE is None and not os.environ.get("CI"), reason="needs node; in CI it has to be there")
def test_the_node_example_passes(terminal: Terminal) -> None:
    (command,) = [each for each in snippets(OTHERS, "sh") if each.startswith("node ")]
    done = terminal.run(command.replace("docs/", f"{DOCS}/"))
    assert done.returncode == 0, done.stdout


# The control API ---------------------------------------------------------------------------------------------------

CONTROL = "control-api.md"


def test_the_table_of_the_control_api_has_every_operation() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (/\S*)` \| (.*) \|$", page(CONTROL), re.MULTILINE)
    said = [(method, path if path.startswith("/_sandbox") else V1 + path, meaning) for method, path, meaning in rows]
    assert sorted(said) == sorted((each.method, each.path, each.summary) for each in openapi.OPERATIONS)


def test_the_curl_lines_of_the_control_api_work(terminal: Terminal) -> None:
    for commands in snippets(CONTROL, "sh"):
        done = terminal.run(commands)
        assert done.returncode == 0, (commands, done.stdout, done.stderr)
        json.loads(done.stdout)


@pytest.mark.parametrize("name", [WITH_PYTEST, OTHERS, SCENARIOS, CONTROL])
def test_every_json_snippet_is_json(name: str) -> None:
    for snippet in snippets(name, "json"):
        json.loads(snippet)


def test_the_message_of_the_control_api_has_the_keys_of_a_message(bench: Bench) -> None:
    shown = next(each for each in map(json.loads, snippets(CONTROL, "json")) if "direction" in each)
    assert list(shown) == list(bench.get(f"/messages/{bench.sent()}"))


def test_the_error_of_the_control_api_is_one_that_comes(bench: Bench) -> None:
    shown = next(each for each in map(json.loads, snippets(CONTROL, "json")) if "errors" in each)
    found = bench.call("GET", "/messages", limit=0).json()
    assert shown == {**found, "detail": "…"}


def test_the_states_of_a_webhook_delivery_are_all_named() -> None:
    sentence = page(CONTROL)[page(CONTROL).index("States of a webhook delivery") :].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == {*DeliveryState}


# Links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [WITH_PYTEST, OTHERS, SCENARIOS, CONTROL, "../README.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", page(name)):
        there = (DOCS / name).parent / target if target else DOCS / name
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, anchor
