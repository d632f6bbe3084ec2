# SPDX-License-Identifier: Apache-2.0
"""Whatever a create request says, it becomes a request or an error that names a reason; never anything else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hypercell.api.docker.create import parse_create
from hypercell.api.docker.documents import Fields, load_json
from hypercell.api.docker.exec import _parse as parse_exec
from hypercell.api.docker.stats import stats_json
from hypercell.base.errors import HypercellError
from hypercell.cloud.contract import ContainerRequest

from .test_create_request import PLAIN

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_config = st.sampled_from([name for name in PLAIN if name not in ("HostConfig", "NetworkingConfig")])
_host = st.sampled_from([*PLAIN["HostConfig"], "Mounts", "Tmpfs", "Annotations", "Sysctls", "Init", "Runtime"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_config, _values, max_size=3), st.dictionaries(_host, _values, max_size=3))
def test_any_values_of_known_members(config: dict[str, Any], host: dict[str, Any]) -> None:
    body = json.dumps({**PLAIN, **config, "HostConfig": {**PLAIN["HostConfig"], **host}}).encode()
    with contextlib.suppress(HypercellError):
        assert isinstance(parse_create(body, "").request, ContainerRequest)


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    with contextlib.suppress(HypercellError):
        parse_create(body, "")


@given(st.dictionaries(st.sampled_from(["Cmd", "Env", "Tty", "User", "ConsoleSize", "DetachKeys"]), _values))
def test_any_exec(body: dict[str, Any]) -> None:
    with contextlib.suppress(HypercellError):
        parse_exec(Fields(load_json(json.dumps(body).encode())), (1, 51))


@given(st.dictionaries(st.sampled_from(["cpu", "memory", "pids", "io", "interfaces", "cpus"]), _values, min_size=1))
def test_any_figures_of_a_guest(raw: dict[str, Any]) -> None:
    json.dumps(stats_json(raw), allow_nan=False)
