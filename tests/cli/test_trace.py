# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from hypercell.cli.inspect import inspect_command
from hypercell.cli.trace import show

STEPS = [{"Name": "api", "Start": 0.0, "Took": 25.0}, {"Name": "guest", "Start": 50.0, "Took": 50.0}]


def container(**about: Any) -> dict[str, Any]:
    trace = {"Way": "pool", "Note": "", "Failed": "", "Total": 100.0, "Steps": STEPS}
    return {"Name": "/web", "Hypercell": {"Trace": trace, **about}}


def test_steps_are_drawn_where_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    show(container())
    headline, heading, api, guest = capsys.readouterr().out.splitlines()
    assert headline == "web started in 100.00 ms from the pool"
    assert heading.split() == ["STEP", "START", "TOOK"]
    assert api.split() == ["api", "0.00", "25.00", "#" * 12]
    assert guest.split() == ["guest", "50.00", "50.00", "#" * 24] and guest.index("#") == api.index("#") + 24


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"Trace": None}, "web was not started since the daemon was"),
        ({"Waiting": {"Reason": "CPU: 3 of 3", "Since": "2026-01-01T00:00:00Z", "Position": 7}}, "at place 7: CPU"),
        (
            {"Trace": {"Way": "cold", "Note": "", "Failed": "no-space", "Total": 3.0, "Steps": []}},
            "web failed to start (no-space) after 3.00 ms",
        ),
        (
            {"Trace": {"Way": "cold", "Note": "a \x1b[2J note", "Failed": "", "Total": 3.0, "Steps": []}},
            "by a boot (a \\x1b[2J note)",
        ),
    ],
)
def test_what_there_is_to_say_is_said(about: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(container(**about))
    assert said in capsys.readouterr().out


def test_a_trace_is_no_template() -> None:
    result = CliRunner().invoke(inspect_command, ["--trace", "--format", "json", "web"], obj=None)
    assert result.exit_code == 2 and "--trace" in result.output
