# SPDX-License-Identifier: Apache-2.0
"""Images made of containers and of Dockerfiles."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

from tests.contract import read
from tests.contract.talk import IMAGE, Talk
from tests.support.images import compress, tar

_TAR = {"Content-Type": "application/x-tar"}
_SHORT = re.compile(r"\b[0-9a-f]{12}\b")
_OF_CONTAINERS = ("Running in <short>", "intermediate container <short>")
_KEPT = ("Author", "Comment", "Os", "Architecture")


def _said(answer: read.Answer) -> object:
    """What a build says, as one text: how it was cut is chance. Which of its steps have a container, and what is said
    when that goes, is each engine's own matter."""
    if answer.status >= 400:
        return read.plain(answer)
    documents = [json.loads(line) for line in answer.content.splitlines() if line.strip()]
    text = _SHORT.sub("<short>", "".join(each["stream"] for each in documents if "stream" in each))
    lines = [line for line in text.splitlines() if not line.endswith(_OF_CONTAINERS)]
    failed = [each for each in documents if "error" in each]
    stages = sum("aux" in each for each in documents)
    return {"said": lines, "failed": failed, "stages": stages}


def _image(answer: read.Answer) -> object:
    """What an image says of itself, but for what a newer engine leaves out."""
    view: Any = read.plain(answer)
    if answer.status >= 400:
        return view
    config = {key: value for key, value in view["Config"].items() if value and key not in ("Hostname", "Image")}
    return {**{key: view[key] for key in _KEPT}, "Config": config, "Layers": len(view["RootFS"]["Layers"])}


def _build(talk: Talk, title: str, dockerfile: str, query: str = "", **files: bytes | str | None) -> None:
    context = tar({"Dockerfile": dockerfile.encode(), **files})
    talk.ask("POST", f"/build?networkmode=none{query}", context, headers=_TAR, reader=_said, title=title)


def committed(talk: Talk) -> None:
    talk.create("box", "/bin/sh", "-c", "echo x >/new", Env=["A=1"], Labels={"made": "here"}, User="nobody")
    body = {"Env": ["B=2"], "Cmd": ["/bin/true"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"more": "yes"}}
    for title, query, config in (
        ("as it is", "", None),
        ("with a name", "&repo=contract/made&tag=1&comment=a%20note&author=me", None),
        ("edited", f"&changes={quote('ENV C=3')}&changes={quote('WORKDIR /work')}", None),
        ("with a config", "", body),
    ):
        found = talk.ask("POST", f"/commit?container=box{query}", config, title=title)
        talk.ask("GET", f"/images/{found['Id']}/json", reader=_image, title=f"{title}: the image")
    for query in ("", "?container=nobody", "?container=box&repo=UPPER", f"?container=box&changes={quote('RUN x')}"):
        talk.ask("POST", f"/commit{query}")


def built(talk: Talk) -> None:
    steps = f"""FROM {IMAGE}
ARG WHO=nobody
ENV GREETING=hello NAME=$WHO
LABEL made=built
WORKDIR /work
COPY file dir /copied/
RUN echo "$GREETING $NAME" >said; cat said /copied/file; ls /copied
EXPOSE 80
USER nobody
CMD ["cat", "said"]
"""
    files: dict[str, bytes | str | None] = {"file": b"content\n", "dir/inner": b""}
    _build(talk, "built", steps, f"&t=contract/built:1&buildargs={quote(json.dumps({'WHO': 'you'}))}", **files)
    talk.ask("GET", "/images/contract/built:1/json", reader=_image, title="the image")
    _build(talk, "built again", steps, f"&buildargs={quote(json.dumps({'WHO': 'you'}))}", **files)
    _build(talk, "without a cache", steps, "&nocache=1", **files)
    talk.run("box", "cat", "said", Image="contract/built:1")
    talk.ask("POST", "/containers/box/wait")
    talk.ask("GET", "/containers/box/logs?stdout=1", reader=read.frames)


def built_in_stages(talk: Talk) -> None:
    stages = f"FROM {IMAGE} AS one\nRUN echo one >/one\nFROM {IMAGE}\nCOPY --from=one /one /two\nRUN cat /two\n"
    _build(talk, "two stages", stages)
    _build(talk, "the first", stages, "&target=one")
    _build(talk, "none of them", stages, "&target=three")
    _build(talk, "a base with triggers", f"FROM {IMAGE}\nONBUILD RUN echo triggered\n", "&t=contract/trigger")
    _build(talk, "triggered", "FROM contract/trigger\nRUN echo own\n")


def failed(talk: Talk) -> None:
    for title, dockerfile in (
        ("a command", f"FROM {IMAGE}\nRUN echo before; exit 3\n"),
        ("a file that is not there", f"FROM {IMAGE}\nCOPY nothing /\n"),
        ("several files to one", f"FROM {IMAGE}\nCOPY Dockerfile Dockerfile x\n"),
        ("an instruction", f"FROM {IMAGE}\nODD x\n"),
        ("no base", "RUN x\n"),
        ("nothing", ""),
        ("an unknown flag", f"FROM {IMAGE}\nCOPY --odd=1 a b\n"),
        ("a variable", f"FROM {IMAGE}\nENV A=${{B\n"),
    ):
        _build(talk, title, dockerfile)
    talk.ask("POST", "/build?dockerfile=other", tar({"Dockerfile": b"FROM x"}), headers=_TAR, title="no Dockerfile")
    packed = compress(tar({"Dockerfile": f"FROM {IMAGE}\n".encode()}), "gzip")
    talk.ask("POST", "/build?q=1", packed, headers=_TAR, reader=_said, title="quiet, compressed")
    talk.ask("POST", "/build?buildargs=odd", packed, headers=_TAR, title="arguments that are none")
    header = base64.urlsafe_b64encode(b"{}").decode()
    headers = {**_TAR, "X-Registry-Config": header}
    talk.ask("POST", "/build", packed, headers=headers, reader=_said, title="with no credentials")
