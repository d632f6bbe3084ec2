#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""List what hypercell left on this machine that belongs to nothing, a line each; nothing when all is well.

What belongs is what the containers of the configured daemon need: asked of the daemon, or read from its database when
it is down (containers go on without it). Everything else that carries hypercell's marks is a leak, whoever made it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hypercell.backends.network.rules import BRIDGE_PREFIX, TAP_PREFIX, bridge_name, table, tap_name
from hypercell.base.config import Config, load
from hypercell.cli.client import ApiError, Client

_BRIDGES = ("hypercell", "hct", "hcb", "hcown", BRIDGE_PREFIX)


def known_containers(config: Config) -> set[str]:
    try:
        found = Client(f"unix://{config.socket}").call("GET", "/containers/json", {"all": True})
        return {item["Id"] for item in found}
    except ApiError:
        pass
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{config.database}?mode=ro", uri=True)
        with contextlib.closing(connection):
            return {row[0] for row in connection.execute("SELECT id FROM containers")}
    return set()


def known_networks(config: Config) -> set[str]:
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{config.database}?mode=ro", uri=True)
        with contextlib.closing(connection):
            return {row[0] for row in connection.execute("SELECT id FROM networks")}
    return set()


def processes(config: Config, known: set[str]) -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            name = words[words.index("-name") + 1] if "-name" in words else ""
            ours = "hypercell.agent" in " ".join(words) and "qemu" in words[0]
            if ours and name not in known:
                yield f"process {entry.name}: hypervisor of {name[:12]}"
            served = [word for word in words if word.startswith("source=") and word.endswith("/share")]
            if words[0].endswith("virtiofsd") and any(Path(place).parent.name not in known for place in served):
                yield f"process {entry.name}: virtiofsd of {Path(served[0]).parent.name[:12]}"
            if any(word.endswith(("hypercelld", "hypercell.api.daemon")) for word in words[:3]) and "--config" in words:
                yield f"process {entry.name}: {' '.join(words).strip()}"


def links(config: Config, known: set[str]) -> Iterator[str]:
    taps = {tap_name(config.bridge, identifier) for identifier in known}
    bridges = {config.bridge, *(bridge_name(config.bridge, network) for network in known_networks(config))}
    for entry in Path("/sys/class/net").iterdir():
        is_tap = (entry / "tun_flags").exists()
        is_bridge = (entry / "bridge").exists()
        if is_tap and entry.name.startswith(TAP_PREFIX) and entry.name not in taps:
            yield f"tap {entry.name}"
        if is_bridge and entry.name.startswith(_BRIDGES) and entry.name not in bridges:
            yield f"bridge {entry.name}"


def tables(config: Config) -> Iterator[str]:
    done = subprocess.run(["nft", "-j", "list", "tables"], check=False, capture_output=True, text=True)
    with contextlib.suppress(ValueError):
        for item in json.loads(done.stdout)["nftables"]:
            name = item.get("table", {}).get("name", "")
            if name.startswith("hypercell_") and name != table(config.bridge):
                yield f"nft table {item['table']['family']} {name}"


def mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if "hypercell" in line.split()[4]:
            yield f"mount {line.split()[4]}"


def cgroups(known: set[str]) -> Iterator[str]:
    for root, folders, _ in os.walk("/sys/fs/cgroup"):
        for folder in folders:
            if folder.startswith("hypercell-") or (Path(root).name == "hypercell" and folder not in known):
                yield f"cgroup {root}/{folder}"


def files(config: Config, known: set[str]) -> Iterator[str]:
    for folder in (config.vms, config.containers):
        with contextlib.suppress(FileNotFoundError):
            for entry in folder.iterdir():
                if len(entry.name) == 64 and entry.name not in known:
                    yield f"file {entry}"
    for entry in Path("/tmp").glob("hypercell-*"):
        yield f"file {entry}"
    for line in Path("/proc/net/unix").read_text().splitlines():
        path = line.split()[-1]
        if path.endswith("hypercell.sock") and path != str(config.socket):
            yield f"socket {path}"


def main() -> int:
    config = load()
    known = known_containers(config)
    found = [
        *processes(config, known),
        *links(config, known),
        *tables(config),
        *mounts(),
        *cgroups(known),
        *files(config, known),
    ]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
