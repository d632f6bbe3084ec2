# SPDX-License-Identifier: Apache-2.0
"""Logs and attach: what is framed, what is not, and what ends a stream."""

from __future__ import annotations

from tests.contract import read
from tests.contract.talk import Talk

_BOTH = ("sh", "-c", "echo out; echo err >&2; echo more")


def logs_of_two_streams(talk: Talk) -> None:
    talk.ran("box", *_BOTH)
    for query in (
        "stdout=1&stderr=1",
        "stdout=1",
        "stderr=1",
        "stdout=1&timestamps=1",
        "stdout=1&since=1",
        "stdout=1&since=9999999999",
        "stdout=1&until=1",
        "stdout=1&follow=1",
    ):
        talk.ask("GET", f"/containers/box/logs?{query}", reader=read.frames)
    talk.ask("GET", "/containers/box/logs")
    talk.ask("GET", "/containers/box/logs?stdout=1&since=odd")


def the_tail_of_logs(talk: Talk) -> None:
    talk.ran("box", "sh", "-c", "echo one; echo two; echo three")
    for tail in ("1", "2", "0", "9", "all", "odd", "-1"):
        talk.ask("GET", f"/containers/box/logs?stdout=1&tail={tail}", reader=read.frames)


def logs_of_a_terminal(talk: Talk) -> None:
    talk.ran("box", "echo", "hello", Tty=True)
    talk.ask("GET", "/containers/box/logs?stdout=1&stderr=1", reader=read.raw)


def attached_before_the_start(talk: Talk) -> None:
    talk.create("box", *_BOTH)
    talk.ask("POST", "/containers/box/start")
    talk.ask("POST", "/containers/box/wait")
    talk.take_over("/containers/box/attach?logs=1&stdout=1&stderr=1")
    talk.take_over("/containers/box/attach?logs=1&stderr=1")
    talk.take_over("/containers/box/attach?logs=1&stdout=1", upgrade=False, title="attach in the older way")


def input_and_its_end(talk: Talk) -> None:
    talk.run("box", "cat", OpenStdin=True, StdinOnce=True, AttachStdin=True, AttachStdout=True)
    talk.take_over("/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1", typed="one\ntwo\n")
    talk.ask("POST", "/containers/box/wait")


def attach_refused(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    talk.ask("POST", "/containers/box/pause")
    talk.take_over("/containers/box/attach?stream=1&stdout=1", title="attach to what is paused")
    talk.take_over("/containers/nope/attach?stream=1&stdout=1")
