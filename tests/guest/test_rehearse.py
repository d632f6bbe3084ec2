# SPDX-License-Identifier: Apache-2.0
"""The program of the container that templates carry out (guest/rehearse), on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hypercell.base.config import Config

pytestmark = pytest.mark.root
PROGRAM = Config().guest_dir / "rehearse"


def counters(namespace: int) -> dict[str, int]:
    """Of a network namespace: /proc/net/snmp, as `Tcp.ActiveOpens`."""
    command = ["nsenter", f"--net=/proc/self/fd/{namespace}", "cat", "/proc/net/snmp"]
    lines = subprocess.run(command, pass_fds=[namespace], capture_output=True, check=True, text=True).stdout.split("\n")
    found: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        kind = names.partition(":")[0]
        found |= {
            f"{kind}.{name}": int(value) for name, value in zip(names.split()[1:], values.split()[1:], strict=True)
        }
    return found


def test_the_rehearsal_opens_no_tcp_connection_which_would_make_secrets_of_all_clones() -> None:
    command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0"', str(PROGRAM)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"rehearsing\n"
        namespace = os.open(Path("/proc") / str(process.pid) / "ns/net", os.O_RDONLY)
        process.terminate()
        assert process.wait() == 0
    try:
        seen = counters(namespace)
    finally:
        os.close(namespace)
    assert seen["Udp.InDatagrams"] == 2, "it uses the network"
    assert (seen["Tcp.ActiveOpens"], seen["Tcp.PassiveOpens"], seen["Tcp.InSegs"]) == (0, 0, 0)
