"""export, import."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.client import SandboxClient
from sandbox.commands import transfer
from sandbox.errors import Unreachable
from tests.commands.shell import NUMBER, Shell
from tests.conftest import Bench, Receiver

MO: dict[str, Any] = {
    "type": "message", "direction": "mo", "from": NUMBER, "to": "48974", "text": "Yesterday",
    "session_id": "s", "sent_date": "2024-01-02T23:50:37.000000Z", "at": "2024-01-02T23:50:37.123000Z", "telco": "mtn",
    "state": "unrouted",
}  # fmt: skip

terminals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")


@pytest.fixture
def full(run: Shell, routed: Bench, receiver: Receiver) -> Shell:
    """An account with a message each way, a webhook that failed and came again, a refused call, and a handset."""
    routed.sent(message="Been to the cinema? ₦ \u202e")
    routed.submit(message=None)
    receiver.answer_next(500)
    run.good("reply", NUMBER, "yesterday")
    (failed,) = run.json("webhooks", "list")["webhook_deliveries"]
    run.good("webhooks", "attempt", failed["id"])
    run.good("webhooks", "redeliver", failed["id"])
    routed.call("PATCH", f"/handsets/{NUMBER}", {"label": "Ada"})
    return run


@pytest.fixture
def copy(full: Shell) -> Iterator[Shell]:
    """Another account, that has nothing yet."""
    name = f"{full.bench.account}-copy"
    full.good("accounts", "add", name, "--token", f"token-of-{name}")
    yield Shell(Bench(sandbox=full.bench.sandbox, account=name, token=f"token-of-{name}"))
    full.good("accounts", "remove", name)


def without_numbers(export: str) -> list[Any]:
    """The lines of an export without what is another in a copy: the account, numbers, how long things took."""
    lines = []
    for line in export.splitlines():
        value = json.loads(line)
        own = {"account", "id", "seq", "request_id", "message_id", "webhook_delivery_id", "redelivery_of"}
        lines.append(
            {name: each for name, each in value.items() if name not in own} if value["type"] != "account" else 0
        )
    return lines


def test_what_was_exported_is_imported_as_it_was(full: Shell, copy: Shell) -> None:
    exported = full.good("export")
    done = copy("import", "-", stdin=exported)
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        "imported handsets: 1, scenarios: 0, messages: 2, refusals: 1, webhook deliveries: 2, attempts: 3\n"
    )
    assert without_numbers(copy.good("export")) == without_numbers(exported)


def test_a_file_that_was_imported_already_is_counted_as_there(
    full: Shell, copy: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = full.good("export")
    for shell in (full, copy):  # the account itself has all of it, too
        shell("import", "-", stdin=exported)
        before = shell.good("export")
        assert shell("import", "-", stdin=exported).stdout == (
            "imported handsets: 0, scenarios: 0, messages: 0, refusals: 0, webhook deliveries: 0, attempts: 0\n"
            "already there handsets: 1, scenarios: 0, messages: 2, refusals: 1, webhook deliveries: 2, attempts: 3\n"
        )
        assert shell.good("export") == before


def test_messages_that_are_alike_are_all_taken_in_though_in_parts_of_their_own(
    copy: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART", 1)
    lines = [{"type": "export", "version": 1}, *({**MO, "id": f"m{number}"} for number in range(1, 4))]
    (tmp_path / "alike.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    for written, there in ((3, 0), (0, 3)):
        answered = copy.json("import", "alike.jsonl")
        assert (answered["messages"], answered["already_there"]["messages"]) == (written, there)
        assert (answered["lines"], answered["of_lines"]) == (4, 4)
    assert copy.good("messages").count("Yesterday") == 3


@pytest.mark.parametrize("happens", ["account removed", "sandbox gone"])
def test_an_import_that_is_stopped_between_two_parts_says_how_far_it_came(
    copy: Shell, full: Shell, monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    monkeypatch.setattr(transfer, "PART", 1)
    taken = SandboxClient.import_
    sent = []

    def import_(client: SandboxClient, part: bytes) -> Any:
        sent.append(part)
        if len(sent) == 4 and happens == "account removed":
            full.good("accounts", "remove", copy.bench.account)
        elif len(sent) == 4:
            raise Unreachable("No sandbox answers.")
        return taken(client, part)

    exported = full.good("export")
    monkeypatch.setattr(SandboxClient, "import_", import_)
    done = copy("import", "-", "--json", stdin=exported)
    answered = json.loads(done.stdout)
    if happens == "sandbox gone":
        assert done.exit_code == 3
        assert (answered["lines"], answered["of_lines"], answered["messages"]) == (5, 9, 1)
        assert answered["left"]["messages"] == 1
        assert "- is in at least up to line 5 of 9: imported handsets: 1, " in done.stderr
        assert "Import it again" in done.stderr
        return
    assert done.exit_code == 1
    assert (answered["lines"], answered["messages"], answered["left"]["messages"]) == (0, 0, 2)
    assert "Nothing of - is in." in done.stderr
    full.good("accounts", "add", copy.bench.account, "--token", copy.bench.token)  # which the fixture removes


def test_a_large_file_is_taken_in_part_by_part(
    full: Shell, copy: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART", 1000)  # less than a message with its webhook deliveries, which stay together
    full.good("export", "-o", "all.jsonl")
    counts = copy.json("import", "all.jsonl")
    assert (counts["messages"], counts["attempts"]) == (2, 3)
    assert without_numbers(copy.good("export")) == without_numbers((tmp_path / "all.jsonl").read_text())


def test_a_file_with_faults_is_refused_as_a_whole_with_its_lines(
    full: Shell, copy: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART", 1)
    lines = full.good("export").splitlines()
    faulty = [*lines, json.dumps({**json.loads(lines[2]), "msisdn": "no"}), "\x1b[31m no JSON"]
    (tmp_path / "bad.jsonl").write_text("\n".join(faulty))
    done = copy("import", "bad.jsonl")
    assert done.exit_code == 2
    assert f"bad.jsonl:{len(lines) + 1}: msisdn" in done.stderr
    assert f"bad.jsonl:{len(lines) + 2}: " in done.stderr
    assert "\x1b" not in done.stderr
    assert copy.good("messages") == ""


def test_what_the_sandbox_itself_refuses_is_told_with_the_files_own_lines(
    full: Shell, copy: Shell, start_sandbox: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = full.good("export")
    strict = Shell(start_sandbox(max_text=20))
    whole = strict("import", "-", stdin=exported)
    assert whole.exit_code == 2
    assert "  line 4: text" in whole.stderr
    monkeypatch.setattr(transfer, "PART", 1)
    parted = strict("import", "-", stdin=exported)
    assert "  line 4: text" in parted.stderr
    assert "- is in up to line 3 of 9: imported handsets: 1, " in parted.stderr


def test_a_part_that_is_too_large_is_refused_with_the_limit(full: Shell, start_sandbox: Callable[..., Bench]) -> None:
    small = Shell(start_sandbox(max_control_body=1024))
    done = small("import", "-", stdin=full.good("export"))
    assert done.exit_code == 1
    assert "larger than 1024 bytes" in done.stderr


@pytest.mark.parametrize("content", ["", "\n\n", "hello"])
def test_what_is_no_export_is_refused(run: Shell, content: str) -> None:
    done = run("import", "-", stdin=content)
    assert done.exit_code == 2
    assert "-:1: " in done.stderr


def test_a_file_that_is_not_there_is_exit_code_2(run: Shell) -> None:
    assert run("import", "nothing.jsonl").exit_code == 2


@pytest.fixture
def broken_off() -> Iterator[str]:
    """The address of a sandbox that dies in the middle of an export."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nTransfer-Encoding: chunked\r\n\r\n"
                connection.sendall(head + b'11\r\n{"type":"export"}\r\n')

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_an_export_that_breaks_off_leaves_the_file_of_before(run: Shell, broken_off: str, tmp_path: Path) -> None:
    (tmp_path / "monday.jsonl").write_text("what was there before")
    done = run("export", "-o", "monday.jsonl", "--url", broken_off)
    assert done.exit_code == 3
    assert [each.name for each in tmp_path.iterdir()] == ["monday.jsonl"]
    assert (tmp_path / "monday.jsonl").read_text() == "what was there before"


def test_an_export_into_a_folder_that_is_not_there_says_so(run: Shell) -> None:
    done = run("export", "-o", "nowhere/monday.jsonl")
    assert done.exit_code != 0
    assert "nowhere/monday.jsonl" in done.stderr


@terminals
def test_progress_is_shown_on_a_terminal_alone(full: Shell, tmp_path: Path) -> None:
    assert full("export", "-o", "quiet.jsonl").stderr == ""
    shown, progress = full.on_terminal("export", "-o", str(tmp_path / "loud.jsonl"))
    assert shown == ""
    assert " MiB" in progress
    assert progress.rpartition("\r")[2] == ""  # the line is empty again
    assert (tmp_path / "loud.jsonl").read_text() == (tmp_path / "quiet.jsonl").read_text()
