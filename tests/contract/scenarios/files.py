# SPDX-License-Identifier: Apache-2.0
"""Files in and out of containers."""

from __future__ import annotations

from tests.contract import read
from tests.contract.talk import Talk
from tests.support.images import compress, tar

_TAR = {"Content-Type": "application/x-tar"}
_BUNDLE = tar({"d": None, "d/file": b"content", "d/link": "file"})


def put_and_read_back(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    talk.ask("PUT", "/containers/box/archive?path=/tmp", _BUNDLE, headers=_TAR)
    talk.ask("GET", "/containers/box/archive?path=/tmp/d", reader=read.members)
    talk.ask("GET", "/containers/box/archive?path=/tmp/d/file", reader=read.members)
    talk.ask("GET", "/containers/box/archive?path=/tmp/d/link", reader=read.members)
    talk.ask("GET", "/containers/box/archive?path=/tmp/d/.", reader=read.members)
    talk.ask("PUT", "/containers/box/archive?path=/tmp", compress(_BUNDLE, "gzip"), headers=_TAR, title="gzip")
    for path in ("/tmp/d", "/tmp/d/file", "/tmp/d/link", "tmp/d/file"):
        talk.ask("HEAD", f"/containers/box/archive?path={path}", reader=_stat)


def _stat(answer: read.Answer) -> object:
    found = read.path_stat(answer)
    if found is None:
        return None
    sizes = {} if found["mode"] & (1 << 31) else {"size": found["size"]}
    return {"name": found["name"], "mode": oct(found["mode"]), "linkTarget": found["linkTarget"], **sizes}


def refused(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    talk.ask("PUT", "/containers/box/archive?path=/tmp", _BUNDLE, headers=_TAR)
    for path in ("", "?path=", "?path=/nope", "?path=/tmp/d/file/x"):
        talk.ask("GET", f"/containers/box/archive{path}", reader=read.plain)
        talk.ask("HEAD", f"/containers/box/archive{path}", reader=_stat)
        talk.ask("PUT", f"/containers/box/archive{path}", _BUNDLE, headers=_TAR)
    talk.ask("PUT", "/containers/box/archive?path=/tmp/d/file", _BUNDLE, headers=_TAR)
    path = "/containers/box/archive?path=/tmp&noOverwriteDirNonDir=1"
    talk.ask("PUT", path, tar({"d": b"now a file"}), headers=_TAR)
    talk.ask("PUT", "/containers/box/archive?path=/tmp", b"no tar at all" * 100, headers=_TAR, title="no tar")


def into_what_is_read_only(talk: Talk) -> None:
    talk.run("box", "sleep", "60", host={"ReadonlyRootfs": True})
    talk.ask("PUT", "/containers/box/archive?path=/tmp", _BUNDLE, headers=_TAR)
