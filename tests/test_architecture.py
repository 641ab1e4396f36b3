"""The house rules that a machine can hold: floors, one address for each outside library, no room too large."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sandbox"
LINES = 600

# Imports go strictly down, or from a later to an earlier module of the same room (listed order).
FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "model",
        "errors",
        "clock",
        "greenlets",
        "resources",
        "nesting",
        "config",
        "link",
        "client",
        "answers",
        "demo.survey",
    ),
    (
        "events",
        "causes",
        "offers",
        "contract.text",
        "contract.numbers",
        "contract.problems",
        "contract.credentials",
        "contract.requests",
        "contract.payloads",
        "webhooks.retry",
    ),
    ("matching", "lint", "explain"),
    (
        "scenario.steps",
        "scenario.asking",
        "scenario.shapes",
        "scenario.grammar",
        "scenario.script",
        "scenario.reading",
        "scenario.catalogue",
        "scenario.engine",
        "scenario.record",
    ),
    (
        "bus",
        "edge",
        "hosting",
        "misbehaviour",
        "hostile",
        "store.file",
        "store.checkpoints",
        "store.database",
        "store.journal",
        "store.accounts",
        "store.messages",
        "store.retention",
        "store.outbox",
        "store.newest",
        "store.faults",
        "store.scenarios",
        "store.findings",
        "store.lines",
        "store.identity",
        "store.imports",
        "store.transfer",
        "webhooks.lookup",
        "webhooks.poster",
        "webhooks.diagnosis",
        "webhooks.doctor",
    ),
    ("scheduler",),
    ("webhooks.dispatcher",),
    ("stage",),
    ("network",),
    ("gateway", "waiting", "control"),
    (
        "web.access",
        "web.gateway_api",
        "web.schema",
        "web.shapes",
        "web.bench_shapes",
        "web.live",
        "web.house",
        "web.fields",
        "web.operations",
        "web.control_messages",
        "web.control_webhooks",
        "web.control_handsets",
        "web.control_scenarios",
        "web.control_faults",
        "web.control_records",
        "web.control_bench",
        "web.control_api",
        "web.openapi",
        "web.page_words",
        "web.charts",
        "web.page_charts",
        "web.page_bench_words",
        "web.page_render",
        "web.api_page",
        "web.page_forms",
        "web.page_debugger",
        "web.page_views",
        "web.page_scenario_views",
        "web.page_transcripts",
        "web.page_present",
        "web.page_scenarios",
        "web.page_settings",
        "web.page_lists",
        "web.pages",
        "web.app",
    ),
    ("server",),
    ("child",),
    ("owned",),
    ("expecting",),
    ("handset", "playing"),
    ("testing",),
    (
        "commands.options",
        "commands.lines",
        "commands.steps",
        "commands.messages",
        "commands.webhooks",
        "commands.scenarios",
        "commands.faults",
        "commands.clock",
        "commands.accounts",
        "commands.bench",
        "commands.transfer",
        "commands.serving",
    ),
    ("cli", "pytest_plugin"),
)

# Each outside library has one address, so that it can be weighed, and replaced, in one place.
ADDRESSES = {
    "starlette": ("web.", "demo."),
    "jinja2": ("web.",),
    "markupsafe": ("web.",),
    "uvicorn": ("hosting", "edge"),
    "uvloop": ("hosting",),
    "httptools": ("webhooks.poster", "edge"),
    "sqlite3": ("store.file", "store.checkpoints", "store.database"),
    "anyio": ("link",),
    "click": ("cli", "commands."),
    "yaml": ("scenario.script",),
    "regex": ("matching",),
    "pytest": ("pytest_plugin",),
}

# Modules of one room may use the earlier ones; these also know each other.
SIBLINGS = {("config", "model"), ("config", "errors"), ("config", "nesting")}
SIBLINGS |= {("greenlets", "errors"), ("link", "errors"), ("client", "errors"), ("client", "link")}
SIBLINGS |= {("hosting", "edge"), ("hostile", "misbehaviour"), ("control", "waiting")}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.endswith("__init__"):
            found[name] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    return frozenset(found_imports(path))


def found_imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file it does so."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            assert node.module is not None
            for alias in node.names:  # `from sandbox.store import journal` imports a module
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper.removeprefix("sandbox.") in modules() else node.module


def floor_of(module: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if module in names)


def room_of(module: str) -> str:
    return module.rpartition(".")[0]


def may_import(module: str, other: str) -> bool:
    """Whether `module` may import `other`, both without the package's name."""
    if floor_of(other) != floor_of(module):
        return floor_of(other) < floor_of(module)
    names = FLOORS[floor_of(module)]
    same_room = room_of(module) == room_of(other) != ""
    return (same_room and names.index(other) < names.index(module)) or (module, other) in SIBLINGS


def test_a_module_imports_only_what_stands_below_it() -> None:
    own = {
        module: [name.removeprefix("sandbox.") for name in imports(path) if name.startswith("sandbox.")]
        for module, path in modules().items()
    }
    assert [(module, it) for module, others in own.items() for it in others if not may_import(module, it)] == []


def test_nobody_imports_the_package_root() -> None:
    assert [module for module, path in modules().items() if "sandbox" in imports(path)] == []


def test_every_module_has_its_floor() -> None:
    assert sorted(modules()) == sorted(name for floor in FLOORS for name in floor)


@pytest.mark.parametrize("library", ADDRESSES)
def test_an_outside_library_has_one_address(library: str) -> None:
    users = {name for name, path in modules().items() if any(each.split(".")[0] == library for each in imports(path))}
    allowed = ADDRESSES[library]
    assert {name for name in users if not any(name == place or name.startswith(place) for place in allowed)} == set()


def test_the_package_uses_no_other_library() -> None:
    known = {*sys.stdlib_module_names, *ADDRESSES, "sandbox"}
    used = {name.split(".")[0] for path in modules().values() for name in imports(path)}
    assert used - known == set()


def test_no_room_is_too_large() -> None:
    sizes = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: size for name, size in sizes.items() if size > LINES} == {}


def test_a_module_says_what_lives_in_it() -> None:
    assert [name for name, path in modules().items() if not ast.get_docstring(tree(path))] == []


def test_the_architecture_page_names_every_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in modules() if f"{name.rpartition('.')[2]}.py" not in page] == []
