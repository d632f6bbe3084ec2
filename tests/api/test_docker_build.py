# SPDX-License-Identifier: Apache-2.0
"""`docker build` with the stock CLI (without BuildKit) and real VMs."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, running
from tests.support.images import tar
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("build") / "d", bridge="hcbuild0", subnet="172.27.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


def build(
    daemon: Daemon, context: Path, dockerfile: str, *options: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    (context / "Dockerfile").write_text(dockerfile)
    return daemon.docker("build", "--network=none", *options, str(context), check=check)


def made(built: subprocess.CompletedProcess[str]) -> str:
    found = re.search(r"^Successfully built ([0-9a-f]{12})$", built.stdout, re.MULTILINE)
    assert found is not None, built.stdout
    return found[1]


def run(daemon: Daemon, image: str, script: str) -> str:
    return daemon.docker("run", "--rm", "--network=none", image, "sh", "-c", script).stdout


def config(daemon: Daemon, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.docker("image", "inspect", image).stdout)[0]
    return found


def containers(daemon: Daemon) -> str:
    return daemon.docker("ps", "-aq").stdout


EVERYTHING = r"""
# a comment
ARG BASE=nothing
FROM ${BASE}
MAINTAINER somebody
ARG WHO=nobody
ENV GREETING=hello \
    NAME=$WHO
LABEL kind="test image"
WORKDIR /work/sub
RUN echo "$GREETING $NAME $WHO" >said && pwd >>said
RUN ["sh", "-c", "echo $0", "exec"]
COPY note dir /copied/
COPY --chown=nobody:nogroup --chmod=600 note ./mine
ADD packed.tar.gz /unpacked
COPY <<one <<"two" /inline/
$GREETING inline
one
$GREETING raw
two
RUN <<END
set -e
echo first >/lines
echo second >>/lines
END
USER nobody
RUN id -u >/tmp/uid
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
SHELL ["/bin/sh", "-ec"]
CMD echo $GREETING
"""


def test_every_instruction_has_its_effect(daemon: Daemon, context: Path) -> None:
    (context / "dir").mkdir()
    (context / "dir" / "script").write_text("#!/bin/sh\necho scripted\n")
    (context / "dir" / "script").chmod(0o755)
    (context / "note").write_text("a note\n")
    (context / "packed.tar.gz").write_bytes(subprocess.check_output(["gzip"], input=tar({"in/side": b"packed\n"})))
    arguments = ("--build-arg", f"BASE={IMAGE}", "--build-arg", "WHO=you")
    built = build(daemon, context, EVERYTHING, *arguments, "--label", "more=yes", "-t", "every:1", "-t", "every:2")
    image = config(daemon, "every:1")
    assert image["Id"] == config(daemon, "every:2")["Id"]
    assert image["Author"] == "somebody"
    settings = image["Config"]
    assert settings["Env"] == ["PATH=/bin", "GREETING=hello", "NAME=you"]
    assert settings["Labels"] == {"kind": "test image", "more": "yes"}
    assert (settings["WorkingDir"], settings["User"], settings["StopSignal"]) == ("/work/sub", "nobody", "SIGINT")
    assert settings["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert settings["Volumes"] == {"/data": {}}
    assert settings["Cmd"] == ["/bin/sh", "-ec", "echo $GREETING"]
    assert settings["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5 * 10**9}
    assert "exec\n" in built.stdout
    look = (
        "cat said; cat /copied/note; /copied/script; cat /unpacked/in/side /inline/one /inline/two /lines /tmp/uid;"
        "stat -c '%u %g %a' mine; stat -c %a /work/sub"
    )
    done = daemon.docker("run", "--rm", "--network=none", "-u", "root", "every:1", "sh", "-c", look)
    assert done.stdout.splitlines() == [
        *("hello you you", "/work/sub", "a note", "scripted", "packed", "hello inline", "$GREETING raw"),
        *("first", "second", "65534", "65534 65534 600", "755"),
    ]
    assert containers(daemon) == ""


STAGES = f"""
FROM {IMAGE} AS base
RUN mkdir -p /out/lib && echo made >/out/lib/a.so.1 && ln -s a.so.1 /out/lib/a.so && echo two >/out/two
FROM {IMAGE} AS unused
RUN false
FROM scratch AS final
COPY --from=base /out/lib /lib
COPY --from=base /out/t* /
COPY --from={IMAGE} /bin/busybox /bin/
FROM base
RUN echo not built
"""


def test_stages_are_built_where_they_are_needed_and_copied_from(daemon: Daemon, context: Path) -> None:
    built = build(daemon, context, STAGES, "--target", "final", "-t", "final")
    assert "RUN false" not in built.stdout and "not built" not in built.stdout
    assert len(config(daemon, "final")["RootFS"]["Layers"]) == 3
    look = ("/bin/busybox", "cat", "/lib/a.so", "/two")
    assert daemon.docker("run", "--rm", "--network=none", "final", *look).stdout == "made\ntwo\n"
    refused = build(daemon, context, STAGES, "--target", "nothing", check=False)
    assert 'target stage "nothing" could not be found' in refused.stderr


def test_steps_are_found_again_until_something_changes(daemon: Daemon, context: Path) -> None:
    (context / "file").write_text("1")
    dockerfile = f"FROM {IMAGE}\nARG A\nRUN echo once\nCOPY file /file\nRUN cat /file; echo $A\nCMD x\n"
    first = build(daemon, context, dockerfile)
    again = build(daemon, context, dockerfile)
    assert made(first) == made(again)
    assert (first.stdout.count("Using cache"), again.stdout.count("Using cache")) == (0, 5)
    (context / "file").touch()
    assert made(build(daemon, context, dockerfile)) == made(first)
    (context / "file").write_text("2")
    assert build(daemon, context, dockerfile).stdout.count("Using cache") == 2
    assert build(daemon, context, dockerfile, "--build-arg", "A=1").stdout.count("Using cache") == 1
    assert build(daemon, context, dockerfile, "--no-cache").stdout.count("Using cache") == 0


def test_what_is_ignored_is_not_there(daemon: Daemon, context: Path) -> None:
    for name in ("kept", "dropped", "dropped.but"):
        (context / name).write_text(name)
    (context / ".dockerignore").write_text("dropped*\n!dropped.but\n")
    built = build(daemon, context, f"FROM {IMAGE}\nCOPY . /all\n")
    assert run(daemon, made(built), "ls /all").split() == ["Dockerfile", "dropped.but", "kept"]
    refused = build(daemon, context, f"FROM {IMAGE}\nCOPY dropped /\n", check=False)
    assert "COPY failed: file not found in build context or excluded by .dockerignore" in refused.stderr
    # A client that ignores nothing is given no more.
    dockerfile = f"FROM {IMAGE}\nCOPY . /all\n".encode()
    packed = tar({"Dockerfile": dockerfile, "dropped": b"x", ".dockerignore": b"dropped"})
    sent = daemon.docker("build", "-q", "--network=none", "-", input=packed.decode())
    assert "dropped" not in run(daemon, sent.stdout.strip(), "ls /all")


def test_a_command_that_fails_ends_the_build_with_its_code(daemon: Daemon, context: Path) -> None:
    failed = build(daemon, context, f"FROM {IMAGE}\nRUN echo before; exit 7\nRUN echo never\n", check=False)
    assert failed.returncode == 7
    assert "before" in failed.stdout and "never" not in failed.stdout
    assert "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7" in failed.stderr
    assert containers(daemon) == ""


def test_triggers_of_a_base_are_carried_out_once(daemon: Daemon, context: Path) -> None:
    (context / "code").write_text("code\n")
    dockerfile = f"FROM {IMAGE}\nONBUILD COPY code /code\nONBUILD RUN cat /code >/triggered\n"
    build(daemon, context, dockerfile, "-t", "onbuild")
    built = build(daemon, context, "FROM onbuild\nRUN echo own\n", "-t", "child")
    assert "# Executing 2 build triggers" in built.stdout
    assert run(daemon, "child", "cat /triggered") == "code\n"
    assert not config(daemon, "child")["Config"].get("OnBuild")


def test_steps_go_with_their_image_and_the_cache_can_be_pruned(daemon: Daemon, context: Path) -> None:
    dockerfile = f"FROM {IMAGE}\nRUN echo prune me\nENV A=1\n"
    build(daemon, context, dockerfile, "-t", "named")
    parent = config(daemon, "named")["Parent"]
    assert parent.removeprefix("sha256:")[:12] not in daemon.docker("images", "-q").stdout
    assert parent.removeprefix("sha256:")[:12] in daemon.docker("images", "-aq").stdout
    assert parent not in {image["Id"] for image in daemon.call("GET", "/system/df")[1]["Images"]}
    daemon.docker("rmi", "named")
    assert daemon.docker("image", "inspect", parent, check=False).returncode == 1
    build(daemon, context, dockerfile, "-t", "named")
    parent = config(daemon, "named")["Parent"]
    status, answer = daemon.call("POST", "/build/prune")
    assert status == 200 and parent not in (answer["CachesDeleted"] or ())
    status, answer = daemon.call("POST", "/build/prune?all=1")
    assert status == 200 and parent in answer["CachesDeleted"]
    assert config(daemon, "named")["Parent"] == ""


@pytest.mark.parametrize(
    ("dockerfile", "said"),
    [
        ("FROM busybox:test\nRUN --mount=type=secret,id=x true\n", "needs BuildKit"),
        ("FROM busybox:test\nADD http://127.0.0.1/x /\n", "ADD of a URL is not built"),
        ("FROM\n", "dockerfile parse error on line 1"),
        ("FROM busybox:test\nWHAT x\n", "unknown instruction: WHAT"),
        ("RUN x\n", "no build stage"),
        ("FROM busybox:test\nCOPY a b c\n", "must be a directory and end with a /"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(daemon: Daemon, context: Path, dockerfile: str, said: str) -> None:
    for name in ("a", "b"):
        (context / name).touch()
    refused = build(daemon, context, dockerfile, check=False)
    assert refused.returncode == 1 and said in refused.stderr


def test_a_session_of_buildkit_is_told_what_to_do(daemon: Daemon) -> None:
    status, answer = daemon.call("POST", "/build?version=2")
    assert status == 501 and "DOCKER_BUILDKIT=0" in answer["message"]


def test_memory_and_tmpfs_of_a_command_are_what_was_asked_for(daemon: Daemon, context: Path) -> None:
    mount = "--mount=type=tmpfs,target=/scratch,size=1m"
    dockerfile = (
        f"FROM {IMAGE}\nRUN cat /sys/fs/cgroup/memory.max\nRUN {mount} grep /scratch /proc/mounts && touch /scratch/x\n"
    )
    built = build(daemon, context, dockerfile, "--memory", "64m", "--no-cache")
    assert "67108864\n" in built.stdout and "size=1024k" in built.stdout
    assert run(daemon, made(built), "ls /scratch") == ""


PLACES = f"""
FROM {IMAGE} AS source
RUN mkdir -p /from/d && echo s >/from/d/s && ln -s d /from/link && chown 5:6 /from/d/s && chmod 4711 /from/d/s
FROM {IMAGE}
RUN mkdir -p /there/sub /real /keeps && ln -s /real /linked && chmod 700 /keeps && ln -s /nowhere /there/dangling
WORKDIR /rel
COPY a one
COPY a two/
COPY a /there
COPY a /there/sub/b
COPY d /linked
COPY d /new/deep
COPY d/ /keeps/
COPY --chown=7:8 d /owned/deep
COPY --chown=nobody:nogroup a /there/nobody
COPY --from=source /from/link /followed
COPY --from=source /from/*/s /globbed/
COPY a a2 ./several/
COPY [ "with blank", "./with blank" ]
ADD owners.tar /archive
ADD --chown=9:9 owners.tar /rechowned
COPY a /there/dangling
RUN for top in rel there nowhere real new keeps owned followed globbed archive rechowned; do \\
  find /$top -exec stat -c '%n %F %a %u:%g' {{}} +; done
"""
PLACED = """
/rel directory 755 0:0
/rel/one regular file 640 0:0
/rel/two directory 755 0:0
/rel/two/a regular file 640 0:0
/rel/several directory 755 0:0
/rel/several/a regular file 640 0:0
/rel/several/a2 regular file 640 0:0
/rel/with blank regular file 640 0:0
/there directory 755 0:0
/there/sub directory 755 0:0
/there/sub/b regular file 640 0:0
/there/a regular file 640 0:0
/there/nobody regular file 640 65534:65534
/there/dangling symbolic link 777 0:0
/nowhere regular file 640 0:0
/real directory 755 0:0
/real/x regular file 640 0:0
/real/link symbolic link 777 0:0
/new directory 755 0:0
/new/deep directory 755 0:0
/new/deep/x regular file 640 0:0
/new/deep/link symbolic link 777 0:0
/keeps directory 700 0:0
/keeps/x regular file 640 0:0
/keeps/link symbolic link 777 0:0
/owned directory 755 7:8
/owned/deep directory 755 7:8
/owned/deep/x regular file 640 7:8
/owned/deep/link symbolic link 777 7:8
/followed directory 755 0:0
/followed/s regular file 4711 0:0
/globbed directory 755 0:0
/globbed/s regular file 4711 0:0
/archive directory 755 0:0
/archive/f regular empty file 600 3:4
/rechowned directory 755 9:9
/rechowned/f regular empty file 600 9:9
"""


def test_files_are_put_where_docker_puts_them(daemon: Daemon, context: Path) -> None:
    for name in ("a", "a2", "with blank", "d/x"):
        (context / name).parent.mkdir(exist_ok=True)
        (context / name).write_text(name)
        (context / name).chmod(0o640)
    (context / "d" / "link").symlink_to("/etc/passwd")
    with tarfile.open(context / "owners.tar", "w") as archive:
        member = tarfile.TarInfo("f")
        member.mode, member.uid, member.gid = 0o600, 3, 4
        archive.addfile(member)
    built = build(daemon, context, PLACES)
    told = {line for line in built.stdout.splitlines() if line.startswith("/")}
    assert told == set(PLACED.strip().splitlines())


def test_our_own_command_builds_as_dockers_does(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text(
        f"FROM {IMAGE} AS a\nARG A\nCOPY . /all\nRUN echo $A; ls /all\nFROM a\nRUN false\n"
    )
    (context / "kept").touch()
    (context / "dropped").touch()
    (context / ".dockerignore").write_text("dropped\n")
    words = ("build", "--network=none", "--build-arg", "A=given", "--target", "a", "-t", "ours:1", "--label", "a=b")
    built = daemon.hypercell(*words, "--iidfile", str(context / "id"), str(context))
    assert "given\nDockerfile\nkept\n" in built.stdout
    assert config(daemon, "ours:1")["Id"] == (context / "id").read_text()
    assert config(daemon, "ours:1")["Config"]["Labels"] == {"a": "b"}
    failed = daemon.hypercell("build", "--network=none", str(context), check=False)
    assert failed.returncode == 1 and "returned a non-zero code: 1" in failed.stderr
    quiet = daemon.hypercell("build", "-q", "-", input=f"FROM {IMAGE}\n")
    assert quiet.stdout.strip() == config(daemon, IMAGE)["Id"]


def waiting(daemon: Daemon, context: Path) -> subprocess.Popen[bytes]:
    """A build that waits for ever in its only command."""
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN sleep 1000\n")
    building = daemon.background("build", "--no-cache", "--network=none", str(context))
    while "Up" not in daemon.docker("ps").stdout:
        assert building.poll() is None
    return building


def test_a_client_that_goes_takes_its_build_along(daemon: Daemon, context: Path) -> None:
    building = waiting(daemon, context)
    building.kill()
    building.wait()
    while containers(daemon):
        pass


def test_builds_do_not_disturb_each_other(daemon: Daemon, tmp_path: Path) -> None:
    started = []
    for number in range(3):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "file").write_text(f"{number}\n")
        (directory / "Dockerfile").write_text(
            f"FROM {IMAGE}\nRUN echo same >/same\nCOPY file /\nRUN cat /file >>/same\n"
        )
        words = ("build", "--no-cache", "--network=none", "-t", f"together:{number}", str(directory))
        started.append(daemon.background(*words))
    assert [each.wait(100) for each in started] == [0, 0, 0]
    assert [run(daemon, f"together:{number}", "cat /same") for number in range(3)] == [
        f"same\n{number}\n" for number in range(3)
    ]


def test_a_daemon_that_comes_back_removes_what_a_build_has_left(tmp_path: Path, context: Path) -> None:
    with running(tmp_path / "d", bridge="hcbuild1", subnet="172.28.0.0/16", pool_memory=0) as own:
        load_busybox(own)
        building = waiting(own, context)
        own.kill()
        building.wait()
        own.start()
        assert containers(own) == ""
        own.docker("system", "prune", "-af")
        assert own.leftovers() == []


def test_what_a_command_writes_to_a_volume_goes_with_it(daemon: Daemon, context: Path) -> None:
    dockerfile = (
        f"FROM {IMAGE}\nVOLUME /data\nRUN echo written >/data/file && cat /data/file\nRUN ls /data; echo done\n"
    )
    built = build(daemon, context, dockerfile, "--no-cache")
    assert "written\n" in built.stdout and "file\ndone\n" not in built.stdout
    assert daemon.docker("volume", "ls", "-q").stdout == ""


def test_commands_have_the_network_that_was_asked_for(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN ip -4 addr\nRUN --network=none ip -4 addr; echo alone\n")
    built = daemon.docker("build", "--no-cache", "--add-host", "other:10.1.2.3", str(context))
    with_network, _, without = built.stdout.partition("Step 3/3")
    assert "inet 172.27." in with_network
    assert "inet 172.27." not in without and "alone\n" in without
