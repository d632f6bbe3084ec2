# SPDX-License-Identifier: Apache-2.0
"""The machine and the daemon: info, version, doctor, system df, system prune."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

import hypercell
from hypercell.cli import network, output, volume
from hypercell.cli.client import ApiError, Client
from hypercell.cli.exit import Exit
from hypercell.cli.options import FORMAT, filter_query


@click.command("info")
@FORMAT
@click.pass_obj
def info_command(client: Client, template: str | None) -> None:
    """Show the daemon's machine: containers, images, accelerator and why it was chosen.

    \b
    hypercell info --format json
    """
    found = client.call("GET", "/info")
    if template == "json":
        click.echo(json.dumps(found))
        return
    if template:
        click.echo(output.render(template, found))
        return
    running = f"{found['ContainersRunning']} running, {found['ContainersPaused']} paused"
    lines = [
        ("Containers", f"{found['Containers']} ({running}, {found['ContainersStopped']} stopped)"),
        ("Images", found["Images"]),
        ("Server Version", found["ServerVersion"]),
        ("Storage Driver", found["Driver"]),
        *((str(key), value) for key, value in found.get("DriverStatus") or ()),
        ("Kernel Version", found["KernelVersion"]),
        ("Operating System", found["OperatingSystem"]),
        ("CPUs", found["NCPU"]),
        ("Total Memory", output.size(found["MemTotal"], binary=True)),
        ("Name", found["Name"]),
        ("Root Dir", found["DockerRootDir"]),
    ]
    for key, value in lines:
        click.echo(f"{key}: {value}")
    for warning in found.get("Warnings") or ():
        output.warn(f"WARNING: {warning}")


@click.command("version")
@FORMAT
@click.pass_obj
def version_command(client: Client, template: str | None) -> None:
    """Show the versions of this command and of the daemon.

    \b
    hypercell version --format '{{.Server.Version}}'
    """
    found: dict[str, Any] = {"Client": {"Version": hypercell.__version__, "ApiVersion": "1.51"}, "Server": None}
    failure: ApiError | None = None
    try:
        found["Server"] = client.call("GET", "/version")
    except ApiError as error:
        failure = error
    if template == "json":
        click.echo(json.dumps(found))
    elif template:
        click.echo(output.render(template, found))
    else:
        click.echo(f"Client:\n Version:      {hypercell.__version__}\n API version:  1.51")
        if found["Server"]:
            server = found["Server"]
            click.echo(f"\nServer:\n Version:      {server['Version']}\n API version:  {server['ApiVersion']}")
            for part in server.get("Components") or ():
                click.echo(f" {part['Name']}: {part['Version']}")
    if failure is not None:
        raise failure


def _checks(client: Client) -> list[dict[str, Any]]:
    """The daemon's findings; when none answers, those of the daemon's program, which may say why it does not."""
    try:
        found = client.call("GET", "/hypercell/doctor")
    except ApiError as error:
        program = Path(sys.executable).with_name("hypercelld")
        if error.status or not program.exists():
            raise
        output.warn(error.message)
        done = subprocess.run([program, "--doctor"], check=False, capture_output=True, text=True)
        try:
            found = json.loads(done.stdout)
        except ValueError:
            raise ApiError(f"hypercelld --doctor failed: {done.stderr.strip()[-500:]}") from None
    checks: list[dict[str, Any]] = found["checks"]
    return checks


_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command("doctor")
@FORMAT
@click.pass_obj
def doctor_command(client: Client, template: str | None) -> None:
    """Say what this machine lacks, and which accelerator was chosen and why.

    \b
    hypercell doctor
    """
    checks = _checks(client)
    if template == "json":
        click.echo(json.dumps(checks))
    else:
        for check in checks:
            click.echo(f"[{_MARKS.get(check['status'], check['status'])}] {check['name']}: {check['detail']}")
            if check.get("hint") and check["status"] != "ok":
                click.echo(f"       {check['hint']}")
    if any(check["status"] == "fail" for check in checks):
        raise Exit(1)


@click.group("system", invoke_without_command=True)
@click.pass_context
def system_command(context: click.Context) -> None:
    """Disk usage and cleaning up."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_DF = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}


@system_command.command("df")
@FORMAT
@click.pass_obj
def df_command(client: Client, template: str | None) -> None:
    """Show what takes space on the disk.

    \b
    hypercell system df
    """
    found = client.call("GET", "/system/df")
    images, containers = found["Images"] or [], found["Containers"] or []
    used = [image for image in images if image.get("Containers", 0) > 0]
    running = [item for item in containers if item["State"] in ("running", "paused", "restarting")]
    total = found["LayersSize"]
    free = max(0, total - sum(image["Size"] for image in used))
    written = sum(item.get("SizeRw", 0) for item in containers)
    volumes = found["Volumes"] or []
    kept = [item["UsageData"]["Size"] for item in volumes]
    loose = [item["UsageData"]["Size"] for item in volumes if not item["UsageData"]["RefCount"]]
    idle = sum(item.get("SizeRw", 0) for item in containers if item not in running)
    listed = [
        _df_row("Images", len(images), len(used), total, free),
        _df_row("Containers", len(containers), len(running), written, idle),
        _df_row("Local Volumes", len(kept), len(kept) - len(loose), sum(kept), sum(loose)),
        _df_row("Build Cache", 0, 0, 0, 0),
    ]
    output.rows(listed, _DF, template)


def _df_row(kind: str, count: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": str(count),
        "Active": str(active),
        "Size": output.size(size, digits=4),
        "Reclaimable": output.size(reclaimable, digits=4) + share,
    }


@system_command.command("prune")
@click.option("-a", "--all", "everything", is_flag=True, help="All unused images, not only untagged ones.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--volumes", is_flag=True, help="Unused volumes too that nobody has named.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only matching ones.")
@click.pass_obj
def prune_command(client: Client, everything: bool, force: bool, volumes: bool, filters: tuple[str, ...]) -> None:
    """Remove stopped containers, networks that nobody is on, and unused images.

    \b
    hypercell system prune -f
    hypercell system prune --volumes
    """
    which = "all images without a container" if everything else "all untagged images"
    which = f"all networks without one and {which}"
    which += " and all anonymous volumes without one" if volumes else ""
    if not (force or click.confirm(f"This will remove all stopped containers, {which}. Continue?")):
        return
    wanted = filter_query(filters)
    containers = client.call("POST", "/containers/prune", {"filters": wanted})
    if containers["ContainersDeleted"]:
        click.echo("Deleted Containers:\n" + "\n".join(containers["ContainersDeleted"]) + "\n")
    network.prune(client, wanted)
    freed = volume.prune(client, {key: wanted[key] for key in wanted if key != "until"}) if volumes else 0
    images = client.call("POST", "/images/prune", {"filters": {**wanted, "dangling": ["0" if everything else "1"]}})
    if images["ImagesDeleted"]:
        click.echo("Deleted Images:")
        for entry in images["ImagesDeleted"]:
            for verb, what in entry.items():
                click.echo(f"{verb.lower()}: {what}")
        click.echo()
    freed += containers["SpaceReclaimed"] + images["SpaceReclaimed"]
    click.echo(f"Total reclaimed space: {output.size(freed)}")
