# SPDX-License-Identifier: Apache-2.0
"""What is in volumes: what an image has there, what containers leave, what is copied in and out."""

from __future__ import annotations

from typing import Any

from tests.contract import read
from tests.contract.talk import Talk
from tests.support.images import tar

_TAR = {"Content-Type": "application/x-tar"}
_LOOK = "stat -c '%n %a %u %F' {0}; ls -A {0}"


def _said(talk: Talk, name: str, script: str, **options: Any) -> None:
    """What *script* writes in a container of that name; it stays."""
    talk.ran(name, "sh", "-c", f"{script} 2>&1", **options)
    talk.ask("GET", f"/containers/{name}/logs?stdout=1", reader=read.frames, title=f"{name} says")


def filled_from_the_image(talk: Talk) -> None:
    look = _LOOK.format("/bin | head -3; ls -A /bin | wc -l; ls -ld /root | cut -c-10; ls -A /root")
    _said(talk, "fills", look, host={"Binds": ["programs:/bin", "home:/root"]})
    _said(talk, "looks", _LOOK.format("/x") + "| wc -l", host={"Binds": ["programs:/x"]})
    _said(talk, "without", _LOOK.format("/root"), host={"Binds": ["empty:/root:nocopy"]})
    _said(talk, "nowhere", _LOOK.format("/new /new/place"), host={"Binds": ["other:/new/place"]})
    _said(talk, "fuller", "ls -A /root", host={"Binds": ["home:/root"]})


def kept(talk: Talk) -> None:
    bind = {"Binds": ["data:/data"]}
    _said(
        talk, "writes", "echo one >/data/f; mkdir /data/d; ln -s f /data/l; chmod 1777 /data; chown 7 /data", host=bind
    )
    talk.ask("DELETE", "/containers/writes")
    _said(talk, "reads", _LOOK.format("/data") + "; cat /data/l; umask; echo two >>/data/f", host=bind)
    _said(talk, "refuses", "cat /data/f; echo three >/data/f; touch /data/g", host={"Binds": ["data:/data:ro"]})


def nested(talk: Talk) -> None:
    binds = ["outer:/a", "inner:/a/b/c", "third:/a/b"]
    _said(talk, "writes", "echo 1 >/a/f; echo 2 >/a/b/f; echo 3 >/a/b/c/f", host={"Binds": binds})
    _said(talk, "looks", "cat /a/f /a/b/f /a/b/c/f; ls -A /a /a/b /a/b/c", host={"Binds": binds[::-1]})
    _said(talk, "alone", "ls -A /x; ls -A /x/b", host={"Binds": ["outer:/x"]})


def beside_a_tmpfs(talk: Talk) -> None:
    host = {"Binds": ["data:/data"], "Tmpfs": {"/data/memory": "size=65536", "/run": ""}}
    _said(talk, "both", "echo x >/data/memory/f; echo y >/data/f; ls -A /data /data/memory", host=host)
    _said(talk, "later", "ls -A /data /data/memory", host={"Binds": ["data:/data"]})


def copied(talk: Talk) -> None:
    talk.create("box", "sh", "-c", "cat /data/d/file", host={"Binds": ["data:/data", "fixed:/fixed:ro"]})
    bundle = tar({"d": None, "d/file": b"content"})
    talk.ask("PUT", "/containers/box/archive?path=/data", bundle, headers=_TAR)
    talk.ask("PUT", "/containers/box/archive?path=/fixed", bundle, headers=_TAR)
    talk.ask("GET", "/containers/box/archive?path=/data/d", reader=read.members)
    talk.ask("GET", "/containers/box/changes", reader=read.changes, title="changes before its start")
    talk.ask("POST", "/containers/box/start")
    talk.ask("POST", "/containers/box/wait")
    talk.ask("GET", "/containers/box/logs?stdout=1", reader=read.frames)
