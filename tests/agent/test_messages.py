# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.agent import messages
from hypercell.agent.frames import MAX_PAYLOAD, ProtocolError
from hypercell.base.errors import (
    Conflict,
    ExecFailed,
    HypercellError,
    Internal,
    InvalidArgument,
    NoSpace,
    NotFound,
    Unsupported,
)
from tests.agent.raw import BOOT_ID, WELCOME, payload

OPERATIONS = [
    "ping", "configure", "state", "container.create", "container.stats", "container.processes", "archive.stat",
    "new.op",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=30,
)
PROCESS = {
    "process": "init",
    "pid": 7,
    "status": "exited",
    "code": 137,
    "signal": 9,
    "oom": True,
    "exited_ns": 5,
    "stdout": {"stream": 3, "base": 10, "end": 20, "eof": True},
}
STATE = {
    "configured": True,
    "containers": [{"container": "c1", "status": "stopped", "processes": [PROCESS]}],
}


@given(st.sampled_from(OPERATIONS), st.binary(max_size=200) | JSON.map(payload))
def test_any_reply_is_checked_or_refused(op: str, data: bytes) -> None:
    try:
        found = messages.reply(op, data)
    except ProtocolError as error:
        assert str(error).isprintable() or "\\" in repr(str(error))
    else:
        json.dumps(found).encode()


@given(st.binary(max_size=200) | JSON.map(payload))
def test_any_event_and_error_is_checked_or_refused(data: bytes) -> None:
    for check in (messages.event, messages.error, messages.welcome):
        try:
            check(data)
        except ProtocolError as error:
            assert str(error)


def test_a_state_passes_as_it_is() -> None:
    assert messages.reply("state", payload(STATE)) == STATE


def replaced(value: Any, path: list[Any], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return copy


PROCESS_PATH = ["containers", 0, "processes", 0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["configured"], 1),
        (["containers"], {}),
        (["containers", 0, "container"], "../../etc"),
        (["containers", 0, "container"], "a" * 65),
        (["containers", 0, "status"], "sleeping"),
        ([*PROCESS_PATH, "process"], ""),
        ([*PROCESS_PATH, "process"], "init\n"),
        ([*PROCESS_PATH, "pid"], -1),
        ([*PROCESS_PATH, "code"], 256),
        ([*PROCESS_PATH, "code"], 1.0),
        ([*PROCESS_PATH, "code"], True),
        ([*PROCESS_PATH, "code"], "0"),
        ([*PROCESS_PATH, "signal"], 65),
        ([*PROCESS_PATH, "exited_ns"], 2**63),
        ([*PROCESS_PATH, "stdout", "stream"], 0),
        ([*PROCESS_PATH, "stdout", "stream"], 2**32),
        ([*PROCESS_PATH, "stdout", "base"], -1),
        ([*PROCESS_PATH, "stdout", "base"], 21),
        ([*PROCESS_PATH, "stdout", "end"], 2**64 - 1),
        ([*PROCESS_PATH, "stdout"], []),
    ],
)
def test_a_state_with_a_wrong_value_is_refused_and_the_place_named(path: list[Any], value: Any) -> None:
    with pytest.raises(ProtocolError, match=r"^the reply to state: "):
        messages.reply("state", payload(replaced(STATE, path, value)))


def test_the_place_of_a_wrong_value_is_named() -> None:
    broken = replaced(STATE, [*PROCESS_PATH, "code"], "x")
    with pytest.raises(ProtocolError, match=r"containers\[0\]\.processes\[0\]\.code: not an integer"):
        messages.reply("state", payload(broken))


def test_members_that_the_protocol_does_not_name_are_left_out() -> None:
    assert messages.reply("ping", b'{"surprise": [1, 2]}') == {}
    assert messages.reply("container.start", b'{"pid": 2, "x": {"y": 1}}') == {"pid": 2}


def test_a_missing_figure_of_the_stats_is_zero() -> None:
    found = messages.reply("container.stats", b'{"memory": {"usage": 5}, "interfaces": [{"name": "eth0"}]}')
    assert found["memory"] == {
        "usage": 5, "limit": 0, "max_usage": 0, "file": 0, "anon": 0, "inactive_file": 0, "oom_kills": 0, "fields": {},
    }  # fmt: skip
    assert found["cpu"]["usage_ns"] == 0
    assert found["pids"] == {"current": 0, "limit": 0}
    assert found["interfaces"][0]["tx_bytes"] == 0


def test_the_default_of_one_reply_is_not_shared_with_the_next() -> None:
    messages.reply("container.stats", b"{}")["io"].append("mine")
    messages.reply("container.stats", b"{}")["memory"]["fields"]["x"] = 1
    found = messages.reply("container.stats", b"{}")
    assert found["io"] == []
    assert found["memory"]["fields"] == {}


@pytest.mark.parametrize("levels", [33, 500, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_json_that_is_too_deep_is_refused(levels: int, brackets: tuple[bytes, bytes]) -> None:
    inner = brackets[0] * (levels - 1) + b"1" + brackets[1] * (levels - 1)
    with pytest.raises(ProtocolError):
        messages.decode(b'{"a":' + inner + b"}")


def test_json_of_32_levels_is_read_also_when_it_is_wide() -> None:
    deep = b"[" * 31 + b"1" + b"]" * 31
    found = messages.decode(b'{"a":' + deep + b',"b":[' + b",".join([b"[]"] * 1000) + b"]}")
    assert len(found["b"]) == 1000


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"1", b'"a"', b"{", b'{"a":1}x', b'{"a":NaN}', b'{"a":Infinity}', b"\xff\xfe{}",
        b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16"), b'{"a":"\xff"}', b"{'a':1}", b'{"a":' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_in_utf8_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        messages.decode(data)


def test_words_for_a_person_are_made_harmless_to_a_terminal() -> None:
    event = messages.event(
        payload({"event": "log", "level": "info", "message": "a\x1b[2J\nb\u202ec\ud800" + "x" * 600})
    )
    assert event is not None
    assert event["message"].startswith("a\ufffd[2J\ufffdb\ufffdc\ufffdx")
    assert len(event["message"]) == 512
    rows = {"processes": [{"pid": 1, "comm": "\x07sh", "args": ["sh", "\x9b31m"]}]}
    [row] = messages.reply("container.processes", payload(rows))["processes"]
    assert (row["comm"], row["args"]) == ("\ufffdsh", ["sh", "\ufffd31m"])


def test_a_file_name_stays_as_it_is() -> None:
    stat = {"name": "new\nline \u202e", "size": 1, "mode": 0o100644, "mtime_ns": -1, "link_target": ""}
    assert messages.reply("archive.stat", payload({"stat": stat})) == {"stat": stat}
    for name in ("nul\0", "half \ud800", "x" * 5000):
        with pytest.raises(ProtocolError):
            messages.reply("archive.stat", payload({"stat": {**stat, "name": name}}))


def test_an_event_of_an_unknown_kind_is_ignored() -> None:
    assert messages.event(b'{"event":"weather","sun":1}') is None


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"event": 5},
        {"event": "container.oom"},
        {"event": "container.oom", "container": "a/b"},
        {"event": "process.exited", "container": "c", "process": "p", "code": -1},
        {"event": "process.exited", "container": "c", "process": "p", "code": 0, "oom": 1},
    ],
)
def test_an_event_with_a_wrong_value_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        messages.event(payload(members))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid", InvalidArgument),
        ("not-found", NotFound),
        ("exists", Conflict),
        ("busy", Conflict),
        ("unsupported", Unsupported),
        ("no-space", NoSpace),
        ("internal", Internal),
        ("never-heard", Internal),
    ],
)
def test_an_error_of_the_guest_becomes_the_houses_own(code: str, kind: type[HypercellError]) -> None:
    found = messages.error(payload({"code": code, "message": "why"}))
    assert type(found) is kind
    assert "why" in found.message


@pytest.mark.parametrize(("code", "status"), [("exec-not-found", 127), ("exec-denied", 126)])
def test_a_program_that_cannot_run_tells_its_exit_code(code: str, status: int) -> None:
    found = messages.error(payload({"code": code, "message": "sh: no such file"}))
    assert isinstance(found, ExecFailed)
    assert found.exit_code == status


def test_a_welcome_gives_what_the_guest_is() -> None:
    found, nonce = messages.welcome(payload({**WELCOME, "nonce": "0" * 32, "future": 1}))
    assert (found.boot_id, found.kernel, found.fresh, nonce) == (BOOT_ID, "6.1.0-raw", True, "0" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"kernel": "6.1\x1b[31m"},
        {"kernel": 6},
        {"features": ["a b"]},
        {"features": ["x"] * 65},
        {"features": "exec"},
        {"boot_id": "no"},
        {"fresh": "yes"},
        {"version": 0},
        {"agent": ""},
    ],
)
def test_a_welcome_with_a_wrong_value_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        messages.welcome(payload({**WELCOME, "nonce": "0" * 32, **change}))


def test_a_guest_without_entropy_of_its_own_has_no_boot_id() -> None:
    found, _ = messages.welcome(payload({**WELCOME, "nonce": "0" * 32, "boot_id": ""}))
    assert found.boot_id == ""


CONFIGURED = {"boot_id": BOOT_ID, "random": "0f" * 16, "clock_ns": 10**18, "hostname": "h"}


@pytest.mark.parametrize(
    "change",
    [
        {"boot_id": BOOT_ID.upper()},
        {"random": "0f" * 15},
        {"random": "0g" * 16},
        {"clock_ns": -1},
        {"clock_ns": "now"},
        {"hostname": "h" * 65},
        {"hostname": None},
    ],
)
def test_what_a_configured_guest_says_of_itself_is_checked(change: dict[str, Any]) -> None:
    assert messages.reply("configure", payload({**CONFIGURED, "more": 1})) == CONFIGURED
    with pytest.raises(ProtocolError, match=r"^the reply to configure: "):
        messages.reply("configure", payload({**CONFIGURED, **change}))


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, "\ud800", b"bytes", object()])
def test_what_json_cannot_hold_is_the_callers_error(value: Any) -> None:
    with pytest.raises(InvalidArgument):
        messages.encode({"a": value})


def test_a_request_larger_than_a_frame_is_the_callers_error() -> None:
    with pytest.raises(InvalidArgument, match="over the agent's limit"):
        messages.encode({"a": "x" * MAX_PAYLOAD})
