"""The command line inside the test's own process, where starting one would only cost time."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from app.cli import run
from tests.tools.programs import environment

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """`command("tenant", "create", stdin="…", ENV="dev")`, run in an empty folder."""

    def call(*arguments: str, stdin: str = "", **env: str) -> CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name in set(os.environ) - set(environment()):
                patch.delenv(name)
            for name, value in environment(**env).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            code = run(arguments)
        return CompletedProcess(arguments, code, *capfd.readouterr())

    return call
