# SPDX-License-Identifier: Apache-2.0
"""What a request and its image say of a health check, and what comes of both."""

from __future__ import annotations

from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.cloud import health
from hypercell.cloud.contract import ContainerRequest, HealthRequest
from hypercell.node.health import HealthCheck
from tests.support.house import House, T
from tests.support.image_shelf import image

SECOND = 10**9
WHOLE = {"Test": ["CMD", "true"], "Interval": 1 * SECOND, "Timeout": 2 * SECOND, "StartPeriod": 3 * SECOND}
WHOLE |= {"StartInterval": 4 * SECOND, "Retries": 5}


@pytest.mark.parametrize("name", ["interval", "timeout", "start_period", "start_interval"])
@pytest.mark.parametrize("value", [-SECOND, -1, 1, 999_999])
def test_times_below_a_millisecond_are_refused_in_dockers_words(name: str, value: int) -> None:
    health.check(HealthRequest(**{name: 0}))
    health.check(HealthRequest(**{name: 1_000_000}))
    docker = "".join(word.title() for word in name.split("_"))
    with pytest.raises(InvalidArgument, match=f"^{docker} in Healthcheck cannot be less than 1ms$"):
        health.check(HealthRequest(**{name: value}))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (HealthRequest(retries=-1), "^Retries in Healthcheck cannot be negative$"),
        (HealthRequest(("CMDSHELL", "x")), "Unknown healthcheck type 'CMDSHELL'"),
        (HealthRequest(("true",)), "CMD, CMD-SHELL or NONE"),
        (HealthRequest(("CMD",)), "names no command"),
        (HealthRequest(("CMD-SHELL", "")), "names no command"),
        (HealthRequest(("CMD", "a\0")), "NUL"),
    ],
)
def test_what_could_not_be_run_is_refused(request_: HealthRequest, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        health.check(request_)


def test_what_is_left_open_is_as_docker_has_it() -> None:
    assert health.carried_out(HealthRequest(("CMD", "a", "b c")), ()) == HealthCheck(
        ("a", "b c"), 30 * SECOND, 30 * SECOND, 0, 5 * SECOND, 3
    )


@pytest.mark.parametrize(
    ("shell", "args"), [((), ("/bin/sh", "-c", "a | b")), (("/bin/bash", "-ec"), ("/bin/bash", "-ec", "a | b"))]
)
def test_a_line_is_run_by_the_shell(shell: tuple[str, ...], args: tuple[str, ...]) -> None:
    found = health.carried_out(HealthRequest(("CMD-SHELL", "a | b")), shell)
    assert found is not None and found.args == args


@pytest.mark.parametrize("request_", [None, HealthRequest(), HealthRequest(("NONE",)), HealthRequest(interval=SECOND)])
def test_without_a_command_nothing_is_run(request_: HealthRequest | None) -> None:
    assert health.carried_out(request_, ()) is None


class TestImage:
    OF_IMAGE = HealthRequest(("CMD", "true"), SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND, 5)

    def test_what_the_request_says_nothing_of_the_image_says(self) -> None:
        warnings: list[str] = []
        found = health.of_image(WHOLE, warnings)
        assert (found, warnings) == (self.OF_IMAGE, [])
        assert health.merged(None, found) == self.OF_IMAGE
        assert health.merged(HealthRequest(), found) == self.OF_IMAGE
        own = HealthRequest(("CMD-SHELL", "own"), timeout=9 * SECOND)
        assert health.merged(own, found) == HealthRequest(
            ("CMD-SHELL", "own"), SECOND, 9 * SECOND, 3 * SECOND, 4 * SECOND, 5
        )
        assert health.merged(own, None) == own

    @pytest.mark.parametrize("image_", [None, {}])
    def test_an_image_may_declare_none(self, image_: dict[str, Any] | None) -> None:
        assert health.of_image(image_, []) is None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"Test": "true"},
            {"Test": ["CMD", 1]},
            {"Test": ["FOO", "x"]},
            {"Test": ["\x1b[31m", "x"]},
            {"Test": ["CMD", "a\0"]},
            {"Interval": 1},
            {"Interval": -SECOND},
            {"Interval": 1.5},
            {"Interval": True},
            {"Interval": 1 << 63},
            {"StartInterval": "5s"},
            {"Retries": -1},
        ],
    )
    def test_one_that_makes_no_sense_is_not_run_and_that_is_told(self, wrong: dict[str, Any]) -> None:
        warnings: list[str] = []
        assert health.of_image({**WHOLE, **wrong}, warnings) is None
        (warning,) = warnings
        assert warning.startswith("The image's health check is not run: ") and warning.isprintable()

    async def test_a_container_is_probed_as_its_image_says(self, home: House) -> None:
        home.images.put(image(healthcheck=WHOLE))
        spec = home.node.get(await home.create("true")).record.spec
        assert spec.health == HealthCheck(("true",), SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND, 5)
        off = await home.create("true", health=HealthRequest(("NONE",)))
        assert home.node.get(off).record.spec.health is None
        assert (await home.view(off)).request.health == HealthRequest(("NONE",), *list(WHOLE.values())[1:])

    async def test_a_warning_reaches_whoever_creates(self, home: House) -> None:
        home.images.put(image(healthcheck={"Test": ["FOO"]}))
        _, warnings = await home.containers.create(T, ContainerRequest("busybox", command=("true",)))
        assert any("health check is not run" in warning for warning in warnings)


async def test_a_command_that_no_guest_could_be_sent_is_refused(home: House) -> None:
    with pytest.raises(InvalidArgument, match="the health check's command and the environment together are longer"):
        await home.create("true", health=HealthRequest(("CMD", "x" * 500_000)), env=("A=" + "y" * 300_000,))
    assert await home.leftovers() == []


async def test_a_container_keeps_its_health_check_when_the_daemon_comes_back(home: House) -> None:
    asked = HealthRequest(("CMD-SHELL", "true"), SECOND, retries=7)
    ident = await home.create("true", health=asked, shell=("/bin/ash", "-c"))
    spec = home.node.get(ident).record.spec
    await home.reopen()
    assert home.node.get(ident).record.spec == spec
    view = await home.view(ident)
    assert (view.request.health, view.request.shell) == (asked, ("/bin/ash", "-c"))
