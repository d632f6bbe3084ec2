# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from hypercell.base.config import Config, Registry, load
from hypercell.base.errors import InvalidArgument
from hypercell.base.ids import is_id, is_name, new_id, short
from hypercell.base.sizes import MIB, size_named


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "hypercell.toml"
    file.write_text(text)
    return file


def test_every_key_is_optional(tmp_path: Path) -> None:
    assert load(write(tmp_path, "")) == Config()


def test_paths_derive_from_root_and_run(tmp_path: Path) -> None:
    config = load(write(tmp_path, 'root = "/r"\nrun = "/u"\nboot_timeout = 5\n'))
    assert (config.database, config.socket, config.vms) == (
        Path("/r/hypercell.db"),
        Path("/u/hypercell.sock"),
        Path("/u/vms"),
    )
    assert config.boot_timeout == 5.0


def test_registries_are_looked_up_by_host(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[[registries]]\nhost = "a:5000"\nplain_http = true\nmirrors = ["m"]\n'))
    assert config.registry("a:5000") == Registry("a:5000", True, ("m",))
    assert config.registry("b") == Registry("b")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rooot = 'x'", "rooot"),
        ("root = 3", "root"),
        ("uid_base = true", "uid_base"),
        ("dns = ['1.1.1.1', 2]", "dns"),
        ("[[registries]]\nplain_http = true", "registries.host"),
        ("[[registries]]\nhost = 'a'\nsecure = true", "registries.secure"),
        ("[[registries]]\nhots = 'a'", "registries.hots"),
        ("root = ", "TOML"),
        ("isolation = 'warm'", "isolation"),
        ("accelerator = 'xen'", "accelerator"),
        ("driver = ''", "driver"),
        ("pool_memory = -5", "pool_memory"),
        ("boot_timeout = -1", "boot_timeout"),
        ("boot_timeout = nan", "boot_timeout"),
        ("rootfs_size = 10", "rootfs_size"),
        ("uid_base = 0", "uid_base"),
        ("dns = ['foo']", "dns"),
    ],
)
def test_a_wrong_file_is_refused_and_the_key_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        load(write(tmp_path, text))


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot read"):
        load(tmp_path / "missing.toml")


def test_ids_are_never_taken_for_numbers() -> None:
    ids = {new_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(is_id(value) and not value[:12].isdigit() for value in ids)
    assert short("sha256:" + "a" * 64) == "a" * 12


@pytest.mark.parametrize("name", ["web", "a.b-c_9", "0x"])
def test_names_that_docker_accepts(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "a", "-a", ".a", "a b", "a/b", "ä1", "a\n", "x" * 256])
def test_names_that_docker_refuses(name: str) -> None:
    assert not is_name(name)


def test_sizes_are_the_contracts_table() -> None:
    assert (size_named("S1").vcpus, size_named("s1").memory) == (1, 64 * MIB)
    assert (size_named("l3").vcpus, size_named("l3").memory) == (8, 16384 * MIB)
    with pytest.raises(InvalidArgument, match="choose one of"):
        size_named("xxs")
