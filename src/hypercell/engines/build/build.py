# SPDX-License-Identifier: Apache-2.0
"""One build: its stages one after the other, each step an image made of the one before, or found as made before."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from hypercell.base.errors import InvalidArgument, NotFound, Unsupported
from hypercell.base.ids import short
from hypercell.engines.build.arguments import Arguments
from hypercell.engines.build.bases import Bases
from hypercell.engines.build.contract import BuildFailed, BuildRequest, Progress
from hypercell.engines.build.copying import Copying, Engines
from hypercell.engines.build.instructions import Arg, Copy, Edit, Instruction, Maintainer, Run, Shell, Workdir
from hypercell.engines.build.packing import pack
from hypercell.engines.build.parser import parse_trigger
from hypercell.engines.build.placing import missing_directories
from hypercell.engines.build.plan import Plan, Stage
from hypercell.engines.build.staging import Staged, Staging
from hypercell.images import platforms
from hypercell.images.archives.changes import DEFAULT_SHELL, Editor
from hypercell.images.archives.globs import Work
from hypercell.images.archives.words import expand
from hypercell.images.contract import Image, Revision
from hypercell.images.threads import in_thread

MAX_TRIGGERS = 100


class Build:
    def __init__(
        self,
        tenant: str,
        request: BuildRequest,
        engines: Engines,
        bases: Bases,
        context: Staged,
        staging: Staging,
        progress: Progress,
        plan: Plan,
        escape: str,
    ) -> None:
        self._tenant = tenant
        self._request = request
        self._engines = engines
        self._bases = bases
        self._context = context
        self._staging = staging
        self._progress = progress
        self._plan = plan
        self._escape = escape
        self._work = Work()
        self._arguments = Arguments(request.arguments, platforms.host())
        self._made: dict[int, tuple[Image, dict[str, str | None]]] = {}
        """By stage: its image, and its arguments."""
        self._done = 0
        self._steps = 0
        # Of the stage under way
        self._image: Image
        self._editor: Editor
        self._author = ""

    async def run(self) -> Image:
        needed = self._plan.needed()
        self._steps = sum(1 + len(stage.body) for stage in needed) + bool(self._request.labels)
        for arg in self._plan.globals:
            for name, default in arg.pairs:
                value = default and expand(default, self._arguments.for_from(), self._escape, self._work)
                self._arguments.declare_global(name, value)
        for stage in needed:
            await self._stage(stage)
            self._made[stage.position] = (self._image, self._arguments.declared)
            await self._progress.made(self._image.id)
        if unused := self._arguments.unused():
            await self._progress.complain(f"[Warning] One or more build-args {unused} were not consumed\n")
        return self._image

    async def _stage(self, stage: Stage) -> None:
        base = stage.base
        await self._announce(base.text)
        name = expand(base.image, self._arguments.for_from(), self._escape, self._work)
        platform = expand(base.platform, self._arguments.for_from(), self._escape, self._work) or self._request.platform
        earlier = self._plan.base_of(stage) or self._plan.base_of(replace(stage, base=replace(base, image=name)))
        self._arguments.begin_stage()
        if earlier is not None:
            self._image, inherited = self._made[earlier.position]
            self._arguments.begin_stage(inherited)
        elif not name:
            raise InvalidArgument(f"base name ({base.image[:100]}) should not be blank")
        else:
            self._image = await self._bases.find(name, platform)
        self._begin(self._image)
        await self._triggers()
        await self._progress.say(f" ---> {short(self._image.id)}\n")
        for step in stage.body:
            await self._announce(step.text)
            await self._carry_out(step, stage)
            await self._progress.say(f" ---> {short(self._image.id)}\n")
        if stage.position == self._plan.target.position:
            await self._labels()

    def _begin(self, image: Image) -> None:
        raw = image.config.raw.get("config")
        self._editor = Editor(dict(raw) if isinstance(raw, dict) else {}, self._escape, self._work)
        self._author = image.config.author

    async def _announce(self, text: str) -> None:
        self._done += 1
        await self._progress.say(f"Step {self._done}/{self._steps} : {text}\n")

    async def _triggers(self) -> None:
        triggers = self._editor.run.pop("OnBuild", None) or ()
        if len(triggers) > MAX_TRIGGERS:
            raise InvalidArgument(f"the base image has more than {MAX_TRIGGERS} ONBUILD triggers")
        if not triggers:
            return
        words = "1 build trigger" if len(triggers) == 1 else f"{len(triggers)} build triggers"
        await self._progress.say(f"# Executing {words}\n")
        for trigger in triggers:
            step = parse_trigger(str(trigger), self._escape)
            if isinstance(step, Copy) and step.source:
                raise Unsupported("COPY --from in an ONBUILD trigger is not built", "name the image in the Dockerfile")
            await self._carry_out(step, None)

    async def _labels(self) -> None:
        labels = dict(sorted(self._request.labels.items()))
        if not labels:
            return
        text = "LABEL " + " ".join(f"{key}={value}" for key, value in labels.items())
        await self._announce(text)
        self._editor.run["Labels"] = {**(self._editor.run.get("Labels") or {}), **labels}
        await self._configured(text)
        await self._progress.say(f" ---> {short(self._image.id)}\n")

    # Steps

    async def _carry_out(self, step: Instruction, stage: Stage | None) -> None:
        self._editor.arguments = self._arguments.visible()
        match step:
            case Edit():
                self._editor.edit(step.name, step.rest)
                await self._configured(step.text)
            case Arg():
                for name, default in step.pairs:
                    self._arguments.declare(name, None if default is None else self._editor.expand(default))
                await self._configured(step.text)
            case Shell():
                self._editor.run["Shell"] = list(step.words)
                await self._configured(step.text)
            case Maintainer():
                self._author = step.who
                await self._configured(step.text)
            case Workdir():
                await self._workdir(step)
            case Run():
                await self._run(step)
            case Copy():
                await self._copy(step, stage)
            case _:
                raise InvalidArgument(f"{step.text[:50]!r} cannot be carried out here")

    async def _configured(self, text: str) -> None:
        """A step that changes no file."""
        revision = self._revision(f"/bin/sh -c #(nop)  {text}", ["CONFIG", text])
        await self._step(revision, lambda: self._engines.images.commit(self._tenant, self._image.id, None, revision))

    def _revision(self, created_by: str, key: list[object]) -> Revision:
        told = json.dumps([*key, self._editor.run, self._author], sort_keys=True)
        digest = hashlib.sha256(told.encode()).hexdigest()
        return Revision(dict(self._editor.run), created_by, author=self._author, step=digest)

    async def _step(self, revision: Revision, make: Callable[[], Awaitable[Image]]) -> None:
        found = None
        if not self._request.no_cache:
            found = await self._engines.images.made_by(self._tenant, self._image.id, revision.step)
        if found is not None:
            await self._progress.say(" ---> Using cache\n")
        self._image = found or await make()
        self._bases.hold(self._image.id)

    async def _workdir(self, step: Workdir) -> None:
        before = self._editor.run.get("WorkingDir") or "/"
        self._editor.workdir(step.path)
        path = self._editor.run["WorkingDir"]
        if path in ("/", before):
            await self._configured(step.text)
            return
        revision = self._revision(f"/bin/sh -c #(nop) WORKDIR {path}", ["WORKDIR", path])
        await self._step(revision, partial(self._make_directory, path, revision))

    async def _make_directory(self, path: str, revision: Revision) -> Image:
        engines, onto = self._engines, self._image.id
        async with engines.own.create(onto) as ident, engines.containers.workshop(self._tenant, ident) as shop:
            if missing := await missing_directories(shop, path):
                await shop.put("/", pack(missing), chown=False)
            async with shop.layer() as layer:
                return await engines.images.commit(self._tenant, onto, layer, revision)

    async def _run(self, step: Run) -> None:
        shell = self._editor.run.get("Shell") or DEFAULT_SHELL
        command = tuple(step.words) if step.words is not None else (*shell, step.command)
        env = {entry.partition("=")[0]: "" for entry in self._editor.run.get("Env") or ()}
        told = self._arguments.told(env)
        created_by = " ".join([*([f"|{len(told)}", *told] if told else []), *command])
        revision = self._revision(created_by, ["RUN", told, command, step.network, step.tmpfs])
        extra = self._arguments.for_command(env)
        members: dict[str, Any] = {"env": tuple(f"{name}={value}" for name, value in extra.items())}
        members |= {"tmpfs": step.tmpfs} if step.tmpfs else {}
        members |= {"network": step.network} if step.network == "none" else {}
        await self._step(revision, partial(self._execute, command, members, revision))

    async def _execute(self, command: tuple[str, ...], members: dict[str, Any], revision: Revision) -> Image:
        engines, onto = self._engines, self._image.id
        async with engines.own.create(onto, command, **members) as ident:
            await self._progress.say(f" ---> Running in {short(ident)}\n")
            if code := await engines.own.run(ident, self._progress):
                told = " ".join(command)
                raise BuildFailed(f"The command '{told}' returned a non-zero code: {code}", code)
            async with engines.containers.layer(self._tenant, ident) as layer:
                image = await engines.images.commit(self._tenant, onto, layer, revision)
        if self._request.remove:
            await self._progress.say(f" ---> Removed intermediate container {short(ident)}\n")
        return image

    async def _copy(self, step: Copy, stage: Stage | None) -> None:
        source_image = await self._source(step.source, stage) if step.source and stage else ""
        copying = Copying(step, self._context, self._staging, self._editor.expand, self._escape)
        with closing(copying):
            destination = posixpath.normpath(copying.destination) if copying.destination else ""
            source = await in_thread(copying.source, source_image)
            created_by = f"/bin/sh -c #(nop) {copying.verb} {source} in {destination} "
            revision = self._revision(created_by, copying.key(source))
            working_dir = str(self._editor.run.get("WorkingDir") or "/")
            await self._step(
                revision,
                lambda: copying.carry_out(
                    self._tenant, self._engines, self._image.id, working_dir, source_image, revision
                ),
            )

    async def _source(self, reference: str, stage: Stage) -> str:
        """The id of the image that `--from` names: an earlier stage, or an image."""
        other = self._plan.find(reference, stage.position)
        if other is not None:
            return self._made[other.position][0].id
        if reference.isdigit():
            raise InvalidArgument(f"invalid from flag value {reference[:20]}: there is no such stage")
        try:
            return (await self._bases.find(reference, self._request.platform)).id
        except NotFound as error:
            raise InvalidArgument(f"invalid from flag value {reference[:100]}: {error.message}") from error
