# Tasks: `just` lists them, `just quick -k gateway` runs one; what follows the name goes to the command. just rather than
# nox: a task is one command, to be read and pasted without any tool, and just is one wheel (rust-just) without dependencies.

set positional-arguments

_list:
    @"{{ just_executable() }}" --list --unsorted

# Style and types
check:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy

# The tests for while you work: half a minute on two processors
quick *options:
    .venv/bin/python tests/quick.py "$@"

# Every test
test *options:
    .venv/bin/pytest -n auto --dist loadfile "$@"

# The proofs of docs/reliability.md as a table: `just proof T4`, or `--long` for two hours of them
proof *names:
    .venv/bin/python tests/proof.py "$@"

# Every speed figure beside its floor: a quarter of an hour on a quiet machine
bench *options:
    .venv/bin/python benchmarks/report.py "$@"

# Pictures of every page, in a temporary folder or in one that is named; renews those of the README
shots *names:
    .venv/bin/python docs/screenshots.py "$@"

# The quick tests on every Python that we support, with the lowest, the pinned and the newest libraries
versions *names:
    .ci/versions "$@"

# What CI runs: every test, style and types in a copy; installs Debian packages that are missing
ci:
    bash .ci/run
