# SPDX-License-Identifier: Apache-2.0
"""`hypercell volume`, at a daemon whose guests are fake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.talk import archive
from tests.support.daemon import Daemon, running
from tests.support.images import busybox


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("volume")
    with running(directory / "d", driver="fake") as started:
        image = directory / "image.tar"
        image.write_bytes(archive(busybox(), "box:1"))
        started.hypercell("load", "-i", str(image))
        yield started


def said(daemon: Daemon, *words: str) -> str:
    return daemon.hypercell(*words).stdout


def test_volumes_are_made_listed_shown_and_removed(daemon: Daemon) -> None:
    assert said(daemon, "volume", "create", "--label", "role=db", "-o", "size=64m", "data") == "data\n"
    unnamed = said(daemon, "volume", "create").strip()
    assert len(unnamed) == 64
    assert said(daemon, "volume", "ls").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME"]
    assert sorted(said(daemon, "volume", "ls", "-q").split()) == sorted(["data", unnamed])
    assert said(daemon, "volume", "ls", "-q", "--filter", "label=role=db") == "data\n"
    (line,) = said(daemon, "volume", "ls", "--format", "json", "-f", "name=data").splitlines()
    row = json.loads(line)
    assert (row["Name"], row["Driver"], row["Labels"], row["Scope"]) == ("data", "local", "role=db", "local")
    (shown,) = json.loads(said(daemon, "volume", "inspect", "data"))
    assert (shown["Name"], shown["Options"]) == ("data", {"size": "64m"})
    assert json.loads(said(daemon, "inspect", "data")) == [shown]
    assert said(daemon, "volume", "inspect", "-f", "{{.Scope}}", "data") == "local\n"
    assert said(daemon, "volume", "rm", "data", unnamed) == f"data\n{unnamed}\n"
    missing = daemon.hypercell("volume", "inspect", "data", check=False)
    assert (missing.returncode, missing.stdout) == (1, "[]\n") and "get data: no such volume" in missing.stderr
    assert daemon.hypercell("volume", "rm", "data", check=False).returncode == 1
    assert said(daemon, "volume", "rm", "-f", "data") == "data\n"


def test_containers_get_them_and_give_them_back(daemon: Daemon) -> None:
    said(daemon, "create", "--name", "one", "-v", "/own", "-v", "data:/data", "box:1", "true")
    said(
        daemon, "create", "--name", "two", "--volumes-from", "one:ro", "--mount", "src=more,dst=/more", "box:1", "true"
    )
    mounts = json.loads(said(daemon, "inspect", "-f", "{{json .Mounts}}", "two"))
    assert [(mount["Destination"], mount["RW"]) for mount in mounts] == [
        ("/data", False),
        ("/more", True),
        ("/own", False),
    ]
    refused = daemon.hypercell("volume", "rm", "data", check=False)
    assert refused.returncode == 1 and "volume is in use" in refused.stderr
    said(daemon, "rm", "-v", "one", "two")
    assert said(daemon, "volume", "ls", "-q").split() == ["data", "more"]
    unnamed = said(daemon, "volume", "create").strip()
    assert said(daemon, "volume", "prune", "-f") == f"Deleted Volumes:\n{unnamed}\n\nTotal reclaimed space: 0B\n"
    unnamed = said(daemon, "volume", "create").strip()
    assert "Local Volumes" in said(daemon, "system", "df")
    assert f"Deleted Volumes:\n{unnamed}\n" in said(daemon, "system", "prune", "-f", "--volumes")
    assert said(daemon, "volume", "prune", "-a", "-f").startswith("Deleted Volumes:\ndata\nmore\n")
    assert said(daemon, "volume", "prune", "-a", "-f") == "Total reclaimed space: 0B\n"


def test_a_directory_of_ours_is_asked_for_in_both_spellings(daemon: Daemon, tmp_path: Path) -> None:
    for words in (("-v", f"{tmp_path}:/x"), ("--mount", f"type=bind,src={tmp_path},dst=/x")):
        ident = said(daemon, "create", *words, "box:1", "true").strip()
        (mount,) = json.loads(said(daemon, "inspect", "-f", "{{json .Mounts}}", ident))
        assert (mount["Type"], mount["Source"], mount["Destination"]) == ("bind", str(tmp_path), "/x")
        said(daemon, "rm", ident)
