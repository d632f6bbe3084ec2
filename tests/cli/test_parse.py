# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from hypercell.cli import output, parse
from hypercell.cli.options import filter_query, time_query
from hypercell.cli.terminal import Session, detach_sequence
from tests.support.digits import LOOK_LIKE_NUMBERS


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("512m", 512 << 20), ("2g", 2 << 30), ("64MB", 64 << 20), ("1.5k", 1536), ("7", 7), ("1GiB", 1 << 30)],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert parse.memory(text) == bytes_


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1 2", "0x10"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(click.UsageError):
        parse.memory(text)


@pytest.mark.parametrize("text", LOOK_LIKE_NUMBERS[:7])
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    for attempt in (
        lambda: parse.memory(f"{text}m"),
        lambda: parse.memory("5\N{KELVIN SIGN}"),
        lambda: parse.ports((f"{text}:80",)),
        lambda: parse.ulimits((f"nofile={text}",)),
        lambda: parse.ulimits((f"nofile=1:{text}",)),
        lambda: parse.restart_policy(f"on-failure:{text}"),
    ):
        with pytest.raises(click.UsageError):
            attempt()


@pytest.mark.parametrize(
    ("value", "exposed", "bindings"),
    [
        ("80", ["80/tcp"], [("80/tcp", "", "")]),
        ("8080:80", ["80/tcp"], [("80/tcp", "", "8080")]),
        ("127.0.0.1:8080:80/udp", ["80/udp"], [("80/udp", "127.0.0.1", "8080")]),
        ("127.0.0.1::80", ["80/tcp"], [("80/tcp", "127.0.0.1", "")]),
        ("8080-8081:80-81", ["80/tcp", "81/tcp"], [("80/tcp", "", "8080"), ("81/tcp", "", "8081")]),
    ],
)
def test_ports(value: str, exposed: list[str], bindings: list[tuple[str, str, str]]) -> None:
    found_exposed, found = parse.ports((value,))
    assert sorted(found_exposed) == exposed
    flat = [(key, item["HostIp"], item["HostPort"]) for key, items in found.items() for item in items]
    assert flat == bindings


@pytest.mark.parametrize("value", ["", "x", "0", "65536", "1-2:3", "2-1", "80:x", "1:2:3:4"])
def test_ports_that_are_none(value: str) -> None:
    with pytest.raises(click.UsageError):
        parse.ports((value,))


def test_environment_of_files_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=1\nB=x y=z\nFROM_US\nNOT_SET_ANYWHERE\n")
    monkeypatch.setenv("FROM_US", "ours")
    assert parse.environment(("A=2", "EMPTY="), (str(file),)) == ["A=1", "B=x y=z", "FROM_US=ours", "A=2", "EMPTY="]
    with pytest.raises(click.UsageError):
        parse.environment(("=x",), ())
    with pytest.raises(click.UsageError, match="cannot read"):
        parse.environment((), (str(tmp_path / "missing"),))


def test_restart_policies_and_ulimits() -> None:
    assert parse.restart_policy("on-failure:3") == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert parse.ulimits(("nofile=1:2", "core=0")) == [
        {"Name": "nofile", "Soft": 1, "Hard": 2},
        {"Name": "core", "Soft": 0, "Hard": 0},
    ]
    for wrong in ("sometimes", "on-failure:x"):
        with pytest.raises(click.UsageError):
            parse.restart_policy(wrong)
    with pytest.raises(click.UsageError):
        parse.ulimits(("nofile",))


@pytest.mark.parametrize(
    ("image", "split"),
    [
        ("box", ("box", "")),
        ("box:1", ("box", "1")),
        ("localhost:5000/box", ("localhost:5000/box", "")),
        ("localhost:5000/a/box:1", ("localhost:5000/a/box", "1")),
    ],
)
def test_a_port_is_no_tag(image: str, split: tuple[str, str]) -> None:
    assert parse.name_and_tag(image) == split


def test_times_are_spans_back_dates_or_numbers() -> None:
    assert time_query("1700000000") == "1700000000"
    assert time_query("2023-11-14T22:13:20Z") == "1700000000.000000000"
    assert time_query("2023-11-14T22:13:20.123456789Z") is not None
    assert float(time_query("1h30m") or 0) < float(time_query("1h") or 0)
    assert time_query(None) is None
    with pytest.raises(click.UsageError):
        time_query("yesterday")


def test_filters() -> None:
    assert filter_query(("a=1", "a=2", "label=x=y")) == {"a": ["1", "2"], "label": ["x=y"]}
    with pytest.raises(click.UsageError):
        filter_query(("a",))


def test_detach_keys() -> None:
    assert detach_sequence("ctrl-p,ctrl-q") == b"\x10\x11"
    assert detach_sequence("ctrl-[,a") == b"\x1ba"
    assert detach_sequence("") == b""
    with pytest.raises(click.UsageError):
        detach_sequence("ctrl-pp")


@pytest.mark.parametrize(
    ("pieces", "sent", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10\x10\x11rest"], b"\x10", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10\x11"], b"", True),
    ],
)
def test_detach_keys_are_found_across_reads_and_nothing_else_is_lost(
    pieces: list[bytes], sent: bytes, detached: bool
) -> None:
    session = Session.__new__(Session)
    session._keys, session.detached = b"\x10\x11", False
    held, out = b"", b""
    for piece in pieces:
        held, data = session._without_keys(held, piece)
        out += data
    assert (out, session.detached) == (sent, detached)


def test_what_containers_are_called_cannot_steer_the_terminal() -> None:
    assert output.printable("a\x1b[2Jb\x07\x9b") == "a\\x1b[2Jb\\x07\\x9b"


@pytest.mark.parametrize(("count", "text"), [(0, "0B"), (999, "999B"), (4_260_000, "4.26MB"), (1e12, "1TB")])
def test_sizes_are_in_dockers_words(count: float, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (200, "3 minutes"),
        (3600, "About an hour"),
        (100000, "27 hours"),
        (3 * 86400, "3 days"),
        (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_spans_are_in_dockers_words(seconds: int, text: str) -> None:
    assert output.span(seconds) == text


def test_templates_know_fields_and_json_and_refuse_the_rest() -> None:
    value = {"State": {"Status": "running", "Running": True}, "Names": ["a"]}
    assert output.render("{{.State.Status}} {{ .State.Running }} {{json .Names}}", value) == 'running true ["a"]'
    for wrong in ("{{.Missing}}", "{{range .Names}}x{{end}}"):
        with pytest.raises(click.ClickException):
            output.render(wrong, value)


def test_the_command_imports_nothing_of_the_daemon() -> None:
    import subprocess
    import sys

    script = (
        "import sys, hypercell.cli.main as m\n"
        "for name in ('run', 'ps', 'images', 'exec', 'info', 'stop'): m.cli.get_command(None, name)\n"
        "print([n for n in sys.modules if n.startswith(('hypercell.node', 'hypercell.api', 'httpx', 'asyncio'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=os.environ)
    assert done.stdout.strip() == "[]"
