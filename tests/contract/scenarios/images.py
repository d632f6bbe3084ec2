# SPDX-License-Identifier: Apache-2.0
"""Images: listed, inspected, tagged, removed, saved and loaded."""

from __future__ import annotations

from urllib.parse import quote

from tests.contract import read
from tests.contract.talk import IMAGE, Talk, archive, image
from tests.support.images import Image, busybox_layer, tar


def listed(talk: Talk) -> None:
    talk.ask("GET", "/images/json")
    for query in (
        "all=1",
        "digests=1",
        'filters={"reference":["contract/*"]}',
        'filters={"reference":["other"]}',
        'filters={"label":["made=by hand"]}',
        'filters={"label":["made=otherwise"]}',
        'filters={"dangling":["true"]}',
        'filters={"dangling":["odd"]}',
        f'filters={{"before":["{IMAGE}"]}}',
        f'filters={{"since":["{IMAGE}"]}}',
        'filters={"before":["nope"]}',
        'filters={"odd":["x"]}',
        "filters=odd",
    ):
        talk.ask("GET", f"/images/json?{quote(query, safe='=&')}", title=f"GET /images/json?{query}")


def inspected(talk: Talk) -> None:
    view = talk.ask("GET", f"/images/{IMAGE}/json")
    talk.ask("GET", f"/images/{IMAGE}/history")
    identifier = view["Id"].removeprefix("sha256:")
    for name, reference in {"id": view["Id"], "hexadecimal id": identifier, "prefix": identifier[:12]}.items():
        talk.ask("GET", f"/images/{reference}/json", title=f"by {name}", reader=lambda answer: answer.status)
    for reference in ("contract/box", "contract/box:2", "UPPER", "a:b:c", "x@sha256:1"):
        talk.ask("GET", f"/images/{reference}/json", title=f"inspect {reference}", reader=_status_and_message)


def _status_and_message(answer: read.Answer) -> object:
    return read.plain(answer) if answer.status >= 400 else None


def tagged_and_removed(talk: Talk) -> None:
    talk.ask("POST", f"/images/{IMAGE}/tag?repo=contract/other&tag=2")
    talk.ask("POST", f"/images/{IMAGE}/tag?repo=contract/other")
    talk.ask("GET", "/images/contract/other:2/json", title="the tags then")
    talk.steps["the tags then"]["body"] = talk.steps["the tags then"]["body"]["RepoTags"]
    for query in ("repo=UPPER", "repo=", "repo=x&tag=no%20good", "repo=x@sha256:1"):
        talk.ask("POST", f"/images/{IMAGE}/tag?{query}")
    talk.ask("DELETE", "/images/contract/other")
    talk.ask("DELETE", "/images/contract/other")
    talk.ask("DELETE", "/images/contract/other:2?force=1")


def removed_while_in_use(talk: Talk) -> None:
    made = Image([busybox_layer(), tar({"x": b"other"})])
    talk.ask("POST", "/images/load?quiet=1", archive(made, "contract/used:1"))
    talk.labels.add(made.id, "other image")
    talk.create("user", "/bin/sleep", "60", Image="contract/used:1")
    talk.ask("DELETE", "/images/contract/used:1")
    talk.ask("DELETE", f"/images/{made.id}", title="by its id")
    talk.ask("POST", "/containers/user/start")
    talk.ask("DELETE", "/images/contract/used:1?force=1", title="by force, while it runs")
    talk.ask("DELETE", f"/images/{made.id}?force=1", title="by its id and force, while it runs")
    talk.ask("DELETE", "/containers/user?force=1")
    talk.ask("DELETE", "/images/contract/used:1", title="when nothing uses it")


def forced_from_a_stopped_container(talk: Talk) -> None:
    made = Image([tar({"x": b"fourth"})])
    talk.labels.add(made.id, "other image")
    talk.ask("POST", "/images/load?quiet=1", archive(made, "contract/forced:1"))
    talk.create("user", "true", Image="contract/forced:1")
    talk.ask("DELETE", f"/images/{made.id}?force=1", title="by its id and force")
    talk.ask("GET", f"/images/{made.id}/json", title="it is there still", reader=lambda answer: answer.status)


def removed_by_id(talk: Talk) -> None:
    made = Image([tar({"x": b"third"})])
    talk.labels.add(made.id, "other image")
    talk.ask("POST", "/images/load?quiet=1", archive(made, "contract/two:1"))
    talk.ask("POST", "/images/contract/two:1/tag?repo=contract/three&tag=1")
    talk.ask("DELETE", f"/images/{made.id}", title="by its id, with two names")
    talk.ask("DELETE", f"/images/{made.id}?force=1", title="by its id, with force")


def pruned(talk: Talk) -> None:
    talk.ask("POST", "/images/prune")
    talk.ask("POST", '/images/prune?filters={"dangling":["true"]}')
    talk.ask("POST", '/images/prune?filters={"odd":["x"]}')
    talk.ask("POST", '/images/prune?filters={"dangling":["odd"]}')


def saved_and_loaded(talk: Talk) -> None:
    talk.ask("GET", f"/images/{IMAGE}/get", reader=read.names)
    talk.ask("GET", f"/images/get?names={IMAGE}", reader=read.names)
    talk.ask("GET", "/images/get")
    talk.ask("POST", "/images/load", archive(image()), title="load")
    talk.ask("POST", "/images/load?quiet=1", archive(image()), title="load quietly")
    talk.ask("POST", "/images/load?quiet=1", tar({"nothing": b"of use"}), title="load what is no image")
    talk.ask("POST", "/images/load?quiet=1", b"no tar at all" * 100, title="load what is no archive")


def imported(talk: Talk) -> None:
    path = "/images/create?fromSrc=-&repo=contract/imported&tag=1"
    talk.ask("POST", f"{path}&changes=CMD%20true&message=by%20hand", tar({"x": b"y"}), title="import")
    view = talk.ask("GET", "/images/contract/imported:1/json", title="what was imported")
    talk.steps["what was imported"]["body"] = {"Comment": view["Comment"], "Cmd": view["Config"]["Cmd"]}
    talk.ask("POST", f"{path}&changes=ODD%20x", tar({"x": b"y"}), title="import with an odd change")
    talk.ask("POST", "/images/create?fromSrc=-&repo=UPPER", tar({"x": b"y"}), title="import as no reference")


def pulls_that_cannot_begin(talk: Talk) -> None:
    talk.ask("POST", "/images/create")
    talk.ask("POST", "/images/create?fromImage=UPPER&tag=1")
    talk.ask("POST", "/images/create?fromImage=a%20b&tag=1")
    talk.ask("POST", "/images/create?fromImage=x&tag=1&platform=odd/odd/odd/odd")
