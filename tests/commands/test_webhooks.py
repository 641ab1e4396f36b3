"""webhooks list, show, attempt, redeliver; doctor."""

from pathlib import Path

from tests.commands.shell import NUMBER, Shell
from tests.conftest import Bench, Receiver


def test_webhooks_are_listed_shown_attempted_and_redelivered(run: Shell, routed: Bench, receiver: Receiver) -> None:
    routed.sent()
    receiver.answer_next(500)
    run.good("reply", NUMBER, "1")
    (listed,) = run.json("webhooks", "list", "--state", "retrying")["webhook_deliveries"]
    assert f" {listed['id']} " in run.good("webhooks", "list")
    assert "500" in run.good("webhooks", "show", listed["id"])
    assert "delivered" in run.good("webhooks", "attempt", listed["id"])
    assert "delivered" in run.good("webhooks", "redeliver", listed["id"])
    assert len({request.body for request in receiver.wait_for(3)}) == 1


def test_a_webhook_is_redelivered_with_what_a_file_or_standard_input_holds(
    run: Shell, routed: Bench, receiver: Receiver, tmp_path: Path
) -> None:
    owed = routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"})["webhook_delivery"]["id"]
    file = tmp_path / "body.json"
    file.write_bytes("no JSON ₦\n".encode())
    again = run.json("webhooks", "redeliver", owed, "--body", str(file))
    assert (again["edited"], again["redelivery_of"]) == (True, owed)
    assert run("webhooks", "redeliver", owed, "--body", "-", stdin="{}").exit_code == 0
    assert [each.body for each in receiver.wait_for(3)[1:]] == ["no JSON ₦\n".encode(), b"{}"]
    for wrong, words in ((b"a\xffb", "Byte 1 is not UTF-8"), (b"x" * 65_537, "more than 65,536 bytes")):
        file.write_bytes(wrong)
        done = run("webhooks", "redeliver", owed, "--body", str(file))
        assert done.exit_code == 2
        assert words in done.stderr


def test_a_webhook_delivery_that_is_not_there_is_exit_code_1(run: Shell) -> None:
    done = run("webhooks", "show", "w1")
    assert done.exit_code == 1
    assert "w1" in done.stderr


def test_the_doctor_finds_nothing_wrong_with_an_application_that_answers(
    run: Shell, routed: Bench, receiver: Receiver
) -> None:
    url, *checks = run.good("doctor", "--post").splitlines()
    assert url == receiver.url
    assert {line.split()[1] for line in checks if line.startswith("  ok ")} >= {"url", "tcp", "http", "json"}
    assert len(receiver.wait_for(1)) == 1


def test_the_doctor_says_what_is_broken_and_the_fix(run: Shell) -> None:
    done = run("doctor", "--client-url", "http://127.0.0.1:1/sms")
    assert done.exit_code == 1
    assert "http://127.0.0.1:1/sms" in done.stdout
    lines = done.stdout.splitlines()
    (broken,) = [index for index, line in enumerate(lines) if line.split()[0] == "BROKEN"]
    assert lines[broken].split()[1] == "tcp"
    assert lines[broken + 1].startswith(" " * 16)
    assert "broken: tcp" in done.stderr
    assert run.json("doctor", "--client-url", "http://127.0.0.1:1/sms", exit_code=1)["ok"] is False


def test_without_post_the_doctor_posts_nothing(run: Shell, receiver: Receiver) -> None:
    run.good("doctor")
    assert receiver.received == []
