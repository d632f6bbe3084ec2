# SPDX-License-Identifier: Apache-2.0
"""`hypercelld`: serves the Engine API on its socket until told to stop. Containers outlive it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import resource
import signal
import sys
from pathlib import Path

from hypercell import __version__
from hypercell.api import daemon_log
from hypercell.base.config import Config, load
from hypercell.base.errors import HypercellError

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """The command. 0 after an orderly stop, 1 when it cannot run here, 2 for a wrong command line."""
    options = _parse(arguments)
    daemon_log.configure(options.log_level)
    try:
        config = load(options.config)
        if options.doctor:
            return _doctor(config)
        return asyncio.run(_run(config))
    except HypercellError as error:
        log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "hypercelld", description="The daemon of hypercell: containers, each in a virtual machine of its own."
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (default /etc/hypercell/hypercell.toml)")
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="what to log (default info)"
    )
    parser.add_argument("--doctor", action="store_true", help="say what this machine lacks, and end")
    parser.add_argument("--version", action="version", version=f"hypercelld {__version__}")
    return parser.parse_args(arguments)


def _doctor(config: Config) -> int:
    from hypercell.api.doctor import examine

    checks = asyncio.run(examine(config))
    sys.stdout.write(json.dumps({"checks": checks}, indent=2) + "\n")
    return 1 if any(check["status"] == "fail" for check in checks) else 0


async def _run(config: Config) -> int:
    # Everything heavy is imported here: `--version` and `--help` answer at once.
    from hypercell.api.assembly import assembled
    from hypercell.api.docker import make_server
    from hypercell.api.native import ROUTES
    from hypercell.api.notify import notify
    from hypercell.api.places import bind_socket, locked, prepare

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _raise_file_limit()
    prepare(config)
    with locked(config):
        async with assembled(config) as engine:
            server = make_server(engine, (ROUTES,))
            await server.listen(bind_socket(config))
            # What exists by now stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            log.info("hypercelld %s serves %s", __version__, config.socket)
            notify("READY=1", f"STATUS=Serving {config.socket}")
            await stopping.wait()
            notify("STOPPING=1")
            log.info("stopping; containers go on")
            config.socket.unlink(missing_ok=True)
            await server.close()
    return 0


def _raise_file_limit() -> None:
    """Every VM and every client costs descriptors; the soft limit is a default for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
