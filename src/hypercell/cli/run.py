# SPDX-License-Identifier: Apache-2.0
"""`run` and `create`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from hypercell.cli import health, mounts, parse, terminal
from hypercell.cli.attach import Waiter, converse, open_attach
from hypercell.cli.client import ApiError, Client, quote
from hypercell.cli.exit import Exit, start_failure
from hypercell.cli.network import endpoint
from hypercell.cli.options import DETACH_KEYS, SIG_PROXY
from hypercell.cli.output import warn
from hypercell.cli.progress import pull

# docker's -h is another option of these two.
_SETTINGS = {"allow_interspersed_args": False, "help_option_names": ["--help"]}


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("-i", "--interactive", is_flag=True, help="Keep stdin open."),
    click.option("-t", "--tty", is_flag=True, help="Give it a terminal."),
    click.option("--name", default="", help="A name; one is made up otherwise."),
    click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set an environment variable."),
    click.option("--env-file", multiple=True, metavar="FILE", help="Read environment variables from a file."),
    click.option("-w", "--workdir", default="", help="Working directory inside."),
    click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="User name or id."),
    click.option("--entrypoint", metavar="COMMAND", help="Replace the image's entrypoint."),
    click.option("-h", "--hostname", default="", help="Host name inside."),
    click.option("--domainname", default="", help="Domain name inside."),
    click.option("-l", "--label", multiple=True, metavar="KEY=VALUE", help="Set a label."),
    click.option("--memory", "-m", metavar="BYTES", help="Memory limit, such as 512m."),
    click.option("--memory-reservation", metavar="BYTES", help="What it keeps when its VM is short of memory."),
    click.option("--cpus", type=float, help="CPUs, such as 1.5."),
    click.option("--size", default="", metavar="CLASS", help="Size class s1 to l3 (default s4: 1 CPU, 512 MB)."),
    click.option("--pids-limit", type=int, help="Most processes inside."),
    click.option("--read-only", is_flag=True, help="Make the root file system read-only."),
    click.option("--storage-opt", multiple=True, metavar="size=BYTES", help="Size of its writable layer."),
    click.option("--tmpfs", multiple=True, metavar="PATH[:OPTIONS]", help="Mount a tmpfs."),
    click.option("--shm-size", metavar="BYTES", help="Size of /dev/shm."),
    click.option("--ulimit", multiple=True, metavar="NAME=SOFT[:HARD]", help="Set a resource limit."),
    click.option("--pid", default="", metavar="MODE", help="host: the processes of its VM; container:X: those of X."),
    click.option(
        "--ipc",
        default="",
        metavar="MODE",
        help="host: that of its VM; none: without /dev/shm; shareable; container:X: that of X, if it is shareable.",
    ),
    click.option("--uts", default="", metavar="MODE", help="host: the host name of its VM."),
    click.option("--cgroupns", default="", metavar="MODE", help="host: the control groups of its VM."),
    click.option("--device-cgroup-rule", multiple=True, metavar="RULE", help="Allow a device, such as 'c 10:200 rwm'."),
    click.option("--cap-add", multiple=True, help="Add a capability."),
    click.option("--cap-drop", multiple=True, help="Drop a capability."),
    click.option("--privileged", is_flag=True, help="All capabilities, no filters: the VM is the wall."),
    click.option("--isolation", default="", metavar="shared|cold", help="Whether its VM may share pages as a clone."),
    click.option("--security-opt", multiple=True, metavar="OPTION", help="no-new-privileges, seccomp=FILE|unconfined."),
    click.option("--sysctl", multiple=True, metavar="KEY=VALUE", help="Set a kernel parameter of its VM."),
    click.option("--group-add", multiple=True, metavar="GROUP", help="An additional group."),
    click.option("--init", is_flag=True, help="Run an init that reaps and forwards signals."),
    click.option("--restart", default="no", metavar="POLICY", help="no, always, unless-stopped, on-failure[:max]."),
    click.option("--rm", is_flag=True, help="Remove it when it ends."),
    click.option("--log-driver", default="", metavar="DRIVER", help="How its log is kept: json-file, local, none."),
    click.option("--log-opt", multiple=True, metavar="KEY=VALUE", help="max-size, max-file, compress, tag, labels, …"),
    click.option("--stop-signal", default="", help="Signal that stops it (default: the image's, else SIGTERM)."),
    click.option("--stop-timeout", type=int, help="Seconds from that signal to SIGKILL (default 10)."),
    *health.OPTIONS,
    click.option("-p", "--publish", multiple=True, metavar="[[IP:]HOST:]PORT[/PROTO]", help="Publish a port."),
    click.option("-P", "--publish-all", is_flag=True, help="Publish all exposed ports on random ones."),
    *mounts.OPTIONS,
    click.option("--expose", multiple=True, metavar="PORT[/PROTO]", help="Declare a port."),
    click.option(
        "--network", default="", metavar="NETWORK", help="bridge, none, one of your own, or container:X: those of X."
    ),
    click.option("--network-alias", multiple=True, metavar="NAME", help="A name more on a network of your own."),
    click.option("--ip", default="", metavar="IP", help="Its address on a network of your own."),
    click.option("--mac-address", default="", metavar="MAC", help="Its MAC address."),
    click.option("--add-host", multiple=True, metavar="NAME:IP", help="An entry of /etc/hosts."),
    click.option("--dns", multiple=True, metavar="IP", help="Name server instead of the network's."),
    click.option(
        "--pull",
        "pull_policy",
        type=click.Choice(["missing", "always", "never"]),
        default="missing",
        show_default=True,
        help="When to pull the image first.",
    ),
    click.option("--platform", default="", help="Platform of the image, such as linux/amd64."),
    click.argument("image"),
    click.argument("command", nargs=-1, type=click.UNPROCESSED),
)


def _container_options(function: Any) -> Any:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def _body(options: dict[str, Any], attach: bool) -> dict[str, Any]:
    exposed, bindings = parse.ports(options["publish"])
    more, _ = parse.ports(options["expose"])
    volumes, mounted = mounts.volumes(options)
    entrypoint = options["entrypoint"]
    host: dict[str, Any] = {
        "AutoRemove": options["rm"],
        "CapAdd": list(options["cap_add"]) or None,
        "CapDrop": list(options["cap_drop"]) or None,
        "Dns": list(options["dns"]),
        "ExtraHosts": list(options["add_host"]) or None,
        "GroupAdd": list(options["group_add"]) or None,
        "Init": options["init"] or None,
        "Isolation": options["isolation"],
        "CgroupnsMode": options["cgroupns"],
        "DeviceCgroupRules": list(options["device_cgroup_rule"]) or None,
        "IpcMode": options["ipc"],
        "LogConfig": {"Type": options["log_driver"], "Config": parse.pairs(options["log_opt"])},
        "Memory": parse.memory(options["memory"]) if options["memory"] else 0,
        "MemoryReservation": parse.memory(options["memory_reservation"]) if options["memory_reservation"] else 0,
        "PidMode": options["pid"],
        "UTSMode": options["uts"],
        "NanoCpus": round((options["cpus"] or 0) * 1e9),
        "NetworkMode": options["network"] or "default",
        "PidsLimit": options["pids_limit"],
        "PortBindings": bindings,
        "Privileged": options["privileged"],
        "PublishAllPorts": options["publish_all"],
        "ReadonlyRootfs": options["read_only"],
        "RestartPolicy": parse.restart_policy(options["restart"]),
        "SecurityOpt": [_security_option(value) for value in options["security_opt"]] or None,
        "ShmSize": parse.memory(options["shm_size"]) if options["shm_size"] else 0,
        "StorageOpt": parse.pairs(options["storage_opt"]) or None,
        "Sysctls": parse.pairs(options["sysctl"]) or None,
        "Tmpfs": {value.partition(":")[0]: value.partition(":")[2] for value in options["tmpfs"]} or None,
        "Ulimits": parse.ulimits(options["ulimit"]) or None,
        **mounted,
    }
    if options["size"]:
        host["Annotations"] = {"io.hypercell.size": options["size"]}
    return {
        "Image": options["image"],
        "Cmd": list(options["command"]) or None,
        "Entrypoint": None if entrypoint is None else [entrypoint],
        "Env": parse.environment(options["env"], options["env_file"]),
        "ExposedPorts": {**exposed, **more},
        "Hostname": options["hostname"],
        "Domainname": options["domainname"],
        "Labels": parse.pairs(options["label"]),
        "User": options["user"],
        "WorkingDir": options["workdir"],
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "StdinOnce": options["interactive"] and attach,
        "AttachStdin": options["interactive"] and attach,
        "AttachStdout": attach,
        "AttachStderr": attach,
        "StopSignal": options["stop_signal"] or None,
        "StopTimeout": options["stop_timeout"],
        "Healthcheck": health.health_check(options),
        **volumes,
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": _endpoints(options)},
    }


def _endpoints(options: dict[str, Any]) -> dict[str, Any]:
    """What is asked of its network, if anything."""
    wishes = endpoint(options["network_alias"], options["ip"], options["mac_address"])
    return {options["network"] or "default": wishes} if wishes else {}


def _security_option(text: str) -> str:
    """`seccomp=FILE` carries the file's content, as docker's client sends it."""
    key, equals, value = text.partition("=")
    if key == "seccomp" and equals and value not in ("unconfined", "builtin"):
        try:
            with Path(value).open() as file:
                return "seccomp=" + json.dumps(json.load(file))
        except (OSError, ValueError) as error:
            raise click.UsageError(f"cannot read the seccomp profile {value}: {error}") from error
    return text


def _create(client: Client, options: dict[str, Any], attach: bool) -> str:
    if options["rm"] and options["restart"] not in ("no", ""):
        raise click.UsageError("Conflicting options: --restart and --rm")
    body = _body(options, attach)
    query = {"name": options["name"], "platform": options["platform"]}
    if options["pull_policy"] == "always":
        pull(client, options["image"], options["platform"], err=True)
    try:
        answer = client.call("POST", "/containers/create", query, body)
    except ApiError as error:
        if error.status != 404 or options["pull_policy"] != "missing" or "No such image" not in error.message:
            raise
        warn(f"Unable to find image '{options['image']}' locally")
        pull(client, options["image"], options["platform"], err=True)
        answer = client.call("POST", "/containers/create", query, body)
    for warning in answer.get("Warnings") or ():
        warn(f"WARNING: {warning}")
    return str(answer["Id"])


@click.command("create", context_settings=_SETTINGS)
@_container_options
@click.pass_obj
def create_command(client: Client, /, **options: Any) -> None:
    """Create a container without starting it; prints its id.

    \b
    hypercell create --name web -p 8080:80 nginx
    """
    click.echo(_create(client, options, attach=False))


@click.command("run", context_settings=_SETTINGS)
@click.option("-d", "--detach", is_flag=True, help="Let it run in the background; prints its id.")
@SIG_PROXY
@DETACH_KEYS
@click.option("--cidfile", default="", metavar="FILE", help="Write the id to a file that does not exist yet.")
@_container_options
@click.pass_obj
def run_command(
    client: Client, /, detach: bool, sig_proxy: bool, detach_keys: str, cidfile: str, **options: Any
) -> None:
    """Run a command in a new container, in a virtual machine of its own.

    \b
    hypercell run --rm busybox echo hello
    hypercell run --rm -it busybox sh
    hypercell run -d --name web --size m1 -p 8080:80 nginx
    hypercell run --rm -v data:/data busybox ls /data
    hypercell run -d --health-cmd "wget -qO- localhost || exit 1" --health-interval 10s nginx
    """
    keys = terminal.detach_sequence(detach_keys)
    if options["tty"] and options["interactive"] and not detach and not terminal.stdin_is_tty():
        raise click.ClickException("the input device is not a TTY")
    with _id_file(cidfile) as write_id:
        identifier = _create(client, options, attach=not detach)
        write_id(identifier)
    if detach:
        _start(client, identifier)
        click.echo(identifier)
        return
    raise Exit(_run_attached(client, identifier, options, keys, sig_proxy))


@contextlib.contextmanager
def _id_file(name: str) -> Iterator[Callable[[str], Any]]:
    """Claims the file before there is a container, and leaves none behind when there comes to be none."""
    if not name:
        yield lambda _: None
        return
    path = Path(name)
    try:
        file = path.open("x")
    except OSError as error:
        raise click.BadOptionUsage("cidfile", f"cannot write the id to {name}: {error.strerror}") from error
    try:
        with file:
            yield file.write
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _run_attached(client: Client, identifier: str, options: dict[str, Any], keys: bytes, sig_proxy: bool) -> int:
    is_tty, stdin = options["tty"], options["interactive"]
    session = open_attach(client, identifier, stdin, is_tty, keys)
    ended = Waiter(client, identifier, "removed" if options["rm"] else "next-exit")
    _start(client, identifier)
    converse(client, f"/containers/{identifier}", session, stdin, is_tty, sig_proxy)
    return 0 if session.detached else ended.result()


def _start(client: Client, identifier: str) -> None:
    try:
        client.call("POST", f"/containers/{quote(identifier)}/start")
    except ApiError as error:
        warn(error.said)
        raise Exit(start_failure(error.message)) from None
