# SPDX-License-Identifier: Apache-2.0
"""The guest in memory behaves as the protocol says, so that what passes against it means something."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import tarfile
from typing import Any

import pytest

from hypercell.agent import Client, Json, connect
from hypercell.agent.fake import FakeGuest, Faults
from hypercell.base.errors import Conflict, ExecFailed, InvalidArgument, NotFound, Unsupported, VmFailed
from tests.agent.raw import turns


class Vm:
    """A fake guest, the host's end of it, and what the host was told."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.events: list[Json] = []
        self.deaths: list[str] = []
        self.shutdowns = 0
        self.changed = asyncio.Event()
        self.guest = FakeGuest(self._on_shutdown, self.deaths.append, faults)
        self.agent: Client

    async def connect(self) -> Vm:
        self.agent = await connect(self.guest.connect, self._on_event, 10)
        return self

    def _on_event(self, event: Json) -> None:
        self.events.append(event)
        self.changed.set()

    def _on_shutdown(self) -> None:
        self.shutdowns += 1

    async def create(self, args: list[str], name: str = "c", terminal: bool = False, **members: Any) -> dict[str, int]:
        names = ("stdin", "stdout") if terminal else ("stdin", "stdout", "stderr")
        streams = {stream: self.agent.new_stream() for stream in names}
        process = {"args": args, "cwd": "/srv", "env": ["A=1", "B=two"], "terminal": terminal}
        config = {"hostname": "box", "process": process}
        await self.agent.request("container.create", {"container": name, "config": config, **streams, **members})
        return streams

    async def run(self, *args: str, **members: Any) -> tuple[bytes, bytes, Json]:
        """stdout, stderr and the exit of a container."""
        streams = await self.create(list(args), **members)
        await self.agent.request("container.start", {"container": "c"})
        out = await self.read(streams["stdout"])
        error = await self.read(streams["stderr"]) if "stderr" in streams else b""
        return out, error, await self.exit()

    async def read(self, stream: int) -> bytes:
        output, found = self.agent.output(stream), b""
        while data := await output.read():
            found += data
            output.acknowledge(output.position)
        output.acknowledge(output.position + 1)
        return found

    async def exit(self, process: str = "init") -> Json:
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if event["event"] == "process.exited" and event["process"] == process:
                        return event
                self.changed.clear()
                await self.changed.wait()

    async def status(self) -> str:
        state = await self.agent.request("state")
        found: str = state["containers"][0]["status"]
        return found


@pytest.mark.parametrize(
    ("args", "out", "code"),
    [
        (["true"], b"", 0),
        (["/bin/false"], b"", 1),
        (["echo", "hello", "world"], b"hello world\n", 0),
        (["env"], b"A=1\nB=two\n", 0),
        (["pwd"], b"/srv\n", 0),
        (["hostname"], b"box\n", 0),
        (["tty"], b"not a tty\n", 1),
        (["sleep", "0.01"], b"", 0),
        (["sh", "-c", "exit 42"], b"", 42),
        (["sh", "-c", "echo a; sleep 0.01; echo b && exit 3"], b"a\nb\n", 3),
        (["sh", "-c", "false"], b"", 1),
        (["sh", "-c", "exec echo inner"], b"inner\n", 0),
        (["sh", "-c", "echo 'kept > quoted' > /tmp/f; cat /tmp/f"], b"kept > quoted\n", 0),
        (["cat", "/etc/hosts"], b"127.0.0.1 localhost\n", 0),
        (["cat", "/none"], b"", 1),
        (["sh", "-c", "nosuch"], b"", 127),
    ],
)
async def test_a_program_prints_and_ends_as_its_namesake(args: list[str], out: bytes, code: int) -> None:
    vm = await Vm().connect()
    hosts = {"path": "/etc/hosts", "data": base64.b64encode(b"127.0.0.1 localhost\n").decode()}
    found, _, ending = await vm.run(*args, files=[hosts])
    assert (found, ending["code"], ending["signal"]) == (out, code, 0)
    await vm.agent.close()


async def test_standard_error_is_a_stream_of_its_own() -> None:
    vm = await Vm().connect()
    out, error, _ = await vm.run("sh", "-c", "echo out; echo err >&2")
    assert (out, error) == (b"out\n", b"err\n")
    await vm.agent.close()


async def test_a_shell_reads_commands_from_its_input() -> None:
    vm = await Vm().connect()
    streams = await vm.create(["sh"])
    await vm.agent.request("container.start", {"container": "c"})
    entry = vm.agent.input(streams["stdin"])
    await entry.write(b"echo one\necho t")
    await entry.write(b"wo\nexit 5\n")
    assert await vm.read(streams["stdout"]) == b"one\ntwo\n"
    assert (await vm.exit())["code"] == 5
    await vm.agent.close()


async def test_a_terminal_returns_the_carriage_and_knows_its_size() -> None:
    vm = await Vm().connect()
    out, _, _ = await vm.run("sh", "-c", "tty; stty size", terminal=True, rows=50, columns=132)
    assert out == b"/dev/pts/0\r\n50 132\r\n"
    await vm.agent.close()


async def test_a_resized_terminal_knows_its_new_size() -> None:
    vm = await Vm().connect()
    streams = await vm.create(["sh"], terminal=True)
    await vm.agent.request("container.start", {"container": "c"})
    size = {"container": "c", "process": "init", "rows": 7, "columns": 9}
    await vm.agent.request("process.resize", size)
    await vm.agent.input(streams["stdin"]).write(b"stty size\n\x04")
    assert await vm.read(streams["stdout"]) == b"7 9\r\n"
    await vm.agent.close()


async def test_control_c_on_a_terminal_interrupts() -> None:
    vm = await Vm().connect()
    streams = await vm.create(["cat"], terminal=True)
    await vm.agent.request("container.start", {"container": "c"})
    await vm.agent.input(streams["stdin"]).write(b"\x03")
    assert (await vm.exit())["code"] == 130
    await vm.agent.close()


@pytest.mark.parametrize(("signal", "code"), [(15, 143), (9, 137), (2, 130), (10, 138)])
async def test_a_signal_ends_a_program_with_128_more(signal: int, code: int) -> None:
    vm = await Vm().connect()
    await vm.create(["sleep", "infinity"])
    await vm.agent.request("container.start", {"container": "c"})
    await vm.agent.request("process.signal", {"container": "c", "process": "init", "signal": signal})
    ending = await vm.exit()
    assert (ending["code"], ending["signal"], ending["oom"]) == (code, signal, False)
    assert await vm.status() == "stopped"
    await vm.agent.close()


async def test_a_stubborn_program_ends_by_sigkill_alone() -> None:
    vm = await Vm().connect()
    await vm.create(["stubborn"])
    await vm.agent.request("container.start", {"container": "c"})
    signal = {"container": "c", "process": "init"}
    for number in (15, 2, 1, 28):
        await vm.agent.request("process.signal", {**signal, "signal": number})
    assert await vm.status() == "running"
    await vm.agent.request("process.signal", {**signal, "signal": 9})
    assert (await vm.exit())["code"] == 137
    await vm.agent.close()


async def test_a_signal_to_all_reaches_every_process() -> None:
    vm = await Vm().connect()
    await vm.create(["stubborn"])
    await vm.agent.request("container.start", {"container": "c"})
    spec = {"args": ["sleep", "infinity"]}
    await vm.agent.request("process.exec", {"container": "c", "process": "e1", "spec": spec})
    await vm.agent.request("process.signal", {"container": "c", "process": "init", "signal": 15, "all": True})
    assert (await vm.exit("e1"))["signal"] == 15
    assert await vm.status() == "running"
    await vm.agent.close()


async def test_running_out_of_memory_is_told_apart() -> None:
    vm = await Vm().connect()
    _, _, ending = await vm.run("oom")
    assert (ending["code"], ending["oom"]) == (137, True)
    assert {"event": "container.oom", "container": "c"} in vm.events
    stats = await vm.agent.request("container.stats", {"container": "c"})
    assert stats["memory"]["oom_kills"] == 1
    await vm.agent.close()


async def test_the_end_of_init_ends_the_others() -> None:
    vm = await Vm().connect()
    await vm.create(["sleep", "infinity"])
    await vm.agent.request("container.start", {"container": "c"})
    await vm.agent.request("process.exec", {"container": "c", "process": "e1", "spec": {"args": ["stubborn"]}})
    await vm.agent.request("process.signal", {"container": "c", "process": "init", "signal": 15})
    assert (await vm.exit("e1"))["code"] == 137
    await vm.agent.close()


async def test_exec_runs_beside_init_and_is_reaped() -> None:
    vm = await Vm().connect()
    await vm.create(["sleep", "infinity"])
    await vm.agent.request("container.start", {"container": "c"})
    stdout = vm.agent.new_stream()
    members = {"container": "c", "process": "e1", "spec": {"args": ["echo", "hi"]}, "stdout": stdout}
    await vm.agent.request("process.exec", members)
    assert await vm.read(stdout) == b"hi\n"
    assert (await vm.exit("e1"))["code"] == 0
    name = {"container": "c", "process": "e1"}
    await vm.agent.request("process.reap", name)
    with pytest.raises(NotFound):
        await vm.agent.request("process.reap", name)
    with pytest.raises(Conflict):
        await vm.agent.request("process.reap", {"container": "c", "process": "init"})
    await vm.agent.close()


@pytest.mark.parametrize(("program", "code"), [("nosuch", 127), ("./denied", 126)])
async def test_a_program_that_cannot_run_is_told_by_start_and_by_exec(program: str, code: int) -> None:
    vm = await Vm().connect()
    await vm.create([program])
    with pytest.raises(ExecFailed) as caught:
        await vm.agent.request("container.start", {"container": "c"})
    assert caught.value.exit_code == code
    await vm.create(["sleep", "infinity"], name="d")
    await vm.agent.request("container.start", {"container": "d"})
    with pytest.raises(ExecFailed) as caught:
        await vm.agent.request("process.exec", {"container": "d", "process": "e", "spec": {"args": [program]}})
    assert caught.value.exit_code == code
    await vm.agent.close()


async def test_a_paused_container_stands_still() -> None:
    vm = await Vm().connect()
    streams = await vm.create(["sh", "-c", "sleep 0.01; echo done"])
    await vm.agent.request("container.start", {"container": "c"})
    await vm.agent.request("container.pause", {"container": "c"})
    await asyncio.sleep(0.05)
    assert await vm.status() == "paused"
    assert vm.events == []
    with pytest.raises(Conflict):
        await vm.agent.request("container.pause", {"container": "c"})
    await vm.agent.request("container.resume", {"container": "c"})
    assert await vm.read(streams["stdout"]) == b"done\n"
    await vm.agent.close()


async def test_a_paused_container_gets_its_signals_when_it_goes_on() -> None:
    vm = await Vm().connect()
    await vm.create(["sleep", "infinity"])
    await vm.agent.request("container.start", {"container": "c"})
    await vm.agent.request("container.pause", {"container": "c"})
    await vm.agent.request("process.signal", {"container": "c", "process": "init", "signal": 15})
    assert await vm.status() == "paused"
    await vm.agent.request("container.resume", {"container": "c"})
    assert (await vm.exit())["signal"] == 15
    await vm.agent.close()


async def test_output_that_nobody_takes_blocks_the_program_and_sigkill_still_works() -> None:
    vm = await Vm().connect()
    streams = await vm.create(["yes"])
    await vm.agent.request("container.start", {"container": "c"})
    await turns()
    state = await vm.agent.request("state")
    assert state["containers"][0]["processes"][0]["stdout"]["end"] == 256 * 1024
    output = vm.agent.output(streams["stdout"])
    total = 0
    while total < 1_000_000:
        data = await output.read()
        assert data.strip(b"y\n") == b""
        total += len(data)
        output.acknowledge(output.position)
    await vm.agent.request("process.signal", {"container": "c", "process": "init", "signal": 9})
    await vm.exit()
    await vm.agent.close()


async def test_states_and_names_are_checked_as_the_agent_does() -> None:
    vm = await Vm().connect()
    await vm.create(["sleep", "infinity"])
    with pytest.raises(Conflict):
        await vm.create(["true"])
    with pytest.raises(Conflict):
        await vm.agent.request("container.delete", {"container": "c"})
    with pytest.raises(NotFound):
        await vm.agent.request("container.start", {"container": "d"})
    with pytest.raises(InvalidArgument):
        await vm.agent.request("container.start", {"container": "a/b"})
    with pytest.raises(InvalidArgument):
        await vm.agent.request("container.create", {"container": "e"})
    with pytest.raises(Unsupported):
        await vm.agent.request("container.dance", {"container": "c"})
    await vm.agent.request("container.start", {"container": "c"})
    with pytest.raises(Conflict):
        await vm.agent.request("container.start", {"container": "c"})
    await vm.agent.request("container.delete", {"container": "c", "force": True})
    assert (await vm.agent.request("state"))["containers"] == []
    await vm.agent.close()


async def test_configure_makes_it_no_longer_fresh() -> None:
    vm = await Vm().connect()
    assert vm.agent.welcome.fresh
    assert vm.agent.welcome.boot_id == ""
    assert (await vm.agent.request("configure", {"hostname": "h"}))["boot_id"] == ""
    first = await vm.agent.request("configure", {"clock_ns": 10**18, "entropy": "AAAA"})
    assert len(first["boot_id"]) == 36
    assert (first["clock_ns"], first["hostname"]) == (10**18, "h")
    await vm.connect()
    assert not vm.agent.welcome.fresh
    assert vm.agent.welcome.boot_id == first["boot_id"]
    second = await vm.agent.request("configure", {"hostname": "i", "entropy": "BBBB"})
    assert (second["boot_id"], second["hostname"]) == (first["boot_id"], "i")
    assert second["random"] != first["random"]
    assert (await vm.agent.request("state"))["configured"]
    await vm.agent.close()


async def test_a_rehearsed_guest_is_still_nobody() -> None:
    vm = await Vm().connect()
    for number in range(2):
        answer = await vm.agent.request(
            "configure", {"hostname": f"h{number}", "clock_ns": 10**18, "entropy": "AAAA", "rehearsal": True}
        )
        assert (answer["boot_id"], answer["hostname"], answer["clock_ns"]) == ("", f"h{number}", 10**18)
        await vm.connect()
        assert vm.agent.welcome.fresh
        assert vm.agent.welcome.boot_id == ""
    first = await vm.agent.request("configure", {"entropy": "AAAA"})
    assert len(first["boot_id"]) == 36
    late = await vm.agent.request("configure", {"entropy": "AAAA", "rehearsal": True})
    assert late["boot_id"] == first["boot_id"]
    await vm.connect()
    assert not vm.agent.welcome.fresh
    await vm.agent.close()


async def test_a_fake_guest_can_pass_itself_off_as_another() -> None:
    vm = await Vm().connect()
    vm.guest.faults.replies["configure"] = {"random": "0" * 32}
    assert (await vm.agent.request("configure", {"hostname": "h"}))["random"] == "0" * 32
    await vm.agent.close()


async def test_stats_and_processes_have_what_the_protocol_names() -> None:
    vm = await Vm().connect()
    await vm.agent.request("configure", {"interfaces": [{"name": "eth0"}]})
    await vm.create(["sleep", "infinity"])
    await vm.agent.request("container.start", {"container": "c"})
    limits = {"memory": {"limit": 1 << 27}, "pids": {"limit": 50}}
    await vm.agent.request("container.update", {"container": "c", "resources": limits})
    stats = await vm.agent.request("container.stats", {"container": "c"})
    assert (stats["memory"]["limit"], stats["pids"]["limit"]) == (1 << 27, 50)
    assert stats["interfaces"][0]["name"] == "eth0"
    [row] = (await vm.agent.request("container.processes", {"container": "c"}))["processes"]
    assert (row["pid"], row["comm"], row["args"]) == (1, "sleep", ["sleep", "infinity"])
    await vm.agent.close()


def packed(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


async def put(agent: Client, path: str, archive: bytes, **members: Any) -> None:
    stream = agent.new_stream()
    entry = agent.input(stream)
    request = asyncio.create_task(
        agent.request("archive.put", {"container": "c", "path": path, "stream": stream, **members})
    )
    await entry.write(archive)
    await entry.close()
    await request


async def test_an_archive_goes_in_and_comes_out() -> None:
    vm = await Vm().connect()
    await vm.create(["true"])
    data = bytes(range(256)) * 4000
    await put(vm.agent, "/tmp", packed("d/file", data))
    stream = vm.agent.new_stream()
    output = vm.agent.output(stream)
    reply = await vm.agent.request("archive.get", {"container": "c", "path": "/tmp/d", "stream": stream})
    assert reply["stat"]["name"] == "d"
    found = b""
    while piece := await output.read():
        found += piece
        output.acknowledge(output.position)
    output.acknowledge(output.position + 1)
    with tarfile.open(fileobj=io.BytesIO(found)) as tar:
        assert tar.getnames() == ["d", "d/file"]
        member = tar.extractfile("d/file")
        assert member is not None
        assert member.read() == data
    stat = await vm.agent.request("archive.stat", {"container": "c", "path": "/tmp/d/file"})
    assert stat["stat"]["size"] == len(data)
    await vm.agent.close()


async def test_archives_that_cannot_be_are_refused_and_writers_do_not_hang() -> None:
    vm = await Vm().connect()
    await vm.create(["true"])
    with pytest.raises(NotFound):
        await vm.agent.request("archive.stat", {"container": "c", "path": "/none"})
    with pytest.raises(NotFound):
        await put(vm.agent, "/none", bytes(1_000_000))
    with pytest.raises(InvalidArgument):
        await put(vm.agent, "/tmp", b"x" * 100_000)
    with pytest.raises(Conflict):
        await put(vm.agent, "/", packed("tmp", b"x"), no_overwrite_dir_non_dir=True)
    await vm.agent.close()


async def test_shutdown_answers_and_then_ends_the_machine() -> None:
    vm = await Vm().connect()
    assert await vm.agent.request("shutdown", {"timeout_ms": 100}) == {}
    await asyncio.wait_for(vm.agent.closed.wait(), 10)
    assert (vm.shutdowns, vm.deaths, vm.guest.dead) == (1, [], True)
    with pytest.raises(OSError, match="dead"):
        await vm.guest.connect()


async def test_a_panic_takes_the_machine_with_it() -> None:
    vm = await Vm().connect()
    await vm.create(["panic"])
    with pytest.raises(VmFailed):
        await vm.agent.request("container.start", {"container": "c"})
    assert vm.deaths == ["guest-panic"]


async def test_faults_go_wrong_where_they_are_told_to() -> None:
    vm = await Vm().connect()
    faults = vm.guest.faults
    faults.errors["sync"] = ("no-space", "disk full")
    with pytest.raises(Exception, match="disk full"):
        await vm.agent.request("sync")
    faults.silent.add("ping")
    with pytest.raises(VmFailed, match="no answer"):
        await vm.agent.request("ping", timeout=0.01)
    faults.silent.clear()
    faults.drop_on.add("ping")
    with pytest.raises(VmFailed):
        await vm.agent.request("ping")
    await vm.connect()
    assert await vm.agent.request("ping") == {}
    faults.garbage["ping"] = b"\xff" * 40
    with pytest.raises(VmFailed, match="broke the protocol"):
        await vm.agent.request("ping")
    await vm.connect()
    faults.die_at = vm.guest.requests + 2
    faults.errors.clear()
    await vm.agent.request("sync")
    with pytest.raises(VmFailed):
        await vm.agent.request("sync")
    assert vm.deaths == ["hypervisor-killed"]


async def test_a_mute_guest_never_greets_and_a_slow_one_late() -> None:
    with pytest.raises(VmFailed):
        await connect(Vm(Faults(mute=True)).guest.connect, lambda event: None, 0.05)
    vm = await Vm(Faults(boot_delay=0.05)).connect()
    assert await vm.agent.request("ping") == {}
    await vm.agent.close()


async def test_it_serves_a_socket_as_well() -> None:
    host, other = socket.socketpair()
    guest = FakeGuest()
    serving = asyncio.create_task(guest.serve(*await asyncio.open_unix_connection(sock=other)))
    agent = await connect(lambda: asyncio.open_unix_connection(sock=host), lambda event: None, 10)
    assert await agent.request("ping") == {}
    await agent.close()
    await asyncio.wait_for(serving, 10)


async def test_five_thousand_idle_guests_need_no_task_each() -> None:
    vms = [Vm() for _ in range(5000)]
    for first in range(0, 5000, 500):
        await asyncio.gather(*(vm.connect() for vm in vms[first : first + 500]))
    before = len(asyncio.all_tasks())
    for vm in vms[:50]:
        await vm.create(["sleep", "infinity"])
        await vm.agent.request("container.start", {"container": "c"})
    assert len(asyncio.all_tasks()) == before == 1
    for vm in vms:
        vm.guest.die("test")
    await turns()
    assert all(vm.agent.closed.is_set() for vm in vms)
