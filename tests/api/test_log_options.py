# SPDX-License-Identifier: Apache-2.0
"""`HostConfig.LogConfig`: every option has its meaning, or is refused in docker's words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.api.docker.container_view import host_config_json
from hypercell.api.docker.create import parse_create
from hypercell.api.docker.log_attributes import MOST_MATCHED, attributes, encoded
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import ContainerRequest, ContainerView, LogSpec, Port, State, Status


def request(driver: str = "", **options: object) -> ContainerRequest:
    config = {name.replace("_", "-"): value for name, value in options.items()}
    body = {"Image": "busybox", "HostConfig": {"LogConfig": {"Type": driver, "Config": config}}}
    return parse_create(json.dumps(body).encode(), "").request


def spec(driver: str = "", **options: object) -> LogSpec:
    return request(driver, **options).log


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (spec(), LogSpec()),
        (spec("json-file"), LogSpec()),
        (spec("none"), LogSpec(kept=False)),
        (spec("none", anything="goes", mode="odd"), LogSpec(kept=False)),
        (spec("json-file", max_size="10m"), LogSpec(files=1, file_size=10_000_000)),
        (spec("json-file", max_size="10m", max_file="3"), LogSpec(files=3, file_size=10_000_000)),
        (spec("json-file", max_file="3"), LogSpec(files=3)),
        (spec(max_size="1k", max_file="2", compress="true"), LogSpec(files=2, file_size=1000, compress=True)),
        (spec(compress="F"), LogSpec()),
        (spec("local"), LogSpec(files=5, compress=True)),
        (spec("local", max_size="1m"), LogSpec(files=5, file_size=1_000_000, compress=True)),
        (spec("local", max_file="1", compress="false"), LogSpec(files=1)),
        (spec(mode="blocking"), LogSpec()),
        (spec(mode="non-blocking"), LogSpec(buffer=1_000_000)),
        (spec(mode="non-blocking", max_buffer_size="4m"), LogSpec(buffer=4 << 20)),
        (spec(labels="a", labels_regex="^b", env="C", env_regex="D.*", tag="{{.Name}}/{{ .ID }}"), LogSpec()),
    ],
)
def test_options_mean_what_they_mean_to_docker(given: LogSpec, meant: LogSpec) -> None:
    assert given == meant


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("1", 1), ("7b", 7), ("2K", 2000), ("2kb", 2000), ("2KiB", 2000), ("1.5 m", 1_500_000), ("1g", 10**9)),
        *((".5k", 500), ("3tb", 3 * 10**12), ("1p", 10**15)),
    ],
)
def test_sizes_are_read_as_docker_reads_them(text: str, size: int) -> None:
    assert spec(max_size=text).file_size == size


START = "failed to initialize logging driver: "


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("syslog", {}, "logger: no log driver named 'syslog' is registered"),
        ("JSON-file", {}, "logger: no log driver named 'JSON-file' is registered"),
        ("", {"x": "1"}, "unknown log opt 'x' for json-file log driver"),
        ("json-file", {"syslog-address": "tcp://a"}, "unknown log opt 'syslog-address' for json-file log driver"),
        ("local", {"labels": "a"}, "unknown log opt 'labels' for log driver local"),
        ("", {"mode": "sometimes"}, "logger: logging mode not supported: sometimes"),
        (
            "",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "",
            {"mode": "non-blocking", "max-buffer-size": "1x"},
            "error parsing option max-buffer-size: invalid suffix: 'x'",
        ),
        ("", {"max-size": "0"}, START + "max-size must be a positive number"),
        ("", {"max-size": "k"}, START + "invalid size: 'k'"),
        ("", {"max-size": "-1k"}, START + "invalid size: '-1k'"),
        ("", {"max-size": ""}, START + "invalid size: ''"),
        ("", {"max-size": "1kk"}, START + "invalid suffix: 'kk'"),
        ("", {"max-size": "1bb"}, START + "invalid suffix: 'bb'"),
        ("", {"max-size": "١m"}, START + "invalid size: '١m'"),
        ("", {"max-file": "0"}, START + "max-file cannot be less than 1"),
        ("", {"max-file": "-3"}, START + "max-file cannot be less than 1"),
        ("", {"max-file": "many"}, START + 'strconv.Atoi: parsing "many": invalid syntax'),
        ("", {"max-file": "1_0"}, START + 'strconv.Atoi: parsing "1_0": invalid syntax'),
        ("", {"compress": "yes"}, START + 'strconv.ParseBool: parsing "yes": invalid syntax'),
        (
            "",
            {"compress": "true"},
            START + "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (
            "",
            {"compress": "true", "max-file": "3"},
            START + "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (
            "",
            {"compress": "true", "max-size": "1m"},
            START + "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("local", {"max-size": "z"}, START + "invalid value for max-size: z: invalid size: 'z'"),
        ("local", {"max-file": "1"}, START + "compression cannot be enabled when max file count is 1"),
        ("local", {"max-file": "-1"}, START + "max-file must not be negative"),
        ("", {"labels-regex": "("}, START + "labels-regex: error parsing regexp: missing )"),
        ("", {"env-regex": "*"}, START + "env-regex: error parsing regexp: nothing to repeat"),
        ("", {"tag": "{{.Nobody}}"}, START + "template: log-tag: cannot evaluate {{.Nobody}}"),
        ("", {"tag": "{{.Name"}, START + "template: log-tag: unclosed action"),
    ],
)
def test_what_docker_refuses_is_refused_in_its_words(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        request(driver, **options)
    assert refusal.value.message.startswith(words)


@given(st.sampled_from(["max-size", "max-file", "compress", "mode", "max-buffer-size", "tag", "env-regex"]), st.text())
def test_no_value_does_anything_but_count_or_be_refused(name: str, value: str) -> None:
    try:
        found = spec("", **{name: value})
    except InvalidArgument:
        return
    assert found.files >= 0 and found.file_size >= 0


def test_an_inspection_shows_what_was_given_or_the_default() -> None:
    def shown(made: ContainerRequest) -> Any:
        return host_config_json(made)["LogConfig"]

    assert shown(request("local", max_size="1m")) == {"Type": "local", "Config": {"max-size": "1m"}}
    assert shown(request("", tag="x")) == {"Type": "json-file", "Config": {"tag": "x"}}
    assert shown(request("none")) == {"Type": "none", "Config": {}}
    assert shown(ContainerRequest("busybox")) == {"Type": "json-file", "Config": {}}


def view(**members: object) -> ContainerView:
    made = ContainerRequest("busybox:1", labels={"team": "a b", "tier": "db", "other": "x"})
    made = replace(made, **members)  # type: ignore[arg-type]
    return ContainerView(
        id="0123456789abcdef" * 4,
        tenant="default",
        name="web",
        created_ns=0,
        request=made,
        image_id="sha256:feedface",
        args=("echo", "hi"),
        env=("PATH=/bin", "MODE=fast=er", "EMPTY="),
        working_dir="/",
        user="",
        stop_signal="SIGTERM",
        state=State(Status.RUNNING),
        port=Port("", (), ()),
    )


def test_details_are_the_labels_and_variables_that_were_named_and_the_tag() -> None:
    options = {"labels": "team,absent", "labels-regex": "^ti", "env": "MODE", "env-regex": "^E"}
    found = attributes(view(), {**options, "tag": "{{.Name}}-{{.ID}}-{{.ImageID}}-{{.ImageName}}"})
    assert found == {
        "team": "a b",
        "tier": "db",
        "MODE": "fast=er",
        "EMPTY": "",
        "tag": "web-0123456789ab-sha256:feedf-busybox:1",
    }
    assert encoded({"team": "a b", "MODE": "fast=er", "EMPTY": ""}) == b"EMPTY=,MODE=fast%3Der,team=a+b"
    assert attributes(view(), {}) == {} and encoded({}) == b""


def test_a_pattern_is_not_held_against_more_names_than_the_daemon_has_time_for() -> None:
    many = {f"{number:04d}": "" for number in range(MOST_MATCHED)}
    assert len(attributes(view(labels=many), {"labels-regex": "."})) == MOST_MATCHED // 4
