# SPDX-License-Identifier: Apache-2.0
"""The agent answers, whatever containers and hosts do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
import time

import pytest

from hypercell.agent.frames import SYNC
from hypercell.base.errors import Conflict, InvalidArgument, NotFound, Unsupported
from tests.guest.conftest import Boot
from tests.guest.guest import Guest, Streams
from tests.guest.specifications import IN_MEMORY, config, process

pytestmark = [pytest.mark.vm, pytest.mark.root]


async def test_a_fork_bomb_leaves_the_agent_answering(guest: Guest) -> None:
    await guest.start("good", "sleep", "1000")
    await guest.start("bomb", "sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 1000")
    await asyncio.sleep(3)
    for _ in range(10):
        await guest.ask("ping")
    stats = await guest.ask("container.stats", container="bomb")
    assert 0 < stats["pids"]["limit"] <= 4096
    assert (await guest.execute("good", "echo", "well")).stdout == b"well\n"
    await guest.ask("container.delete", container="bomb", force=True)
    assert (await guest.run("after", "echo", "fine")).stdout == b"fine\n"


def takes(mib: int) -> list[str]:
    """A program that fills so much memory."""
    return ["dd", "if=/dev/zero", "of=/dev/null", f"bs={mib}M", "count=1"]


async def test_a_container_out_of_memory_is_told_and_harms_no_other(guest: Guest) -> None:
    await guest.start("good", "sleep", "1000")
    limit = {"resources": {"memory": {"limit": 16 << 20, "swap": 16 << 20}}}
    ended = await guest.run("c", *takes(64), linux=limit)
    assert (ended.code, ended.event["signal"], ended.event["oom"]) == (137, 9, True)
    assert (await guest.event(lambda e: e["event"] == "container.oom"))["container"] == "c"
    assert (await guest.state("good"))["status"] == "running"


async def test_a_container_that_takes_all_memory_of_the_machine_is_killed_not_the_agent(guest: Guest) -> None:
    await guest.ask("configure", sysctl={"vm.overcommit_memory": "1"})
    ended = await guest.run("c", *takes(400))
    assert (ended.code, ended.event["oom"]) == (137, True)
    await guest.ask("ping")


async def test_orphans_are_reaped(guest: Guest) -> None:
    specification = config("sh", "-c", "(for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 &) ; done); sleep 1; ps -o stat,args")
    specification["linux"]["namespaces"] = [
        entry for entry in specification["linux"]["namespaces"] if entry["type"] != "pid"
    ]
    streams = await guest.create("c", specification)
    await guest.ask("container.start", container="c")
    seen = await guest.read(streams.stdout)
    assert b"Z" not in b"".join(line.split()[0] for line in seen.splitlines()[1:])


async def test_the_end_of_init_ends_all_of_its_container(guest: Guest) -> None:
    specification = config("sh", "-c", "sleep 1000 & exit 0")
    specification["linux"]["namespaces"] = [
        entry for entry in specification["linux"]["namespaces"] if entry["type"] != "pid"
    ]
    await guest.create("c", specification)
    await guest.ask("container.start", container="c")
    await guest.exit("c")
    await guest.ask("container.delete", container="c")


async def test_hostile_requests_are_errors(guest: Guest) -> None:
    agent = guest.agent
    good = process("true")
    for op, members, error in (
        ("no.such.thing", {}, Unsupported),
        ("container.create", {}, InvalidArgument),
        ("container.create", {"container": "../x", "config": config("true"), "root": {}}, InvalidArgument),
        ("container.create", {"container": "..", "config": config("true"), "root": {}}, InvalidArgument),
        ("container.create", {"container": "c", "config": [], "root": {}}, InvalidArgument),
        ("container.create", {"container": "c", "config": {}, "root": {}}, InvalidArgument),
        ("container.create", {"container": "c", "config": {"process": good}, "root": {}}, Unsupported),
        ("container.create", {"container": "c" * 65, "config": config("true"), "root": {}}, InvalidArgument),
        ("container.delete", {"container": 5}, InvalidArgument),
        ("process.exec", {"container": "c", "process": "x", "spec": good}, NotFound),
        ("process.signal", {"container": "c", "process": "init", "signal": -1}, NotFound),
        ("configure", {"clock_ns": -1}, InvalidArgument),
        ("configure", {"entropy": "?"}, InvalidArgument),
        ("configure", {"entropy": "AAAA"}, InvalidArgument),
        ("configure", {"hostname": "x" * 65}, InvalidArgument),
        ("configure", {"sysctl": {"../../etc/passwd": "x"}}, InvalidArgument),
        ("configure", {"sysctl": []}, InvalidArgument),
        ("archive.get", {"container": "c", "path": "relative", "stream": 1}, NotFound),
    ):
        with pytest.raises(error):
            await agent.request(op, members, 20)
    for member, value in (
        ("args", []),
        ("args", [1]),
        ("args", "true"),
        ("env", {"a": "b"}),
        ("cwd", "relative"),
        ("user", []),
        ("rlimits", [{"type": "RLIMIT_NOTHING", "soft": 1, "hard": 1}]),
        ("rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
        ("oomScoreAdj", 1001),
        ("capabilities", {"effective": ["CAP_NOTHING"]}),
        ("terminal", "yes"),
    ):
        with pytest.raises(InvalidArgument):
            await guest.create("c", config("true", **{member: value}))
    assert (await guest.ask("state"))["containers"] == []
    await guest.ask("ping")


def frame(kind: int, number: int, payload: bytes, offset: int = 0, flags: int = 0) -> bytes:
    return struct.pack("<IBBHIQ", len(payload), kind, flags, 0, number, offset) + payload


HELLO = json.dumps({"versions": [1], "nonce": "a" * 32, "features": []}).encode()
REQUESTS = [b"", b"{", b"[" * 500, b'{"op":1}', b'{"op":"state","op":"state"}', b'{"op":"\\u0000"}', b"\xff" * 30]


def nonsense(streams: Streams, dice: random.Random) -> list[bytes]:
    """Some of all that a host should not say."""
    return [
        dice.randbytes(dice.randrange(200)),
        SYNC[: dice.randrange(17)],
        frame(3, dice.randrange(5), dice.choice(REQUESTS)),
        frame(7, streams.stdin, b"x" * 9, dice.choice([0, 1, 1 << 40, 2**64 - 5]), dice.randrange(3)),
        frame(8, streams.stdout, struct.pack("<Q", dice.getrandbits(64)), dice.getrandbits(64)),
        frame(8, streams.stdin, b"\0" * 8, 7),
        frame(dice.randrange(256), dice.getrandbits(32), b"y" * 50, dice.getrandbits(64)),
        struct.pack("<IBBHIQ", 1 << 20, 3, 0, 0, 1, 0),
        frame(1, 0, HELLO),
    ]


async def test_any_bytes_are_survived_and_the_next_greeting_is_answered(guest: Guest) -> None:
    streams = await guest.start("c", "cat", stdin=True)
    dice = random.Random(3)
    hello = frame(1, 0, HELLO)
    for _ in range(30):
        await guest.agent.close()
        _, writer = await guest.vm.connect_agent()
        parts = [SYNC, hello] if dice.random() < 0.8 else []
        parts += [dice.choice(nonsense(streams, dice)) for _ in range(dice.randrange(1, 12))]
        writer.write(b"".join(parts))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()
        await guest.connect()
        await guest.ask("ping")
    assert (await guest.state("c"))["status"] == "running"


async def test_more_requests_than_may_be_open_are_refused(guest: Guest) -> None:
    results = await asyncio.gather(*(guest.ask("sync") for _ in range(400)), return_exceptions=True)
    refused = [result for result in results if result != {}]
    assert all(isinstance(result, Conflict) for result in refused)
    assert len(refused) < 200
    await guest.ask("ping")


async def test_many_requests_at_once_are_all_answered(guest: Guest) -> None:
    await asyncio.gather(*(guest.run(f"c{number}", "echo", str(number), root=IN_MEMORY) for number in range(8)))
    assert (await guest.ask("state"))["containers"] == []


async def test_two_hundred_lives_leave_nothing(guest: Guest) -> None:
    async def free() -> int:
        seen = await guest.run("probe", "cat", "/proc/meminfo", root=IN_MEMORY)
        fields = dict(line.split(":") for line in seen.stdout.decode().splitlines())
        return int(fields["MemAvailable"].split()[0])

    async def lives(count: int) -> None:
        for _ in range(count):
            await guest.run("c", "true", root=IN_MEMORY)

    await lives(20)
    before = await free()
    await lives(200)
    assert before - await free() < 4096


async def test_a_small_machine_is_enough(boot: Boot) -> None:
    guest = await boot(memory_mib=24)
    assert (await guest.run("c", "echo", "fine")).stdout == b"fine\n"


async def test_an_idle_agent_sleeps(guest: Guest) -> None:
    """Also with a host that is gone: a port that hangs up must not be polled."""
    await guest.start("c", "sleep", "1000")
    await guest.agent.close()
    before = (await guest.vm.host_usage()).cpu_ns
    began = time.monotonic_ns()
    await asyncio.sleep(2)
    used = (await guest.vm.host_usage()).cpu_ns - before
    await guest.connect()
    assert used / (time.monotonic_ns() - began) < 0.2
