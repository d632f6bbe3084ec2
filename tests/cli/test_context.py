# SPDX-License-Identifier: Apache-2.0
"""What `hypercell build` sends."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import click
import pytest

from hypercell.cli.context import Context, of_directory, of_stream
from tests.support.images import compress, tar


def members(context: Context) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(context.tar))) as archive:
        return {member.name: member for member in archive}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    (here / "a" / "deep").mkdir(parents=True)
    (here / "Dockerfile").write_text("FROM x")
    (here / "a" / "file").write_text("x" * 1000)
    (here / "a" / "deep" / "kept").write_text("")
    (here / "a" / "link").symlink_to("/etc/passwd")
    os.mkfifo(here / "pipe")
    return here


def test_a_directory_is_sent_as_it_is_without_owners_and_times_to_the_nanosecond(directory: Path) -> None:
    os.utime(directory / "a" / "file", ns=(0, 1_000_000_001))
    (directory / "a" / "file").chmod(0o4711)
    context = of_directory(directory, "", io.BytesIO())
    sent = members(context)
    assert (context.dockerfile, context.text) == ("Dockerfile", b"FROM x")
    assert list(sent) == ["Dockerfile", "a", "a/deep", "a/deep/kept", "a/file", "a/link", "pipe"]
    assert (sent["a/file"].mode, sent["a/file"].uid, sent["a/file"].size) == (0o4711, 0, 1000)
    assert sent["a/file"].pax_headers["mtime"] == "1.000000001"
    assert sent["a/link"].linkname == "/etc/passwd" and sent["pipe"].isfifo()


def test_what_is_excluded_stays_but_what_the_daemon_must_read(directory: Path) -> None:
    (directory / ".dockerignore").write_text("**\n!a/deep/kept\n")
    assert list(members(of_directory(directory, "", io.BytesIO()))) == [".dockerignore", "Dockerfile", "a/deep/kept"]
    (directory / "a" / "Other").write_text("FROM y")
    context = of_directory(directory, str(directory / "a" / "Other"), io.BytesIO())
    assert context.dockerfile == "a/Other"
    assert list(members(context)) == [".dockerignore", "a/Other", "a/deep/kept"]


def test_a_dockerfile_from_elsewhere_goes_along_under_a_name_of_its_own(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "Elsewhere").write_text("FROM z")
    for context in (
        of_directory(directory, str(tmp_path / "Elsewhere"), io.BytesIO()),
        of_directory(directory, "-", io.BytesIO(b"FROM z")),
    ):
        assert context.dockerfile.startswith(".dockerfile.") and context.text == b"FROM z"
        assert {context.dockerfile, "Dockerfile"} <= members(context).keys()


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_tar_from_stdin_is_sent_as_it_came(compression: str) -> None:
    data = compress(tar({"Dockerfile": b"FROM x"}), compression)
    context = of_stream(io.BytesIO(data), "sub/Dockerfile")
    assert (context.dockerfile, b"".join(context.tar)) == ("sub/Dockerfile", data)


def test_a_dockerfile_from_stdin_is_all_there_is() -> None:
    text = b"FROM x\n" * 200
    context = of_stream(io.BytesIO(text), "")
    assert context.text == text
    assert [member.size for member in members(context).values()] == [len(text)]


def test_a_file_that_changes_meanwhile_does_not_break_the_tar(directory: Path) -> None:
    sending = of_directory(directory, "", io.BytesIO()).tar
    first = next(sending)
    (directory / "a" / "file").write_text("short")
    (directory / "Dockerfile").write_text("")
    with tarfile.open(fileobj=io.BytesIO(first + b"".join(sending))) as archive:
        assert archive.getnames()[-1] == "pipe"


@pytest.mark.parametrize("words", [("nowhere", ""), (".", "nowhere")])
def test_what_is_not_there_is_said(words: tuple[str, str], directory: Path) -> None:
    with pytest.raises(click.ClickException, match="nowhere"):
        of_directory(directory / words[0], words[1], io.BytesIO())
