# SPDX-License-Identifier: Apache-2.0
"""The tools of `guest/`, and initramfs images with another first program."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

GUEST = Path(__file__).resolve().parents[2] / "guest"

# Loads the modules as the agent does, and then does as a container would that wants its kernel's end.
_PANICKING_INIT = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	char line[128], path[160];
	FILE *order = fopen("/modules/order", "r");
	while (order && fgets(line, sizeof line, order)) {
		line[strcspn(line, "\n")] = 0;
		snprintf(path, sizeof path, "/modules/%s", line);
		syscall(SYS_finit_module, open(path, O_RDONLY), "", 0);
	}
	mount("proc", "/proc", "proc", 0, 0);
	for (int seen = 0; !seen; usleep(1000)) {
		FILE *consoles = fopen("/proc/consoles", "r");
		while (fgets(line, sizeof line, consoles))
			seen |= !strncmp(line, "hvc0", 4);
		fclose(consoles);
	}
	usleep(PAUSE);
	write(open("/proc/sysrq-trigger", O_WRONLY), "c", 1);
	for (;;)
		pause();
}
"""


def tool(name: str) -> ModuleType:
    """The module `guest/<name>`."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, GUEST / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Name -> (mode, content) of a newc cpio, read as the kernel does."""
    found: dict[str, tuple[int, bytes]] = {}
    position = 0
    while True:
        assert archive[position : position + 6] == b"070701"
        fields = [int(archive[position + 6 + 8 * n : position + 14 + 8 * n], 16) for n in range(13)]
        name_end = position + 110 + fields[11]
        name = archive[position + 110 : name_end - 1].decode()
        data_at = (name_end + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], archive[data_at : data_at + fields[6]])
        position = (data_at + fields[6] + 3) & ~3


def panicking(initrd: Path, directory: Path, pause: float = 0.0) -> Path:
    """A copy of *initrd* in *directory* whose first program loads the modules, does nothing for *pause* seconds, and
    crashes the kernel."""
    source, program, modules = directory / "init.c", directory / "init", directory / "modules"
    source.write_text(_PANICKING_INIT)
    define = f"-DPAUSE={round(pause * 1e6)}"
    subprocess.run(["musl-gcc", "-static", "-Os", "-w", define, "-o", str(program), str(source)], check=True)
    modules.mkdir()
    for name, (_, content) in members(initrd.read_bytes()).items():
        if name.startswith("modules/"):
            (directory / name).write_bytes(content)
    target = directory / "initrd"
    target.write_bytes(tool("initramfs.py").build(program.read_bytes(), modules))
    target.chmod(0o644)
    return target
