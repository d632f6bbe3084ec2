# SPDX-License-Identifier: Apache-2.0
"""`build_root`: a child that can reach nothing, an output that is complete or absent, errors that say what is wrong."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hypercell.base.errors import Internal, NoSpace, NotFound
from hypercell.images.layers import (
    PARTIAL,
    DigestMismatch,
    LayerError,
    LayerSource,
    LimitExceeded,
    Limits,
    MalformedArchive,
    build_root,
    chain_id,
    output,
    process,
)
from tests.images.layers.conftest import digest
from tests.images.layers.erofs_image import ErofsImage
from tests.images.layers.tarballs import archive, directory, file, link, symlink


def source(tmp_path: Path, layer: bytes, diff_id: str = "") -> LayerSource:
    name = digest(layer).removeprefix("sha256:")
    (tmp_path / "blobs").mkdir(exist_ok=True)
    (tmp_path / "blobs" / name).write_bytes(gzip.compress(layer))
    return LayerSource(tmp_path / "blobs" / name, diff_id or digest(layer))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    path = tmp_path / "roots"
    path.mkdir()
    return path


async def test_layers_become_one_read_only_file(tmp_path: Path, roots: Path) -> None:
    layers = [archive(file(b"a", b"x" * 5000)), archive(file(b"b", b"y"))]
    sources = [source(tmp_path, layer) for layer in layers]
    told: list[tuple[int, int]] = []
    stats = await build_root(sources, roots / "root", progress=lambda *step: told.append(step))
    image = ErofsImage(roots / "root")
    assert set(image.tree()) == {b".", b"a", b"b"}
    assert stat.S_IMODE((roots / "root").stat().st_mode) == 0o444
    assert stats.chain_id == chain_id([s.diff_id for s in sources]) != sources[1].diff_id
    assert (stats.inodes, stats.content_bytes, stats.layer_bytes) == (3, 5001, tuple(map(len, layers)))
    assert stats.image_bytes == (roots / "root").stat().st_size and stats.disk_bytes > 0
    assert told == [(i, s.blob.stat().st_size) for i, s in enumerate(sources)]
    assert names(roots) == ["root"]


async def test_a_layers_size_is_that_of_what_it_brings(tmp_path: Path, roots: Path) -> None:
    first = archive(file(b"a", b"x" * 5000), file(b"a", b"x" * 700), symlink(b"s", b"target"), link(b"h", b"a"))
    second = archive(file(b".wh.a"), file(b"b", b"y" * 30), directory(b"d"))
    sources = [source(tmp_path, layer) for layer in (first, second, archive())]
    stats = await build_root(sources, roots / "root")
    assert stats.layer_content_bytes == (706, 30, 0)
    assert stats.content_bytes == 730


async def test_an_output_that_exists_is_replaced_whole(tmp_path: Path, roots: Path) -> None:
    (roots / "root").write_bytes(b"stale")
    layers = [source(tmp_path, archive(file(b"a")))]
    await asyncio.gather(*(build_root(layers, roots / "root") for _ in range(3)))
    assert set(ErofsImage(roots / "root").tree()) == {b".", b"a"} and names(roots) == ["root"]


async def test_a_layer_that_is_not_the_one_named_is_refused(tmp_path: Path, roots: Path) -> None:
    wrong = source(tmp_path, archive(file(b"a")), diff_id=digest(b"another"))
    with pytest.raises(DigestMismatch, match="layer 2") as caught:
        await build_root([source(tmp_path, archive()), wrong], roots / "root")
    assert caught.value.layer == 1 and names(roots) == []


async def test_bytes_behind_the_archives_end_count_for_its_digest(tmp_path: Path, roots: Path) -> None:
    layer = archive(file(b"a")) + b"more" * 100_000
    await build_root([source(tmp_path, layer)], roots / "root")
    with pytest.raises(DigestMismatch):
        await build_root([source(tmp_path, layer + b"!", digest(layer))], roots / "root")


async def test_errors_keep_their_kind_layer_member_and_hint(tmp_path: Path, roots: Path) -> None:
    bad = source(tmp_path, archive(symlink(b"e\x1b[2J", b"/tmp"), file(b"e\x1b[2J/x")))
    with pytest.raises(MalformedArchive) as caught:
        await build_root([bad], roots / "root")
    assert (caught.value.layer, caught.value.member) == (0, b"e\x1b[2J/x")
    assert str(caught.value).isprintable() and caught.value.hint and caught.value.status == 400
    with pytest.raises(LimitExceeded, match="more than 1 files"):
        await build_root([source(tmp_path, archive(file(b"a")))], roots / "root", Limits(inodes=1))
    with pytest.raises(LayerError, match="diff id"):
        await build_root([LayerSource(tmp_path, "sha512:x")], roots / "root")
    assert names(roots) == []


async def test_a_missing_blob_or_directory_is_told(tmp_path: Path, roots: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        await build_root([LayerSource(tmp_path / "gone", digest(b""))], roots / "root")
    with pytest.raises(NotFound):
        await build_root([source(tmp_path, archive())], tmp_path / "nowhere" / "root")


@pytest.mark.root
async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, roots: Path) -> None:
    layer = source(tmp_path, archive(*(file(b"%d" % i, os.urandom(100_000)) for i in range(30))))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", roots], check=True)
    try:
        with pytest.raises(NoSpace):
            await build_root([layer], roots / "root")
        assert names(roots) == [] and os.statvfs(roots).f_bfree * 4096 > 900_000
    finally:
        subprocess.run(["umount", roots], check=True)


async def test_a_cancelled_build_ends_its_child_and_leaves_nothing(tmp_path: Path, roots: Path) -> None:
    started = asyncio.Event()
    layers = [source(tmp_path, archive(file(b"%d" % i, os.urandom(3_000_000)))) for i in range(20)]
    building = asyncio.create_task(build_root(layers, roots / "root", progress=lambda *_: started.set()))
    await started.wait()
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not any("images.layers.child" in Path(f"/proc/{pid}/cmdline").read_text() for pid in children)
    assert names(roots) == []


async def test_a_child_that_dies_is_told_and_leaves_nothing(
    tmp_path: Path, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CHILD", ("-c", "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(Internal, match="status -9"):
        await build_root([source(tmp_path, archive())], roots / "root")
    monkeypatch.setattr(process, "CHILD", ("-c", f"import os; os.kill(os.getpid(), {signal.SIGXCPU})"))
    with pytest.raises(LimitExceeded, match="takes longer"):
        await build_root([source(tmp_path, archive())], roots / "root")
    assert names(roots) == []


@pytest.mark.parametrize(
    "words",
    [
        b"not json\n",
        b"[]\n",
        b'{"progress": 7}\n',
        b'{"progress": [1, "x"]}\n',
        b'{"stats": {}}\n',
        b'{"stats": 1}\n',
        b'{"error": {"kind": "LimitExceeded"}}\n',
        b'{"error": {"kind": "MalformedArchive", "message": "", "member": "zz", "layer": 0}}\n',
        b'{"error": "x"}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 1_000_000 + b"\n",
        b'{"no": "newline"}',
    ],
)
async def test_a_child_that_was_taken_over_is_not_believed(
    tmp_path: Path, roots: Path, monkeypatch: pytest.MonkeyPatch, words: bytes
) -> None:
    (tmp_path / "words").write_bytes(words)
    program = f"import os; os.write(1, open({str(tmp_path / 'words')!r}, 'rb').read())"
    monkeypatch.setattr(process, "CHILD", ("-c", program))
    with pytest.raises(Internal):
        await build_root([source(tmp_path, archive())], roots / "root")
    assert names(roots) == []


async def test_where_files_need_names_the_temporary_one_is_recognisable(
    tmp_path: Path, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = os.open, []

    def without_tmpfile(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE")
        seen.append(os.fspath(path))
        return real(path, flags, mode)

    monkeypatch.setattr(output.os, "open", without_tmpfile)
    await build_root([source(tmp_path, archive(file(b"a")))], roots / "root")
    assert any(name.endswith(PARTIAL) for name in seen) and names(roots) == ["root"]
    with pytest.raises(LimitExceeded):
        await build_root([source(tmp_path, archive(file(b"a")))], roots / "root", Limits(inodes=1))
    assert names(roots) == ["root"]


def in_sandbox(program: str) -> list[str]:
    """Run a program after `sandbox.enter`; each step says what it met."""
    preamble = """
        import hashlib, mmap, os, resource, signal, socket, subprocess, threading, zlib
        from hypercell.images.layers import sandbox
        passwd = os.open("/etc/passwd", os.O_RDONLY)
        output = os.memfd_create("output")
        def attempt(step):
            try:
                print(step(), flush=True)
            except Exception as error:
                print(type(error).__name__, flush=True)
        sandbox.enter(1 << 30, 60, 1 << 20)
    """
    code = textwrap.dedent(preamble) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_child_can_open_nothing_run_nothing_and_reach_nobody() -> None:
    met = in_sandbox(
        """
        attempt(lambda: os.open("/etc/passwd", os.O_RDONLY))
        attempt(lambda: os.open("/tmp/x", os.O_CREAT | os.O_WRONLY))
        attempt(lambda: os.mkdir("/tmp/x"))
        attempt(lambda: os.unlink("/etc/passwd"))
        attempt(lambda: os.symlink("/tmp", "/tmp/x"))
        attempt(lambda: os.listdir(passwd))
        attempt(lambda: os.fork())
        attempt(lambda: os.execv("/bin/true", ["true"]))
        attempt(lambda: socket.socket())
        attempt(lambda: os.kill(os.getppid(), 0))
        attempt(lambda: os.setuid(0))
        attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
        attempt(lambda: resource.setrlimit(resource.RLIMIT_CPU, (99, 99)))
        os._exit(0)
        """
    )
    assert met == ["PermissionError"] * 5 + ["NotADirectoryError"] + ["PermissionError"] * 6 + ["ValueError"]


def test_the_child_can_still_read_compute_and_use_threads() -> None:
    met = in_sandbox(
        """
        attempt(lambda: len(os.read(passwd, 10)))
        attempt(lambda: len(hashlib.sha256(zlib.compress(bytes(1 << 20))).digest()))
        done = []
        def work():
            done.append(1)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len(done), flush=True)
        os._exit(0)
        """
    )
    assert met == ["10", "32", "4"]


def test_the_child_has_bounded_memory_and_files() -> None:
    met = in_sandbox(
        """
        attempt(lambda: len(bytes(2 << 30)))
        attempt(lambda: os.ftruncate(output, 2 << 20))
        os._exit(0)
        """
    )
    assert met == ["MemoryError", "OSError"]


@pytest.mark.root
def test_the_child_is_nobody_for_good() -> None:
    code = (
        "import os; from hypercell.images.layers import sandbox; sandbox.enter(1 << 30, 60, 1 << 20);"
        "os.write(1, b'in'); os.read(0, 1); os._exit(0)"
    )
    command = [sys.executable, "-I", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.read(2) == b"in"
        lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        child.stdin.close()
    status = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"] == status["Gid"] == ["65534"] * 4 and status["Groups"] == []
    assert status["NoNewPrivs"] == ["1"] and status["Seccomp"] == ["2"] and int(status["CapEff"][0], 16) == 0


async def test_too_little_memory_is_told_as_a_limit(tmp_path: Path, roots: Path) -> None:
    layer = archive(*(file(b"%d" % i + b"n" * 200) for i in range(40_000)))
    with pytest.raises(LimitExceeded, match="memory"):
        await build_root([source(tmp_path, layer)], roots / "root", Limits(memory_bytes=56 << 20))
    assert names(roots) == []


def test_the_job_of_the_child_names_no_path(tmp_path: Path, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[dict[str, object]] = []

    async def keep(job: dict[str, object], *_: object) -> None:
        jobs.append(job)
        raise Internal("enough")

    monkeypatch.setattr(process, "run_child", keep)
    with pytest.raises(Internal):
        asyncio.run(build_root([source(tmp_path, archive())], roots / "root"))
    assert "/" not in json.dumps(jobs)
