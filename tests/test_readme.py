"""What the README says is run: its snippets, and the names that it mentions."""

import os
import re
import subprocess
import sys
from pathlib import Path

from sandbox.settings import KEYS, RETRY_PRESETS
from tests.conftest import Bench, Receiver

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SANDBOX = "http://127.0.0.1:2081"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_is_accepted(bench: Bench) -> None:
    example, _ = snippets("python")  # the other one is a test, which test_docs runs
    code = example.replace(SANDBOX, bench.sandbox.url).replace("sandbox-token", bench.token)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "NO_PROXY": "*"}, timeout=20)


def test_the_curl_examples_work(routed: Bench, receiver: Receiver) -> None:
    routed.sent()
    (commands,) = [each for each in snippets("sh") if "curl" in each]
    reply, clock = commands.strip().split("\ncurl ")
    for command in (reply, f"curl {clock}"):
        command = command.replace(SANDBOX, routed.sandbox.url).replace("/reply", f"/reply?account={routed.account}")
        done = subprocess.run(
            ["bash", "-c", f"{command} -sS --fail-with-body"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
    receiver.wait_for(1)


def test_every_setting_of_the_table_exists() -> None:
    table = README[README.index("## What 9bits does not document") :]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    named = {name for row in rows for name in re.findall(r"^`([a-z_]+)(?: = .*)?`", row[2])}
    assert named
    assert named - {key.name for key in KEYS} == set()


def test_the_retries_of_the_table_are_the_documented_preset() -> None:
    *most, last = RETRY_PRESETS["documented"]
    assert f"{', '.join(map(str, most))} and {last} s" in README


def test_the_settings_file_of_the_readme_loads(tmp_path: Path) -> None:
    from sandbox.settings import load

    (example,) = snippets("toml")
    (tmp_path / "ninebits-sandbox.toml").write_text(example, encoding="utf-8")
    settings = load(flags={}, environ={}, cwd=tmp_path).settings
    assert [account.name for account in settings.accounts] == ["default", "other-team"]
