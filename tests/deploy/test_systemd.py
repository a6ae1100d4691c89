"""The units: each starts a command that exists, shut in; systemd itself finds no fault in them."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.cli import oneprotect
from app.settings import READERS

UNITS = Path(__file__).resolve().parents[2] / "app" / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
PROGRAM = "/opt/oneprotect/.venv/bin/oneprotect"
#: What shuts a process in, whatever it is talked into.
HARDENED = {
    "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
    "PrivateTmp": "yes", "PrivateDevices": "yes", "CapabilityBoundingSet": "",
    "MemoryDenyWriteExecute": "yes", "RestrictNamespaces": "yes", "RestrictSUIDSGID": "yes",
    "ProtectKernelModules": "yes", "UMask": "0077", "User": "oneprotect",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "SystemCallArchitectures": "native",
}  # fmt: skip
#: systemd's own judgement, from 0 (shut in) to 10 (open).
MAX_EXPOSURE = 1.5


def read(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names keep their case
    parser.read_string((UNITS / name).read_text("utf-8"))
    return parser


def test_there_is_a_unit_for_every_process_of_a_production() -> None:
    started = {
        match[1]
        for name in SERVICES
        if (match := re.search(rf"{PROGRAM} (\w+)", read(name)["Service"]["ExecStart"]))
    }

    assert {"serve", "worker", "migrate", "backup"} == started
    assert started <= set(oneprotect.commands)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_shut_in(name: str) -> None:
    service = read(name)["Service"]

    assert HARDENED.items() <= dict(service).items()
    assert "@system-service" in (UNITS / name).read_text("utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_units_that_exist(name: str) -> None:
    unit = read(name)["Unit"]
    named = f"{unit.get('Requires', '')} {unit.get('After', '')}".split()
    ours = {one for one in named if one.startswith("oneprotect")}

    assert ours <= set(SERVICES)
    assert ours or name == "oneprotect-migrate.service"


def test_the_environment_file_names_settings_only() -> None:
    lines = (UNITS / "oneprotect.env").read_text("utf-8").splitlines()
    names = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}

    assert {"ONEPROTECT_ENV", "ONEPROTECT_SECRET_KEYS"} <= names
    assert {name.removeprefix("ONEPROTECT_") for name in names} <= set(READERS)


def test_systemd_finds_no_fault_and_little_exposure(tmp_path: Path) -> None:
    """Where systemd is not installed, the tests above are all that can be said."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        print("systemd-analyze is not installed: the units were only read")
        return
    for path in UNITS.glob("oneprotect*.[st]*"):
        name = path.name.replace("@.", "@1.")
        (tmp_path / name).write_text(path.read_text("utf-8").replace(PROGRAM, "/bin/true"))
    units = sorted(str(path) for path in tmp_path.iterdir())

    verified = subprocess.run([tool, "verify", *units], capture_output=True, text=True, check=False)
    assert (0, "") == (verified.returncode, verified.stderr)
    for unit in (one for one in units if one.endswith(".service")):
        judged = subprocess.run(
            [tool, "security", "--offline=true", unit], capture_output=True, text=True, check=True
        )
        level = re.search(r"exposure level for \S+: ([\d.]+)", judged.stdout)
        assert level
        assert float(level[1]) <= MAX_EXPOSURE
