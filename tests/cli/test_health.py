# SPDX-License-Identifier: Apache-2.0
"""The options of `run` and `create` for health checks, with docker's names."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from hypercell.cli import run
from tests.support.command import ends_with

SECOND = 10**9


class _Daemon:
    """Takes the body of a create request."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {}

    def call(self, method: str, path: str, query: Any = None, body: Any = None) -> dict[str, Any]:
        self.body = body
        return {"Id": "x"}


def created(*options: str) -> Any:
    """`Healthcheck` of the request."""
    daemon = _Daemon()
    result = CliRunner().invoke(run.create_command, [*options, "busybox"], obj=daemon, standalone_mode=False)
    if isinstance(result.exception, click.ClickException):
        raise result.exception
    assert result.exit_code == 0, result.output
    return daemon.body["Healthcheck"]


def test_every_option_arrives() -> None:
    options = ["--health-cmd", "test -e /x || exit 1", "--health-interval=1m30s", "--health-timeout", "500ms"]
    options += ["--health-start-period=2h", "--health-start-interval", "1.5s", "--health-retries=7"]
    assert created(*options) == {
        "Test": ["CMD-SHELL", "test -e /x || exit 1"],
        "Interval": 90 * SECOND,
        "Timeout": SECOND // 2,
        "StartPeriod": 7200 * SECOND,
        "StartInterval": 3 * SECOND // 2,
        "Retries": 7,
    }


def test_what_is_not_said_is_left_to_the_image() -> None:
    assert created() is None
    assert created("--health-retries", "2")["Test"] is None
    assert created("--no-healthcheck") == {"Test": ["NONE"]}


@pytest.mark.parametrize("option", ["--health-cmd=true", "--health-interval=1s", "--health-retries=1"])
def test_a_check_and_none_contradict_each_other(option: str) -> None:
    with pytest.raises(click.UsageError, match=r"^--no-healthcheck conflicts with --health-\* options$"):
        created("--no-healthcheck", option)


@pytest.mark.parametrize("text", ["5", "", "x", "-1s", "1d", "5 s"])
def test_what_is_no_duration_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert ends_with(monkeypatch, "run", f"--health-timeout={text}", "busybox") == 125


def test_negative_retries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends_with(monkeypatch, "run", "--health-retries=-1", "busybox") == 125
