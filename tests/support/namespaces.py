# SPDX-License-Identifier: Apache-2.0
"""A network of the tests' own: nothing they send can leave through the machine's interface."""

from __future__ import annotations

import ctypes
import os
import subprocess

_CLONE_NEWNET = 0x40000000


def enter_private_network() -> None:
    """Move this process (and all it will start) into a new network namespace with only a loopback in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace: run the tests as root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ["HYPERCELL_PRIVATE_NETWORK"] = "1"


class Host:
    """Another host: a network namespace joined to ours by a veth pair. Use as a context manager."""

    def __init__(self, name: str, ours: str, theirs: str, prefix: int = 24) -> None:
        self.name = f"{name}-{os.getpid()}"
        self.ours, self.theirs, self._prefix = ours, theirs, prefix
        self._link = f"v{os.getpid() % 100000}{name[:6]}"

    def __enter__(self) -> Host:
        ip = ["ip"]
        subprocess.run([*ip, "netns", "add", self.name], check=True)
        subprocess.run(
            [*ip, "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name], check=True
        )
        subprocess.run([*ip, "addr", "add", f"{self.ours}/{self._prefix}", "dev", self._link], check=True)
        subprocess.run([*ip, "link", "set", self._link, "up"], check=True)
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "addr", "add", f"{self.theirs}/{self._prefix}", "dev", "eth0"],
            ["ip", "link", "set", "eth0", "up"],
            ["ip", "route", "add", "default", "via", self.ours],
        ):
            self.run(command)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "link", "del", self._link], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], check=False)

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        options.setdefault("check", True)
        return subprocess.run(["ip", "netns", "exec", self.name, *command], text=True, **options)  # type: ignore[call-overload,no-any-return]

    def popen(self, command: list[str], **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(["ip", "netns", "exec", self.name, *command], text=True, **options)  # type: ignore[call-overload,no-any-return]
