"""The guard's judgement does not lean on the interpreter: the same corpus, on every one at hand."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests import summary

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("judge_corpus.py")
OLDEST = (3, 11)


def _interpreters() -> dict[str, str]:
    """Return interpreters from 3.11 on, by version: this one, those on PATH, pyenv's."""
    found = {".".join(map(str, sys.version_info[:3])): sys.executable}
    on_path = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 20)]
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
    for candidate in [*filter(None, on_path), *map(str, pyenv)]:
        told = subprocess.run([candidate, "-V"], capture_output=True, text=True, check=False)
        version = re.search(r"\d+\.\d+\.\d+", told.stdout)
        if version and tuple(map(int, version[0].split(".")[:2])) >= OLDEST:
            found.setdefault(version[0], candidate)
    return found


@pytest.mark.parametrize(("version", "python"), _interpreters().items(), ids=_interpreters())
def test_the_whole_corpus_is_judged_alike(version: str, python: str) -> None:
    # Only pure Python is imported, so that our own packages do for every version.
    packages = [str(ROOT), str(Path(httpx.__file__).parents[1])]
    done = subprocess.run(
        [python, "-P", "-W", "error", str(SCRIPT), *packages],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    size = f"{told['judged']} entries, {told['blocks']} blocks"
    summary.tell("figures", f"corpus on Python {version}: {size}")

    assert version == told["version"]
    assert [] == told["wrong"]
    assert told["judged"] > 300
    assert told["blocks"] > 100
