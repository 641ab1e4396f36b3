"""serve, config, openapi, version: `serve` in real processes."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sandbox.commands.serving import _OneLine
from tests.commands.shell import Shell, environment
from tests.conftest import EXAMPLE


@contextmanager
def serving(folder: Path, *flags: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`serve` as a process of its own on a free port; yields it and its banner."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.cli", "serve", "--port", "0", *flags],
        cwd=folder,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        banner = ""
        while "Ctrl+C stops the sandbox." not in banner:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            banner += line
        yield process, banner
    finally:
        process.kill()
        process.communicate()


def serve_and_fail(folder: Path, *flags: str, **env: str) -> tuple[int, str]:
    """`serve` that cannot start: its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.cli", "serve", "--port", "0", *flags],
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def base_url(banner: str) -> str:
    found = re.search(r"Base URL +(\S+)", banner)
    assert found
    return found[1]


def test_the_banner_says_where_everything_is_and_what_survives(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, banner):
        assert re.search(r"Pages +http://127\.0\.0\.1:\d+/", banner)
        assert re.search(r"Token +sandbox-token", banner)
        assert ".ninebits-sandbox/sandbox.db" in banner
        assert "survive a restart" in banner
    with serving(tmp_path, "--db", ":memory:") as (_, banner):
        assert "nothing survives" in banner


def test_the_curl_line_of_the_banner_works_as_it_stands(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, banner):
        command = banner[banner.index("curl ") : banner.index("Ctrl+C")]
        done = subprocess.run(["bash", "-c", f"{command.strip()} -sS"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["status_code"] == 200


def test_a_token_of_ones_own_is_not_printed(tmp_path: Path) -> None:
    with serving(tmp_path, "--token", "a-secret-of-our-own") as (_, banner):
        assert "a-secret-of-our-own" not in banner


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_sigterm_ends_it_with_0_and_lets_go_of_the_database(tmp_path: Path) -> None:
    for _ in range(2):
        with serving(tmp_path) as (process, _):
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def test_messages_survive_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, banner):
        url = base_url(banner)
        sent = requests.post(
            f"{url}/ng/v1/sendsms", json=EXAMPLE, headers={"Authorization": "Bearer sandbox-token"}, timeout=10
        )
        assert sent.status_code == 200
        process.kill()
        process.wait()
    with serving(tmp_path) as (_, banner):
        kept = requests.get(f"{base_url(banner)}/_sandbox/v1/messages", timeout=10).json()["messages"]
    assert [message["text"] for message in kept] == [EXAMPLE["message"]]


def test_a_taken_port_is_exit_code_3_with_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = serve_and_fail(tmp_path, "--port", str(taken.getsockname()[1]))
    assert code == 3
    assert "--port" in said


def test_settings_that_make_no_sense_are_exit_code_2_all_at_once(tmp_path: Path) -> None:
    code, said = serve_and_fail(tmp_path, "--max-messages", "none", NINEBITS_SANDBOX_PROT="1")
    assert code == 2
    assert "max_messages" in said.replace("-", "_")
    assert "PORT" in said.upper()


def test_another_programs_database_is_exit_code_4(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database")
    code, said = serve_and_fail(tmp_path, "--db", "notes.txt")
    assert code == 4
    assert (tmp_path / "notes.txt").read_text() == "no database"
    assert "--db" in said


def test_a_second_sandbox_on_the_same_database_is_exit_code_5(tmp_path: Path) -> None:
    with serving(tmp_path):
        code, said = serve_and_fail(tmp_path)
    assert code == 5
    assert "--db" in said


def test_beyond_loopback_a_control_token_is_made_printed_and_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", "--db", ":memory:") as (_, banner):
        token = re.search(r"Control +(\S{16,})", banner)
        assert token
        url = base_url(banner)
        assert requests.get(f"{url}/_sandbox/v1/messages", timeout=10).status_code == 401
        allowed = {"Authorization": f"Bearer {token[1]}"}
        assert requests.get(f"{url}/_sandbox/v1/messages", headers=allowed, timeout=10).status_code == 200
        assert requests.get(f"{url}/readyz", timeout=10).status_code == 200


def test_insecure_no_auth_says_so_loudly(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", "--insecure-no-auth", "--db", ":memory:") as (_, banner):
        assert "WARNING" in banner


def test_the_demo_answers_a_text_with_its_first_question(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo", "--db", ":memory:") as (_, banner):
        url = base_url(banner)
        cinema = {"text": "CINEMA", "to": "48974"}
        handset = f"{url}/_sandbox/v1/handsets/2348020000000"
        texted = requests.post(f"{handset}/send", json=cinema, timeout=10).json()
        assert texted["webhook_delivery"]["state"] == "delivered"
        with requests.get(f"{url}/_sandbox/v1/events?after=0", stream=True, timeout=10) as events:
            submitted = next(
                json.loads(line[6:]) for line in events.iter_lines() if b'"kind": "message_submitted"' in line
            )
    assert submitted["message"]["text"].endswith("cinema?")
    assert submitted["message"]["session_id"] == texted["message"]["session_id"]


def test_the_demos_address_does_not_outlive_the_demo(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, banner):  # not even where a person had set another address before
        account = f"{base_url(banner)}/_sandbox/v1/accounts/default"
        requests.patch(account, json={"client_url": "http://127.0.0.1:9/sms"}, timeout=10).raise_for_status()
    with serving(tmp_path, "--demo") as (_, banner):
        assert "the demo survey" in banner
    with serving(tmp_path) as (_, banner):
        assert "go nowhere yet" in banner


def test_a_client_url_that_was_set_at_run_time_survives_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, banner):
        account = f"{base_url(banner)}/_sandbox/v1/accounts/default"
        requests.patch(account, json={"client_url": "http://127.0.0.1:9/sms"}, timeout=10).raise_for_status()
    with serving(tmp_path) as (_, banner):
        assert "posted to http://127.0.0.1:9/sms" in banner


def test_config_show_says_where_each_value_came_from(run: Shell) -> None:
    done = run("config", "show", "--max-messages", "5", "--json", NINEBITS_SANDBOX_PORT="3000")
    rows = {row["key"]: row for row in json.loads(done.stdout)}
    assert rows["port"]["value"] == "3000"
    assert "NINEBITS_SANDBOX_PORT" in rows["port"]["origin"]
    assert "--max-messages" in rows["max_messages"]["origin"]
    assert rows["host"]["origin"] == "default"


def test_the_openapi_document_is_printed_as_it_is_served_without_a_sandbox(run: Shell) -> None:
    done = run("openapi", NINEBITS_SANDBOX_URL="http://127.0.0.1:1")
    assert done.exit_code == 0
    served = run.bench.sandbox.request("GET", "/_sandbox/openapi.json").json()
    assert json.loads(done.stdout) == served


def test_version_is_printed(run: Shell) -> None:
    assert re.fullmatch(r"ninebits-sandbox \d+\.\d+\.\d+\n", run.good("version"))


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_event_of_the_log_is_one_line_of_visible_characters(form: str) -> None:
    said = "\x1b[2J\r\n2026-01-01 INFO all is well\u202e\ud800\x00"
    record = logging.LogRecord("x", logging.ERROR, "", 0, "%s", (said,), (ValueError, ValueError(said), None))
    line = _OneLine(form).format(record)
    assert line.isprintable(), line
    assert "all is well" in line
