# SPDX-License-Identifier: Apache-2.0
"""Images that others made run, and the files that a container sees are those that a reference unpacker makes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.images import busybox, write_layout
from tests.support.registry import Registry, running_registry

pytestmark = [pytest.mark.vm, pytest.mark.root]

DEBIAN = Path(__file__).resolve().parents[2] / "build" / "fixtures" / "debian.tar"
CONTAINERFILE = """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "/bin/busybox", "/bin/sh"]
RUN /bin/busybox --install /bin && mkdir -p /a/b /opaque /etc && echo one > /a/one && ln /a/one /a/b/same \\
 && echo gone > /a/gone && echo old > /opaque/old && ln -s /a/one /link && mkfifo /a/pipe && chown 1234:70000 /a/b
RUN rm /a/gone && rm -r /opaque && mkdir /opaque && echo new > /opaque/new && chmod 4711 /a/one && touch -d @7 /a/b
RUN echo $((6*7)) > /answer && rm /link && mkdir /link && echo dir > /link/file && ln /answer /a/b/answer
ENV PATH=/bin
CMD ["cat", "/answer"]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[str, Path]:
    """(name in the registry, OCI layout) of an image of many layers that buildah built."""
    directory = tmp_path_factory.mktemp("buildah")
    shutil.copy("/bin/busybox", directory / "busybox")
    (directory / "Containerfile").write_text(CONTAINERFILE)
    storage = ["--root", str(directory / "root"), "--runroot", str(directory / "run"), "--storage-driver", "vfs"]
    buildah = ["buildah", *storage]
    name = f"{registry.host}/layers:1"
    build = [*buildah, "bud", "--isolation", "chroot", "--layers", "-t", name, str(directory)]
    subprocess.run(build, check=True, capture_output=True, env={**os.environ, "BUILDAH_ISOLATION": "chroot"})
    subprocess.run([*buildah, "push", "--tls-verify=false", name], check=True, capture_output=True)
    layout = directory / "layout"
    subprocess.run([*buildah, "push", name, f"oci:{layout}:1"], check=True, capture_output=True)
    yield name, layout
    shutil.rmtree(directory / "root", ignore_errors=True)


def test_an_image_of_many_layers_built_by_buildah_runs(daemon: Daemon, built: tuple[str, Path]) -> None:
    name, _ = built
    assert daemon.docker("run", "--rm", name).stdout == "42\n"
    script = "cat /a/b/same /opaque/new /link/file; ls /opaque; ls /a; stat -c %h /a/one"
    seen = daemon.docker("run", "--rm", name, "sh", "-c", script).stdout
    assert seen.split() == ["one", "new", "dir", "new", "b", "one", "pipe", "2"]


def test_a_container_sees_the_files_that_a_reference_unpacker_makes(
    daemon: Daemon, built: tuple[str, Path], tmp_path: Path
) -> None:
    name, layout = built
    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:1", str(bundle)], check=True, capture_output=True)
    container = daemon.docker("create", name, "sleep", "1000").stdout.strip()
    try:
        daemon.docker("start", container)
        archive = subprocess.run(
            ["docker", "cp", "-a", f"{container}:/", "-"], env=daemon.environment, check=True, capture_output=True
        ).stdout
    finally:
        daemon.docker("rm", "-f", container)
    ours = described(archive)
    theirs = dict(of_directory(bundle / "rootfs"))
    # What the runtime puts there, as docker does, and mount points.
    for path in ("dev", "proc", "sys", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf", ""):
        ours.pop(path, None)
        theirs.pop(path, None)
    assert len(theirs) > 250
    assert ours == theirs


def described(archive: bytes) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    contents: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.strip("/").removeprefix("./").strip(".")
            if path.split("/")[0] in ("dev", "proc", "sys"):
                continue
            content: object = ""
            kind = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.FIFOTYPE: "p"}.get(member.type, "f")
            if member.isreg():
                reader = tar.extractfile(member)
                assert reader is not None
                content = contents[member.name] = hashlib.sha256(reader.read()).hexdigest()
            elif member.islnk():
                content = contents[member.linkname]
            elif member.issym():
                content = member.linkname
            xattrs = {key: value for key, value in member.pax_headers.items() if "xattr" in key}
            found[path] = (kind, member.mode, member.uid, member.gid, int(member.mtime), xattrs, content)
    return found


def of_directory(root: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    for path in root.rglob("*"):
        status = path.lstat()
        kind, content = "f", ""
        if stat.S_ISDIR(status.st_mode):
            kind = "d"
        elif stat.S_ISLNK(status.st_mode):
            kind, content = "l", str(path.readlink())
        elif stat.S_ISFIFO(status.st_mode):
            kind = "p"
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        mode = stat.S_IMODE(status.st_mode)
        xattrs = {
            f"SCHILY.xattr.{key}": os.getxattr(path, key).decode() for key in os.listxattr(path, follow_symlinks=False)
        }
        yield (
            str(path.relative_to(root)),
            (kind, mode, status.st_uid, status.st_gid, int(status.st_mtime), xattrs, content),
        )


@pytest.fixture(scope="module")
def debian(daemon: Daemon) -> str:
    assert DEBIAN.exists(), "make it with tools/fixtures"
    daemon.hypercell("import", "--change", 'CMD ["python3", "-c", "print(6*7)"]', str(DEBIAN), "debian:test")
    return "debian:test"


def test_a_debian_root_runs_python(daemon: Daemon, debian: str) -> None:
    assert daemon.docker("run", "--rm", debian).stdout == "42\n"
    seen = daemon.docker(
        "run", "--rm", debian, "sh", "-c", "cat /etc/debian_version; dpkg -V base-files; id -un nobody"
    )
    assert seen.stdout.splitlines()[0].startswith("12.")


def test_a_debian_root_serves_nginx_on_a_published_port(daemon: Daemon, debian: str) -> None:
    container = daemon.docker("run", "-d", "-p", "127.0.0.1::80", debian, "nginx", "-g", "daemon off;").stdout.strip()
    try:
        address = daemon.docker("port", container, "80").stdout.strip()
        page = fetched(f"http://{address}/", daemon, container)
        assert "nginx" in page
    finally:
        daemon.docker("rm", "-f", container)


def fetched(url: str, daemon: Daemon, container: str) -> str:
    import time

    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline, daemon.docker("logs", container).stderr
            time.sleep(0.2)


def test_a_docker_archive_made_by_skopeo_runs(daemon: Daemon, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"1": busybox(run={"Cmd": ["echo", "from an archive"]})})
    archive = tmp_path / "image.tar"
    copy = ["skopeo", "--insecure-policy", "copy", f"oci:{layout}:1", f"docker-archive:{archive}:archived:1"]
    subprocess.run(copy, check=True, capture_output=True)
    assert "archived:1" in daemon.docker("load", "-i", str(archive)).stdout
    assert daemon.docker("run", "--rm", "archived:1").stdout == "from an archive\n"
    saved = tmp_path / "saved.tar"
    daemon.docker("save", "-o", str(saved), "archived:1")
    seen = subprocess.run(["skopeo", "inspect", f"docker-archive:{saved}"], check=True, capture_output=True, text=True)
    assert '"Layers"' in seen.stdout
