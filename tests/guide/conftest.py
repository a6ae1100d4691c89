"""The guide's snippets need their languages: what this machine lacks is said aloud at the end."""

import shutil
from pathlib import Path

import pytest

from tests import summary

HERE = Path(__file__).parent
#: What runs each snippet, and what brings it.
NEEDS = {
    "python": (),
    "node": ("node",),
    "go": ("go",),
    "ruby": ("ruby",),
    "php": ("php",),
    "java": ("javac", "java"),
    "csharp": ("dotnet",),
    "shell": ("bash", "openssl"),
}
MISSING = {name for name, programs in NEEDS.items() if not all(map(shutil.which, programs))}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    gone = [item for item in items if item.path.is_relative_to(HERE) and _language(item) in MISSING]
    if gone:
        languages = ", ".join(sorted({str(_language(item)) for item in gone}))
        text = f"the receiver guide's snippets did not run for: {languages}"
        summary.tell("left out: languages this machine does not have", text)
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


def _language(item: pytest.Item) -> object:
    return (
        item.callspec.params.get("language")
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else None
    )


@pytest.fixture
def engine_name() -> str:
    """One engine: what is verified here left the worker already."""
    return "sqlite"
