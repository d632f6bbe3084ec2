# SPDX-License-Identifier: Apache-2.0
"""The life of an exec."""

from __future__ import annotations

from tests.contract.talk import Talk


def carried_out(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    made = talk.execution("box", "one", "sh", "-c", "echo out; echo err >&2; exit 4", Env=["A=b"], WorkingDir="/tmp")
    talk.ask("GET", f"/exec/{made}/json", title="before it was started")
    talk.take_over(f"/exec/{made}/start", {"Detach": False, "Tty": False}, title="its output")
    talk.ask("GET", f"/exec/{made}/json", title="after its end")
    talk.ask("POST", f"/exec/{made}/start", {}, title="started twice")


def with_a_terminal_and_input(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    made = talk.execution("box", "one", "cat", AttachStdin=True, User="root", DetachKeys="ctrl-a")
    talk.take_over(f"/exec/{made}/start", {}, typed="said\n", title="its output")
    talk.ask("GET", f"/exec/{made}/json", title="after its end")
    made = talk.execution("box", "two", "echo", "hello", Tty=True)
    talk.take_over(f"/exec/{made}/start", {"Tty": True}, tty=True, title="the terminal's output")


def detached(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    made = talk.execution("box", "one", "sleep", "60")
    talk.ask("POST", f"/exec/{made}/start", {"Detach": True}, title="detached")
    talk.ask("GET", f"/exec/{made}/json", title="while it runs")
    view = talk.ask("GET", "/containers/box/json", title="the container's")
    talk.steps["the container's"]["body"] = {"ExecIDs": [talk.labels.apply(item) for item in view["ExecIDs"] or []]}
    talk.ask("POST", f"/exec/{made}/start", {"Detach": True}, title="started while it runs")


def refused(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    for name, body in {
        "no command": {},
        "an empty command": {"Cmd": []},
        "odd keys": {"Cmd": ["true"], "DetachKeys": "odd-x"},
        "a relative directory": {"Cmd": ["true"], "WorkingDir": "tmp"},
    }.items():
        talk.ask("POST", "/containers/box/exec", body, title=f"exec of {name}")
    made = talk.execution("box", "lost", "no-such-program")
    talk.ask("POST", f"/exec/{made}/start", {"Detach": True}, title="a program that is not there, detached")
    made = talk.execution("box", "gone", "true")
    talk.ask("POST", "/containers/box/kill")
    talk.ask("POST", "/containers/box/wait")
    talk.ask("POST", f"/exec/{made}/start", {}, title="after the container's end")
