# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Interrupts itself when a module is looked for, as ctrl-C at that moment would.
SCRIPT = """
import os, signal, sys
wanted = sys.argv[1]
class Interrupt:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt)
{before}
from hypercell.cli.main import main
sys.argv = ["hypercell", "-H", "unix:///nonexistent", "ps"]
main()
"""


def ended(module: str, before: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", SCRIPT.format(before=before), module]
    return subprocess.run(line, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    "module",
    [
        "hypercell.cli.interrupt",
        "hypercell.cli.command",
        "http.client",
        "click",
        "click.core",
        "hypercell.cli.client",
        "hypercell.cli.ps",
    ],
)
def test_an_interrupt_while_a_command_is_loaded_ends_it_quietly(module: str) -> None:
    done = ended(module)
    assert done.returncode in (-signal.SIGINT, 130)
    assert (done.stdout, done.stderr.strip()) == ("", "")


def test_who_ignores_interrupts_still_does() -> None:
    done = ended("click", "signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert done.returncode == 1
    assert "Cannot connect" in done.stderr


def test_loading_the_command_leaves_interrupts_as_they_were() -> None:
    script = "import signal, hypercell.cli.main as _; assert signal.getsignal(2) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", script], check=True)
