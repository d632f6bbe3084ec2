# SPDX-License-Identifier: Apache-2.0
"""Attach and exec: who reads what, who waits for whom."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from unittest.mock import Mock

import pytest

from hypercell.agent.fake import operations
from hypercell.agent.fake.members import GuestError
from hypercell.base.errors import Conflict, ExecFailed, NotFound
from hypercell.cloud.contract import Attachment, ExecRequest, LogQuery, Output
from hypercell.node.output import MAX_BEHIND
from tests.support.house import House, T, eventually, read, read_until
from tests.support.machine import COST


async def attach(home: House, ident: str, stdin: bool = True, **more: bool) -> Attachment:
    attachment = await home.containers.attach(T, ident, stdin, True, True, **more)
    assert attachment is not None
    return attachment  # type: ignore[no-any-return]


class TestAttach:
    async def test_input_written_before_the_start_arrives(self, home: House) -> None:
        ident = await home.create("cat", open_stdin=True, stdin_once=True)
        attachment = await attach(home, ident)
        writing = asyncio.ensure_future(attachment.write(b"early\n"))
        await home.containers.start(T, ident)
        await writing
        await attachment.close_stdin()
        assert await read(attachment.output()) == b"early\n"
        assert await home.wait(ident) == 0

    async def test_the_first_clients_end_is_the_end_of_input_only_if_it_was_asked_for(self, home: House) -> None:
        ident = await home.run("cat", open_stdin=True)
        first = await attach(home, ident)
        await first.write(b"one\n")
        await read_until(first.output(), b"one\n")
        await first.detach()
        second = await attach(home, ident)
        await second.write(b"two\n")
        assert await read_until(second.output(), b"two\n") == b"two\n"

    async def test_all_clients_get_everything(self, home: House) -> None:
        ident = await home.create("sh", "-c", "; ".join(f"echo {n}" for n in range(500)))
        clients = [await attach(home, ident, stdin=False) for _ in range(5)]
        reading = [asyncio.ensure_future(read(client.output())) for client in clients]
        await home.containers.start(T, ident)
        expected = b"".join(b"%d\n" % n for n in range(500))
        assert await asyncio.gather(*reading) == [expected] * 5

    async def test_the_streams_that_were_not_asked_for_do_not_come(self, home: House) -> None:
        ident = await home.create("sh", "-c", "echo out; echo err >&2")
        attachment = await home.containers.attach(T, ident, False, False, True)
        await home.containers.start(T, ident)
        assert [item async for item in attachment.output()] == [(Output.STDERR, b"err\n")]

    async def test_unfinished_lines_reach_the_client_at_once(self, home: House) -> None:
        ident = await home.run("cat", open_stdin=True)
        attachment = await attach(home, ident)
        await attachment.write(b"prompt> ")
        assert await read_until(attachment.output(), b"prompt> ") == b"prompt> "
        assert await home.output(ident) == b""  # the log waits for the line's end

    async def test_a_client_that_does_not_read_holds_up_nobody_and_misses_nothing(self, home: House) -> None:
        ident = await home.create("cat", open_stdin=True, stdin_once=True)
        slow, quick = await attach(home, ident, stdin=False), await attach(home, ident)
        reading = asyncio.ensure_future(read(quick.output()))
        await home.containers.start(T, ident)
        block = b"".join(b"%07d\n" % number for number in range(8192))
        for _ in range(4 * MAX_BEHIND // len(block)):
            await quick.write(block)
        await quick.write(b"the last line has no end")
        await quick.close_stdin()
        everything = await asyncio.wait_for(reading, 20)
        assert len(everything) > 4 * MAX_BEHIND - len(block)
        assert slow._tap._queued <= MAX_BEHIND  # type: ignore[attr-defined]
        assert await asyncio.wait_for(read(slow.output()), 20) == everything
        assert await home.output(ident) == everything

    async def test_a_slow_client_catches_up_and_joins_the_live_flow(self, home: House) -> None:
        ident = await home.run("cat", open_stdin=True)
        slow, quick = await attach(home, ident, stdin=False), await attach(home, ident)
        reading = asyncio.ensure_future(read_until(quick.output(), b"end of the flood"))
        block = b"z" * 65535 + b"\n"
        for _ in range(40):
            await quick.write(block)
        await quick.write(b"end of the flood")  # an unfinished line, which the log does not have
        await reading
        output = slow.output()
        assert await read_until(output, b"end of the flood") == block * 40 + b"end of the flood"
        await quick.write(b" and more\n")
        again = await attach(home, ident, stdin=False, logs=True)
        assert await read_until(again.output(), b"and more\n") == block * 40 + b"end of the flood and more\n"

    async def test_logs_then_live_without_a_gap_or_a_double(self, home: House) -> None:
        ident = await home.run("cat", open_stdin=True)
        writer = await attach(home, ident)
        await writer.write(b"one\ntwo\nthr")
        await read_until(writer.output(), b"thr")
        late = await attach(home, ident, stdin=False, logs=True)
        await writer.write(b"ee\n")
        assert await read_until(late.output(), b"three\n") == b"one\ntwo\nthree\n"
        past = await attach(home, ident, stdin=False, logs=True, stream=False)
        assert await read(past.output()) == b"one\ntwo\nthree\n"

    async def test_a_detached_client_hears_no_more_and_the_container_goes_on(self, home: House) -> None:
        ident = await home.run("sleep", "infinity", tty=True, open_stdin=True)
        attachment = await attach(home, ident)
        reading = asyncio.ensure_future(read(attachment.output()))
        await asyncio.sleep(0)
        await attachment.detach()
        assert await asyncio.wait_for(reading, 5) == b""
        assert (await home.view(ident)).state.status == "running"

    async def test_a_lost_connection_to_the_guest_loses_no_byte(self, home: House) -> None:
        ident = await home.run("cat", open_stdin=True)
        attachment = await attach(home, ident)
        output = attachment.output()
        await attachment.write(b"before\nhalf a ")
        assert await read_until(output, b"half a ") == b"before\nhalf a "
        agent = home.node.get(ident).pod.agent
        home.machine.guest(ident).drop()

        async def back() -> bool:
            now = home.node.get(ident).pod.agent
            return now is not agent and now is not None

        await eventually(back)
        follower = await attach(home, ident)
        await follower.write(b"line\nafter\n")
        assert await read_until(follower.output(), b"after\n") == b"line\nafter\n"
        await home.writes(ident, b"before\nhalf a line\nafter\n")

    async def test_a_paused_container_cannot_be_attached_to(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        await home.containers.pause(T, ident)
        with pytest.raises(Conflict, match="paused"):
            await attach(home, ident)

    async def test_a_failed_start_ends_its_clients(self, home: House) -> None:
        ident = await home.create("nothere", open_stdin=True)
        attachment = await attach(home, ident)
        writing = asyncio.ensure_future(attachment.write(b"x"))
        with pytest.raises(ExecFailed):
            await home.containers.start(T, ident)
        assert await asyncio.wait_for(read(attachment.output()), 5) == b""
        await asyncio.wait_for(writing, 5)

    async def test_logs_follow_to_the_end_of_the_run(self, home: House) -> None:
        ident = await home.run("sh", "-c", "echo a; sleep 0.1; echo b")
        assert await asyncio.wait_for(home.output(ident, follow=True), 10) == b"a\nb\n"

    async def test_a_log_reader_that_stops_reading_holds_up_nobody(self, home: House) -> None:
        ident = await home.run("sh", "-c", "; ".join(f"echo {n}" for n in range(2000)))
        reader = home.containers.logs(T, ident, LogQuery(follow=True))
        assert (await anext(reader)).data == b"0\n"
        assert await home.wait(ident) == 0


class TestExec:
    async def exec(self, home: House, ident: str, *args: str, **request: object) -> str:
        made = await home.containers.exec_create(T, ident, ExecRequest(args, **request))  # type: ignore[arg-type]
        return str(made)

    async def test_it_runs_beside_and_its_exit_code_is_known(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "sh", "-c", "echo out; echo err >&2; exit 5")
        attachment = await home.containers.exec_start(T, exec_id, detach=False)
        items = [item async for item in attachment.output()]
        assert sorted(items) == [(Output.STDOUT, b"out\n"), (Output.STDERR, b"err\n")]
        view = await home.containers.exec_inspect(T, exec_id)
        assert view.exit_code == 5 and not view.running and view.pid > 0
        assert home.attributes(ident, "exec_die")["exitCode"] == "5"
        assert await home.output(ident) == b""

    async def test_input_has_an_end(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "cat", attach_stdin=True)
        attachment = await home.containers.exec_start(T, exec_id, detach=False)
        await attachment.write(b"to and fro")
        await attachment.close_stdin()
        assert await read(attachment.output()) == b"to and fro"

    async def test_a_slow_client_slows_only_its_exec(self, home: House) -> None:
        ident = await home.run("cat", open_stdin=True)
        exec_id = await self.exec(home, ident, "yes")
        attachment = await home.containers.exec_start(T, exec_id, detach=False)
        other = await attach(home, ident)
        await other.write(b"still here\n")
        assert await read_until(other.output(), b"here\n") == b"still here\n"
        output = attachment.output()
        total = 0
        async for _, data in output:
            total += len(data)
            if total > 4 * MAX_BEHIND:
                break
        await attachment.detach()

    async def test_detached_it_is_not_waited_for(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "sh", "-c", "echo unheard; exit 3")
        assert await home.containers.exec_start(T, exec_id, detach=True) is None

        async def ended() -> bool:
            return (await home.containers.exec_inspect(T, exec_id)).exit_code == 3

        await eventually(ended)

    @pytest.mark.parametrize(("program", "code"), [("nothere", 127), ("denied", 126)])
    async def test_a_program_that_cannot_run_says_so(self, home: House, program: str, code: int) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, program)
        with pytest.raises(ExecFailed) as caught:
            await home.containers.exec_start(T, exec_id, detach=False)
        assert caught.value.exit_code == code
        assert (await home.containers.exec_inspect(T, exec_id)).exit_code == code

    @pytest.mark.parametrize(
        ("error", "code", "words"),
        [
            (GuestError("invalid", "unable to find user x: no matching entries in passwd file"), 126, "find user x"),
            (GuestError("invalid", "unable to find group x: no matching entries in group file"), 126, "find group x"),
            (GuestError("exec-not-found", 'chdir to cwd ("/x") failed: No such file or directory'), 127, "no such"),
            (GuestError("exec-denied", 'chdir to cwd ("/x") failed: Permission denied'), 126, "permission denied"),
        ],
    )
    async def test_a_user_a_group_or_a_directory_that_is_not_there_is_told_as_that(
        self, home: House, monkeypatch: pytest.MonkeyPatch, error: GuestError, code: int, words: str
    ) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "true")
        monkeypatch.setattr(operations, "find_program", Mock(side_effect=error))
        with pytest.raises(ExecFailed, match=words) as caught:
            await home.containers.exec_start(T, exec_id, detach=False)
        assert caught.value.exit_code == code
        assert "program" not in str(caught.value) and "PATH" not in str(caught.value)
        assert ("working directory" in caught.value.hint) == ("chdir" in caught.value.message)
        assert (await home.containers.exec_inspect(T, exec_id)).exit_code == code

    async def test_it_inherits_and_overrides(self, home: House) -> None:
        ident = await home.run("sleep", "infinity", env=("A=1", "B=2"))
        exec_id = await self.exec(home, ident, "env", env=("B=3",), tty=True)
        attachment = await home.containers.exec_start(T, exec_id, detach=False)
        lines = (await read(attachment.output())).decode().split("\r\n")
        assert {"A=1", "B=3", "TERM=xterm"} <= set(lines) and "B=2" not in lines

    async def test_its_terminal_has_the_clients_size(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "stty", tty=True, console_size=(44, 99))
        attachment = await home.containers.exec_start(T, exec_id, detach=False)
        assert await read(attachment.output()) == b"44 99\r\n"

    async def test_it_is_started_once(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "true")
        await home.containers.exec_start(T, exec_id, detach=True)
        with pytest.raises(Conflict, match="already been started"):
            await home.containers.exec_start(T, exec_id, detach=True)

    async def test_it_needs_a_running_container(self, home: House) -> None:
        ident = await home.create("true")
        with pytest.raises(Conflict, match="is not running"):
            await self.exec(home, ident, "true")
        with pytest.raises(NotFound, match="No such exec instance"):
            await home.containers.exec_inspect(T, "f" * 64)

    async def test_it_ends_with_its_container(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "sleep", "infinity")
        attachment = await home.containers.exec_start(T, exec_id, detach=False)
        await home.containers.kill(T, ident)
        assert await asyncio.wait_for(read(attachment.output()), 5) == b""
        view = await home.containers.exec_inspect(T, exec_id)
        assert view.exit_code == 137 and not view.running

    async def test_one_that_runs_on_is_found_by_the_next_daemon(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await self.exec(home, ident, "sleep", "infinity")
        await home.containers.exec_start(T, exec_id, detach=True)
        await home.reopen()
        assert (await home.containers.exec_inspect(T, exec_id)).running
        assert exec_id in (await home.view(ident)).exec_ids
        home.machine.guest(ident).containers[ident].processes[exec_id].exit(9)

        async def ended() -> bool:
            return (await home.containers.exec_inspect(T, exec_id)).exit_code == 9

        await eventually(ended)


async def test_files_go_in_and_come_out(home: House) -> None:
    import io
    import tarfile

    ident = await home.run("sleep", "infinity")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("note")
        member.size = 200_000
        tar.addfile(member, io.BytesIO(b"n" * 200_000))

    async def body() -> object:
        raw = packed.getvalue()
        for at in range(0, len(raw), 10_000):
            yield raw[at : at + 10_000]

    await home.containers.archive_put(T, ident, "/", body())
    stat = await home.containers.archive_stat(T, ident, "/note")
    assert stat["size"] == 200_000
    _, stream = await home.containers.archive_get(T, ident, "/note")
    out = io.BytesIO(b"".join([chunk async for chunk in stream]))
    with tarfile.open(fileobj=out) as tar:
        assert tar.extractfile("note").read() == b"n" * 200_000  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        await home.containers.archive_stat(T, ident, "/nothing")


async def test_top_and_stats_speak_of_the_guest_and_of_the_host(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    (row,) = await home.containers.top(T, ident)
    assert row["args"] == ["sleep", "infinity"] and row["started_ns"] > 0 and row["cpu_seconds"] >= 0
    stats = await home.containers.stats(T, ident)
    assert stats["host"] == asdict(COST) and "memory" in stats
    await home.containers.stop(T, ident)
    assert await home.containers.stats(T, ident) == {}
    with pytest.raises(Conflict, match="is not running"):
        await home.containers.top(T, ident)
