# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import InvalidArgument
from hypercell.images import config
from tests.support.images import Image, compact, sha256, tar

LAYER = tar({"a": b"1"})


def parse(run: dict[str, Any] | None = None, **extra: Any) -> config.ParsedConfig:
    return config.parse(Image([LAYER], run or {}, config_extra=extra).config)


def test_every_field_of_a_config_arrives() -> None:
    parsed = parse(
        {
            "User": "1000:1000",
            "Env": ["PATH=/bin", "EMPTY=", "CERT=line 1\nline 2"],
            "Entrypoint": ["/init"],
            "Cmd": ["a", "b"],
            "WorkingDir": "/srv/../app/./x",
            "Labels": {"k": "v"},
            "ExposedPorts": {"80": {}, "53/udp": {}},
            "Volumes": {"/data": {}, "/../../host": {}, "relative": {}},
            "StopSignal": "SIGQUIT",
            "Shell": ["/bin/bash", "-c"],
            "Healthcheck": {"Test": ["CMD", "true"]},
        },
        author="me",
        variant="v2",
    )
    found = parsed.config
    assert found.user == "1000:1000"
    assert found.env == ("PATH=/bin", "EMPTY=", "CERT=line 1\nline 2")
    assert (found.entrypoint, found.command) == (("/init",), ("a", "b"))
    assert found.working_dir == "/app/x"
    assert found.exposed_ports == ("53/udp", "80/tcp")
    assert found.volumes == ("/data", "/host", "/relative")
    assert (found.stop_signal, found.shell, found.author) == ("SIGQUIT", ("/bin/bash", "-c"), "me")
    assert found.healthcheck == {"Test": ["CMD", "true"]}
    assert str(parsed.platform) == "linux/amd64/v2"
    assert parsed.diff_ids == (sha256(LAYER),)
    assert found.raw["config"]["WorkingDir"] == "/srv/../app/./x"


def test_null_means_absent_everywhere() -> None:
    keys = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "ExposedPorts", "Volumes", "StopSignal")
    found = parse(dict.fromkeys(keys), history=None, author=None).config
    assert (found.env, found.command, found.labels, found.volumes, found.user) == ((), None, {}, (), "")


@pytest.mark.parametrize("user", ["-1", "99999999999999999999:0", "4294967296", "../../x", "a:b:c", "root\n"])
def test_an_odd_user_stays_text_for_the_guest_to_resolve(user: str) -> None:
    assert parse({"User": user}).config.user == user


@pytest.mark.parametrize(
    "run",
    [
        {"User": "a\0b"},
        {"User": 0},
        {"Env": ["A=b\0c"]},
        {"Env": ["A\nB=c"]},
        {"Env": ["NOTHING"]},
        {"Env": ["=x"]},
        {"Env": "A=b"},
        {"Env": [1]},
        {"Env": {"A": "b"}},
        {"Cmd": "sh"},
        {"Cmd": ["a\0"]},
        {"Entrypoint": [None]},
        {"WorkingDir": "/a\0"},
        {"WorkingDir": []},
        {"Labels": ["a"]},
        {"Labels": {"a": 1}},
        {"Labels": {"a": "\0"}},
        {"Volumes": {"/": {}}},
        {"Volumes": {"/..": {}}},
        {"Volumes": {"": {}}},
        {"Volumes": {"/a\0": {}}},
        {"Volumes": ["/a"]},
        {"ExposedPorts": {"0": {}}},
        {"ExposedPorts": {"65536/tcp": {}}},
        {"ExposedPorts": {"90-80/tcp": {}}},
        {"ExposedPorts": {"80/icmp": {}}},
        {"ExposedPorts": {"٨٠": {}}},
        {"ExposedPorts": {"80/tcp\n": {}}},
        {"Healthcheck": []},
        {"StopSignal": 9},
    ],
)
def test_a_config_with_a_wrong_field_is_refused(run: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="image config"):
        parse(run)


@pytest.mark.parametrize(
    "extra",
    [
        {"rootfs": {"type": "layers", "diff_ids": []}},
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:../../x"]}},
        {"rootfs": {"type": "layers", "diff_ids": [sha256(LAYER)] * 129}},
        {"rootfs": {"type": "layers", "diff_ids": "x"}},
        {"rootfs": {"type": "layers+base", "diff_ids": [sha256(LAYER)]}},
        {"rootfs": None},
        {"architecture": ""},
        {"architecture": None},
        {"os": "li\nux"},
        {"os": 1},
        {"config": []},
        {"config": "x"},
        {"layers": []},
        {"history": {}},
        {"history": [1]},
    ],
)
def test_a_config_with_a_wrong_shape_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        parse(**extra)


def test_as_many_layers_as_diff_ids() -> None:
    with pytest.raises(InvalidArgument, match="2 layers, the image config 1"):
        config.match_layers(parse(), 2)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T01:00:00.5+01:00", 5 * 10**8),
        ("2024-02-03T04:05:06.123456789Z", 1706933106123456789),
        ("0001-01-01T00:00:00Z", -62135596800 * 10**9),
        ("9999-99-99T00:00:00Z", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_the_time_of_creation_is_rfc_3339_or_unknown(text: str, nanoseconds: int) -> None:
    assert config.created_ns(text) == nanoseconds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
RUN_KEYS = "User Env Entrypoint Cmd WorkingDir Labels ExposedPorts Volumes StopSignal Shell Healthcheck".split()  # noqa: SIM905


@given(st.dictionaries(st.sampled_from(RUN_KEYS), json_values), st.dictionaries(st.text(max_size=8), json_values))
def test_any_json_is_either_refused_or_gives_the_promised_types(run: dict[str, Any], top: dict[str, Any]) -> None:
    values = {**json.loads(Image([LAYER]).config), **top, "config": run}
    try:
        found = config.parse(compact(values)).config
    except InvalidArgument:
        return
    assert all("=" in entry and "\0" not in entry for entry in found.env)
    assert all(path.startswith("/") and path != "/" and ".." not in path.split("/") for path in found.volumes)
    assert found.working_dir == "" or found.working_dir.startswith("/")
    assert all(isinstance(value, str) for value in found.labels.values())


@given(st.text(max_size=40))
def test_a_cleaned_path_is_absolute_and_climbs_nowhere(path: str) -> None:
    cleaned = config.clean_path(path)
    assert cleaned.startswith("/")
    assert not {"..", "."} & set(cleaned.split("/"))
    assert config.clean_path(cleaned) == cleaned
