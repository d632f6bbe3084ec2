# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.contract.record` (as root): start a dockerd, ask it everything, keep its answers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.contract.engines import RECORDED, REFERENCE, file_of, play
from tests.contract.scenarios import SCENARIOS
from tests.contract.wire import request
from tests.support.dockerd import running_dockerd
from tests.support.namespaces import enter_private_network


def record() -> None:
    found: dict[Path, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="contract-") as directory,
        running_dockerd(Path(directory) / "d") as dockerd,
    ):
        version = version_of(dockerd.socket)
        for name in SCENARIOS:
            found.setdefault(file_of(name), {})[name] = play(name, dockerd.socket)
    RECORDED.mkdir(exist_ok=True)
    for old in RECORDED.glob("*.json"):
        old.unlink()
    for path, answers in found.items():
        _write(path, answers)
    _write(REFERENCE, version)


def version_of(socket: Path) -> dict[str, str]:
    """Of the engine and of what it runs containers with."""
    answer = json.loads(request(socket, "GET", "/version", None, {}).content)
    return {"ApiVersion": answer["ApiVersion"], **{part["Name"]: part["Version"] for part in answer["Components"]}}


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    enter_private_network()
    record()
