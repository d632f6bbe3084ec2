# SPDX-License-Identifier: Apache-2.0
"""The stages of a Dockerfile, and which of them a target needs."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.base.errors import InvalidArgument
from hypercell.engines.build.instructions import Arg, Copy, From, Instruction

MAX_STAGES = 200


@dataclass(frozen=True, slots=True)
class Stage:
    position: int
    base: From
    body: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    globals: tuple[Arg, ...]
    """Arguments in front of the first stage, which only FROM sees."""
    stages: tuple[Stage, ...]
    target: Stage

    def find(self, reference: str, before: int) -> Stage | None:
        """The stage above *before* that *reference*, a name or a number, stands for; of one name the last."""
        for stage in reversed(self.stages[:before]):
            if stage.base.name == reference.lower() or str(stage.position) == reference:
                return stage
        return None

    def base_of(self, stage: Stage) -> Stage | None:
        """The stage that it begins from: one with that name, whatever images there are."""
        named = [other for other in self.stages[: stage.position] if other.base.name == stage.base.image.lower()]
        return named[-1] if named and stage.base.image else None

    def needed(self) -> list[Stage]:
        """Those that the target needs, itself last."""
        wanted = {self.target.position}
        for stage in reversed(self.stages[: self.target.position + 1]):
            if stage.position not in wanted:
                continue
            base = self.base_of(stage)
            references = [step.source for step in stage.body if isinstance(step, Copy) and step.source]
            others = [self.find(reference, stage.position) for reference in references]
            wanted |= {other.position for other in (base, *others) if other is not None}
        return [stage for stage in self.stages if stage.position in wanted]


def plan(instructions: list[Instruction], target: str) -> Plan:
    """Raises `InvalidArgument`."""
    first: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for step in instructions:
        if isinstance(step, From):
            stages.append((step, []))
        elif stages:
            stages[-1][1].append(step)
        elif isinstance(step, Arg):
            first.append(step)
        else:
            raise InvalidArgument("no build stage in current context", "begin with FROM")
    if not stages or len(stages) > MAX_STAGES:
        raise InvalidArgument(f"the Dockerfile has {len(stages)} stages; between 1 and {MAX_STAGES} can be built")
    made = tuple(Stage(position, base, tuple(body)) for position, (base, body) in enumerate(stages))
    plain = Plan(tuple(first), made, made[-1])
    if not target:
        return plain
    found = plain.find(target, len(made))
    if found is None:
        raise InvalidArgument(f'target stage "{target[:100]}" could not be found')
    return Plan(plain.globals, made, found)
