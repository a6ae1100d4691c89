"""The rules of the house, as tests: who imports whom, how long a file is, what it may hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.application.use_cases import read_user_options
from importlinter.cli import lint_imports

from app.database import Base, new_id
from app.settings import READERS

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 400
UNFINISHED = re.compile(
    # Brackets, so that this line does not find itself.
    r"\b([T]ODO|[F]IXME|[X]XX|[H]ACK)\b|[N]otImplementedError|(pytest|mark)\.([s]kip|[x]fail)"
)
#: The front doors: every package, and the modules beside them.
DOORS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in {*ROOT.glob("app/**/__init__.py"), *ROOT.glob("app/*.py")}
    if path.name != "__main__.py"
)


def sources() -> list[Path]:
    return [
        path for room in ("app", "tests", "migrations") for path in ROOT.glob(f"{room}/**/*.py")
    ]


def test_the_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    from importlinter import configuration

    configuration.configure()

    assert 4 <= len(read_user_options().contracts_options)
    assert 0 == lint_imports(is_debug_mode=False, no_cache=True)


#: Imports each module given in a process that has seen none of ours; prints those that fail.
IMPORT_EACH = """
import importlib, os, sys
import advanced_alchemy.base, litestar.testing, saq, sqlalchemy.ext.asyncio
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        importlib.import_module(name)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(name)
"""


def test_every_front_door_can_be_opened_first() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH, *DOORS],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert len(DOORS) > 20
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources()}

    assert len(lengths) > 60
    assert {} == {str(path): length for path, length in lengths.items() if length > MAX_LINES}


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if UNFINISHED.search(line)
    ]

    assert [] == found


def test_every_file_opens_with_its_purpose() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]

    assert [] == silent


def test_no_module_is_named_after_nothing() -> None:
    shapeless = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "handlers"}

    assert set() == {path.stem for path in sources()} & shapeless
    assert set() == {path.parent.name for path in sources()} & shapeless


def test_no_route_returns_a_mapped_class() -> None:
    mapped = {mapper.class_.__name__ for mapper in Base.registry.mappers}
    returned = {
        f"{path.name}:{node.name}"
        for path in ROOT.glob("app/api/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef)
        and node.decorator_list
        and node.returns is not None
        and mapped & {name.id for name in ast.walk(node.returns) if isinstance(name, ast.Name)}
    }

    assert len(mapped) >= 12
    assert set() == returned


def test_only_the_database_room_commits() -> None:
    committing = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("app/**/*.py")
        if "tools" not in path.parts  # the bench has a scratch database of its own
        and re.search(r"\.(commit|rollback)\(\)", path.read_text())
    }

    assert committing <= {"app/database/engine.py"}


@pytest.mark.parametrize("root", ["app.asgi", "app.worker"])
def test_each_process_knows_every_table_that_the_migrations_make(root: str) -> None:
    program = f"import {root}, app.database as d; print(*d.Base.metadata.tables)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    made = {
        name
        for path in ROOT.glob("migrations/versions/*.py")
        for name in re.findall(r'create_table\(\s*"(\w+)"', path.read_text())
    }

    assert len(made) >= 14
    assert made == set(done.stdout.split())


def test_ids_sort_by_time() -> None:
    ids = [new_id("x") for _ in range(1_000)]

    assert ids == sorted(set(ids))


def test_every_setting_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    assert [] == [name for name in READERS if name not in readme]
