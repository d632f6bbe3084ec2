# SPDX-License-Identifier: Apache-2.0
"""`--init`: a PID 1 that reaps, passes signals on, and ends as its program does."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from hypercell.base.errors import Internal
from tests.support.house import House, T
from tests.support.real_house import real_house

SOURCE = Path(__file__).resolve().parents[2] / "guest" / "init"


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("init") / "init"
    subprocess.run(["make", "-s", "-C", str(SOURCE), f"OUT={made}"], check=True)
    return str(made)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -SEGV $$", 139)]
)
def test_it_ends_as_its_program_does(init: str, script: str, code: int) -> None:
    assert subprocess.run([init, "--", "sh", "-c", script], check=False).returncode == code


def test_it_names_a_program_that_cannot_run(init: str) -> None:
    missing = subprocess.run([init, "--", "nothere"], check=False, capture_output=True, text=True)
    assert missing.returncode == 127 and "exec nothere failed: No such file" in missing.stderr
    assert subprocess.run([init, "--", "/etc/passwd"], check=False, capture_output=True).returncode == 126
    assert subprocess.run([init, "--"], check=False, capture_output=True).returncode == 126


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGRTMIN])
def test_it_passes_signals_on(init: str, number: signal.Signals) -> None:
    script = f"trap 'exit 5' {int(number)}; echo up; while :; do sleep 0.01; done"
    with subprocess.Popen([init, "--", "bash", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        process.send_signal(number)
        try:
            assert process.wait(10) == 5
        finally:
            process.kill()


def test_it_reaps_what_others_leave_behind(init: str) -> None:
    # Its own pid namespace, so that orphans become its children; the program sees no zombie of them.
    script = "(sh -c 'sleep 0.01 &'); sleep 0.2; cat /proc/[0-9]*/stat | grep -c ' Z ' ; exit 3"
    command = ["unshare", "--pid", "--fork", "--mount-proc", init, "--", "sh", "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 3 and done.stdout == "0\n"


def test_it_is_static_and_small(init: str) -> None:
    assert Path(init).stat().st_size < 100_000
    segments = subprocess.run(["readelf", "-lW", init], capture_output=True, text=True, check=True).stdout
    assert "LOAD" in segments and "INTERP" not in segments


async def test_it_is_named_when_it_was_not_built(home: House) -> None:
    (home.config.guest_dir / "init").unlink()
    ident = await home.create("true", init=True)
    with pytest.raises(Internal, match="make guest"):
        await home.containers.start(T, ident)


@pytest.mark.vm
@pytest.mark.root
async def test_it_is_pid_1_of_its_container(tmp_path: Path) -> None:
    async with real_house(tmp_path) as home:
        ident = await home.run("sh", "-c", "echo $$; cat /proc/1/comm; exit 9", init=True)
        assert await home.wait(ident) == 9
        first, second = (await home.output(ident)).splitlines()
        assert first != b"1" and second == b"docker-init"
