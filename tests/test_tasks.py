"""The way of working: tasks of the justfile, hooks of pre-commit, the page for contributors, and findings/."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tasks() -> Mapping[str, Sequence[str]]:
    """The commands of each task, by its name; those for just itself begin with an underscore."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "justfile").read_text(encoding="utf-8").splitlines():
        if task := re.match(r"([a-z]+)( \*\w+)?:$", line):
            commands = found.setdefault(task[1], [])
        elif found and line.startswith("    "):
            commands.append(line.strip())
    return found


def test_the_command_of_every_task_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    installed = {"python", *(re.split(r"[^\w-]", each)[0] for each in (*extras["test"], *extras["dev"]))}
    assert {"check", "quick", "test", "proof", "bench", "shots", "versions"} <= set(tasks())
    missing = []
    for name, commands in tasks().items():
        assert commands, f"{name} does nothing"
        for word in " ".join(commands).split():
            if word.startswith(".venv/bin/"):
                missing += [(name, word)] if word.removeprefix(".venv/bin/") not in installed else []
            elif "/" in word and not (ROOT / word).is_file():
                missing.append((name, word))
    assert missing == []


def test_the_page_for_contributors_names_every_task() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in tasks() if f"`just {name}" not in page] == []


def test_the_hooks_before_a_commit_use_the_ruff_of_the_constraints() -> None:
    pinned = re.findall(r"^ruff==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"ruff==([^\s,\]]+)", hooks)) == set(pinned)
    assert hooks.count("- id: ") == hooks.count("ruff==")


def test_the_files_that_the_page_for_contributors_names_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:sandbox|tests|docs|templates|findings)/[\w/.-]+\.\w+)`", page)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_finding_is_listed_and_says_what_was_guessed_and_seen() -> None:
    page = (ROOT / "findings" / "README.md").read_text(encoding="utf-8")
    scripts = sorted((ROOT / "findings").glob("*.sh"))
    assert scripts
    for script in scripts:
        source = script.read_text(encoding="utf-8")
        head = (
            "# Guessed:",
            "# Seen instead:",
            "# Versions:",
            "# Who trips:",
            "set -euo pipefail",
            "mktemp -d",
            "trap ",
        )
        assert [words for words in head if words not in source] == [], script.name
        assert f"]({script.name})" in page
