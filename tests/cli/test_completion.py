"""Shell completion: the scripts are the shells' own, and bash really completes with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.tools.programs import environment

PRESS_TAB = """
eval "$(oneprotect completion bash)"
COMP_WORDS=(oneprotect destination l) COMP_CWORD=2
_oneprotect_completion oneprotect l destination
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete ")]
)
def test_each_shell_gets_its_script(command: Command, shell: str, mark: str) -> None:
    done = command("completion", shell)

    assert 0 == done.returncode
    assert mark in done.stdout
    assert "_ONEPROTECT_COMPLETE" in done.stdout


def test_another_shell_is_refused_with_those_that_are_known(command: Command) -> None:
    done = command("completion", "tcsh")

    assert 2 == done.returncode
    assert all(shell in done.stderr for shell in ("bash", "zsh", "fish"))


def test_bash_completes_a_command(tmp_path: Path) -> None:
    (tmp_path / "oneprotect").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app "$@"\n')
    (tmp_path / "oneprotect").chmod(0o755)
    env = environment() | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    done = subprocess.run(
        ["bash", "-c", PRESS_TAB], env=env, capture_output=True, text=True, timeout=30, check=True
    )

    assert ("list", "") == (done.stdout.strip(), done.stderr)
