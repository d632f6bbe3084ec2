# SPDX-License-Identifier: Apache-2.0
"""Images: images, pull, load, save, import, tag, rmi, history."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from hypercell.cli import output, parse, progress
from hypercell.cli.archives import check_target, write_archive
from hypercell.cli.client import ApiError, Client, Query, quote
from hypercell.cli.exit import Exit
from hypercell.cli.options import FILTER, FORMAT, filter_query

_CHUNK = 1 << 20
_IMAGES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
}


@click.command("images")
@click.option("-a", "--all", "everything", is_flag=True, help="Nameless images too that others were made of.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@click.option("--no-trunc", is_flag=True, help="Do not shorten ids.")
@click.option("--digests", is_flag=True, help="Show digests.")
@FILTER
@FORMAT
@click.argument("repository", required=False)
@click.pass_obj
def images_command(
    client: Client,
    everything: bool,
    quiet: bool,
    no_trunc: bool,
    digests: bool,
    filters: tuple[str, ...],
    template: str | None,
    repository: str | None,
) -> None:
    """List images.

    \b
    hypercell images
    hypercell images --format json busybox
    """
    wanted = filter_query(filters)
    if repository:
        wanted["reference"] = [repository]
    found = client.call("GET", "/images/json", {"all": everything, "filters": wanted})
    columns = dict(_IMAGES)
    if digests:
        columns = {"Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", **_IMAGES}
    listed = [row for item in found for row in _image_rows(item, no_trunc)]
    output.rows(listed, columns, template, "ID" if quiet else None)


def _image_rows(item: dict[str, Any], full: bool) -> Iterator[dict[str, Any]]:
    by_repository = {digest.partition("@")[0]: digest.partition("@")[2] for digest in item.get("RepoDigests") or ()}
    tags = item.get("RepoTags") or [f"{name}:<none>" for name in by_repository] or ["<none>:<none>"]
    for name in tags:
        repository, _, tag = name.rpartition(":")
        yield {
            "Repository": repository,
            "Tag": tag,
            "ID": item["Id"] if full else item["Id"].removeprefix("sha256:")[:12],
            "Digest": by_repository.get(repository, "<none>"),
            "CreatedAt": output.moment(item["Created"]) if item["Created"] > 0 else "N/A",
            "CreatedSince": output.ago(item["Created"]) if item["Created"] > 0 else "N/A",
            "Size": output.size(item["Size"]),
            "VirtualSize": output.size(item["Size"]),
            **dict.fromkeys(("Containers", "SharedSize", "UniqueSize"), "N/A"),
        }


@click.command("pull")
@click.option("--platform", default="", help="Such as linux/amd64.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.argument("image")
@click.pass_obj
def pull_command(client: Client, image: str, platform: str, quiet: bool) -> None:
    """Fetch an image from a registry.

    \b
    hypercell pull localhost:5000/busybox:latest
    """
    progress.pull(client, image, platform, quiet=quiet)
    if quiet:
        click.echo(image)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _upload(client: Client, path: str, query: Query, source: str | None) -> None:
    """POST the file *source* (None: stdin) and show the progress that is answered."""
    with contextlib.ExitStack() as stack:
        try:
            file = sys.stdin.buffer if source is None else stack.enter_context(Path(source).open("rb"))
        except OSError as error:
            raise click.ClickException(f"cannot read {source}: {error.strerror}") from error
        headers = {"Content-Type": "application/x-tar"}
        progress.show(client.lines("POST", path, query, stream=_chunks(file), headers=headers))


@click.command("load")
@click.option("-i", "--input", "source", type=click.Path(), help="A file instead of stdin.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_obj
def load_command(client: Client, source: str | None, quiet: bool) -> None:
    """Load images from a docker or OCI archive.

    \b
    hypercell load -i busybox.tar
    skopeo copy dir:image docker-archive:/dev/stdout | hypercell load
    """
    if source is None and sys.stdin.isatty():
        raise click.ClickException("requested load from stdin, but stdin is empty")
    _upload(client, "/images/load", {"quiet": quiet}, source)


@click.command("save")
@click.option("-o", "--output", "target", type=click.Path(), help="A file instead of stdout.")
@click.argument("images", nargs=-1, required=True)
@click.pass_obj
def save_command(client: Client, target: str | None, images: tuple[str, ...]) -> None:
    """Write images to an archive that docker and OCI tools read.

    \b
    hypercell save -o busybox.tar busybox
    """
    check_target(target)
    write_archive(client.open("GET", "/images/get", {"names": list(images)}), target)


@click.command("import")
@click.option("-c", "--change", multiple=True, metavar="INSTRUCTION", help="Apply CMD, ENV, … to the image.")
@click.option("-m", "--message", default="", help="A message for its history.")
@click.option("--platform", default="", help="Such as linux/amd64.")
@click.argument("source")
@click.argument("reference", required=False, default="")
@click.pass_obj
def import_command(
    client: Client, change: tuple[str, ...], message: str, platform: str, source: str, reference: str
) -> None:
    """Make an image of one layer from a root tar (a file, or - for stdin).

    \b
    hypercell import --change 'CMD ["sh"]' root.tar my/image:1
    """
    name, tag = parse.name_and_tag(reference)
    query = {
        "fromSrc": "-",
        "repo": name,
        "tag": tag,
        "message": message,
        "changes": list(change),
        "platform": platform,
    }
    _upload(client, "/images/create", query, None if source == "-" else source)


@click.command("tag")
@click.argument("source")
@click.argument("target")
@click.pass_obj
def tag_command(client: Client, source: str, target: str) -> None:
    """Give an image another name.

    \b
    hypercell tag busybox:latest localhost:5000/box:1
    """
    name, tag = parse.name_and_tag(target)
    client.call("POST", f"/images/{quote(source)}/tag", {"repo": name, "tag": tag or "latest"})


@click.command("rmi")
@click.option("-f", "--force", is_flag=True, help="Also when several names or stopped containers use it.")
@click.option("--no-prune", is_flag=True, help="Keep untagged parents.")
@click.argument("images", nargs=-1, required=True)
@click.pass_obj
def rmi_command(client: Client, images: tuple[str, ...], force: bool, no_prune: bool) -> None:
    """Remove images.

    \b
    hypercell rmi busybox
    """
    failed = False
    for name in images:
        try:
            removed = client.call("DELETE", f"/images/{quote(name)}", {"force": force, "noprune": no_prune})
        except ApiError as error:
            output.warn(error.said)
            failed = not (force and error.status == 404) or failed
            continue
        for entry in removed:
            for verb, what in entry.items():
                click.echo(f"{verb}: {what}")
    if failed:
        raise Exit(1)


_HISTORY = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT"}


@click.command("history")
@click.option("--no-trunc", is_flag=True, help="Do not shorten anything.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@FORMAT
@click.argument("image")
@click.pass_obj
def history_command(client: Client, image: str, no_trunc: bool, quiet: bool, template: str | None) -> None:
    """Show how an image was made.

    \b
    hypercell history busybox
    """
    found = []
    for item in client.call("GET", f"/images/{quote(image)}/history"):
        made = item["CreatedBy"] if no_trunc or len(item["CreatedBy"]) <= 45 else item["CreatedBy"][:44] + "…"
        found.append(
            {
                "ID": item["Id"] if no_trunc else item["Id"].removeprefix("sha256:")[:12],
                "CreatedAt": datetime.fromtimestamp(item["Created"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "CreatedSince": output.ago(item["Created"]),
                "CreatedBy": made,
                "Size": output.size(item["Size"]),
                "Comment": item["Comment"],
            }
        )
    output.rows(found, _HISTORY, template, "ID" if quiet else None)
