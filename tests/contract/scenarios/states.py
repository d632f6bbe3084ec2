# SPDX-License-Identifier: Apache-2.0
"""Start, stop, kill, pause, restart, wait; each in states where it may and where it may not."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

from tests.contract import read
from tests.contract.talk import Talk

_DEAF = ("sh", "-c", "trap '' TERM; sleep 60")


def _state(talk: Talk, name: str, title: str) -> None:
    talk.ask("GET", f"/containers/{name}/json", title=title)
    body = talk.steps[title]["body"]
    talk.steps[title]["body"] = {"State": body["State"], "RestartCount": body["RestartCount"]}


def started_and_stopped(talk: Talk) -> None:
    talk.create("box", *_DEAF)
    _state(talk, "box", "created")
    talk.ask("POST", "/containers/box/stop", title="stop before the start")
    talk.ask("POST", "/containers/box/start")
    talk.ask("POST", "/containers/box/start")
    _state(talk, "box", "running")
    talk.ask("POST", "/containers/box/stop?t=0")
    talk.ask("POST", "/containers/box/stop?t=0")
    _state(talk, "box", "stopped")
    talk.ask("POST", "/containers/box/start", title="the second start")
    _state(talk, "box", "running again")
    talk.ask("POST", "/containers/box/restart?t=0")
    _state(talk, "box", "restarted")
    talk.ask("POST", "/containers/box/start", {"HostConfig": {"Memory": 1}}, title="start with settings")


def killed(talk: Talk) -> None:
    talk.create("box", "sleep", "60")
    talk.ask("POST", "/containers/box/kill", title="kill before the start")
    talk.ask("POST", "/containers/box/start")
    talk.ask("POST", "/containers/box/kill?signal=ODD")
    talk.ask("POST", "/containers/box/kill?signal=0")
    talk.ask("POST", "/containers/box/kill?signal=99")
    talk.ask("POST", "/containers/box/kill?signal=WINCH")
    talk.ask("POST", "/containers/box/kill?signal=SIGKILL")
    talk.ask("POST", "/containers/box/wait")
    _state(talk, "box", "killed")
    talk.ask("POST", "/containers/box/kill", title="kill after the end")


def paused(talk: Talk) -> None:
    talk.create("box", "sleep", "60")
    talk.ask("POST", "/containers/box/pause", title="pause before the start")
    talk.ask("POST", "/containers/box/unpause", title="unpause before the start")
    talk.ask("POST", "/containers/box/start")
    talk.ask("POST", "/containers/box/unpause", title="unpause of what runs")
    talk.ask("POST", "/containers/box/pause")
    talk.ask("POST", "/containers/box/pause")
    _state(talk, "box", "paused")
    talk.ask("POST", "/containers/box/start", title="start of what is paused")
    talk.ask("POST", "/containers/box/exec", {"Cmd": ["true"]}, title="exec in what is paused")
    talk.ask("DELETE", "/containers/box", title="removal of what is paused")
    talk.ask("GET", "/containers/box/top", title="top of what is paused", reader=lambda answer: answer.status)
    talk.ask("POST", "/containers/box/unpause")
    _state(talk, "box", "unpaused")


def not_running(talk: Talk) -> None:
    identifier = talk.create("idle", "true")
    talk.ask("GET", "/containers/idle/top")
    talk.ask("POST", "/containers/idle/exec", {"Cmd": ["true"]})
    talk.ask("POST", "/containers/idle/resize?h=10&w=10")
    talk.ask("GET", "/containers/idle/stats?stream=0", reader=read.types)
    talk.ask("GET", f"/containers/{identifier}/logs?stdout=1", reader=read.frames)


def waited_for(talk: Talk) -> None:
    talk.ran("ended", "sh", "-c", "exit 7")
    talk.ask("POST", "/containers/ended/wait")
    talk.ask("POST", "/containers/ended/wait?condition=not-running")
    talk.ask("POST", "/containers/ended/wait?condition=odd")
    talk.create("idle")
    talk.ask("POST", "/containers/idle/wait?condition=not-running")


def a_program_that_is_not_there(talk: Talk) -> None:
    talk.create("lost", "no-such-program")
    talk.ask("POST", "/containers/lost/start")
    _state(talk, "lost", "after the start")


def a_resize(talk: Talk) -> None:
    talk.run("box", "cat", Tty=True, OpenStdin=True)
    talk.ask("POST", "/containers/box/resize?h=10&w=20")
    talk.ask("POST", "/containers/box/resize?h=x&w=20")
    talk.ask("POST", "/containers/box/resize?w=20")


def told_in_events(talk: Talk) -> None:
    since = time.time()
    talk.create("box", "cat", OpenStdin=True, Labels={"team": "a"})
    for verb in ("start", "pause", "unpause", "rename?name=other"):
        talk.ask("POST", f"/containers/box/{verb}")
    for verb in ("kill?signal=KILL", "wait"):
        talk.ask("POST", f"/containers/other/{verb}")
    talk.ask("DELETE", "/containers/other")
    filters = quote(json.dumps({"label": ["team=a"], "type": ["container"]}))
    query = f"since={since:.9f}&until={time.time():.9f}&filters={filters}"
    talk.ask("GET", f"/events?{query}", reader=read.stream, title="the events of its life")
    talk.ask("GET", "/events?since=10&until=5", reader=read.stream)
    talk.ask("GET", "/events?since=odd", reader=read.stream)
    talk.ask("GET", '/events?until=1&filters={"odd":["x"]}', reader=read.stream)
    talk.ask("GET", "/events?since=1&until=2", reader=read.stream)
