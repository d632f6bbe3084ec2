# SPDX-License-Identifier: Apache-2.0
"""Where hypercell may answer otherwise than the recorded dockerd, and why: all of it, and nothing that is not so.

The table in docs/docker-compatibility.md is made of this (`python -m tests.contract.table`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.contract.compare import Found


@dataclass(frozen=True)
class Case:
    """Patterns, in which `*` is any text."""

    member: str
    """As in `Found.member`."""
    step: str = "*"
    ours: str = "*"

    def covers(self, found: Found) -> bool:
        pairs = ((self.member, found.member), (self.step, found.step), (self.ours, found.ours))
        return all(_matches(pattern, text) for pattern, text in pairs)


@dataclass(frozen=True)
class Difference:
    what: str
    why: str
    cases: tuple[Case, ...]


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def _members(prefix: str, names: str, step: str = "*", ours: str = "*") -> tuple[Case, ...]:
    return tuple(Case(f"{prefix}{name}", step, ours) for name in names.split())


_NEWER = "dockerd 28 answers so; 20.10, which is recorded, does not yet"
_STATS = "*/stats?stream=0"
_HOST = "body.*HostConfig."

DIFFERENCES: tuple[Difference, ...] = (
    # What dockerd 28 says
    Difference(
        "The words of a refusal: letters, quotes, prefixes",
        "they are dockerd 28's, or name the value that was refused",
        (
            Case("body.message", ours='"cannot kill container: *'),
            Case("body.message", ours='"container <id of *> is *'),
            Case("body.message", ours='"cannot remove container *'),
            Case("body.message", ours='"config cannot be empty *'),
            Case("body.message", ours='"unsupported Content-Type header *'),
            Case("body.message", ours="\"invalid filter '*"),
            Case("body.message", ours='"invalid restart policy: *'),
            Case("body.message", ours='"range of CPUs is *'),
            Case("body.message", ours='"HostConfig.*: -1 is out of range *'),
            Case("body.message", ours='"HostConfig.PortBindings: invalid port specification: *'),
            Case("body.message", ours='"unknown or invalid runtime name: odd*'),
            Case("body.message", ours='"invalid resize height *'),
            Case("body.message", ours='"bad parameter: path cannot be empty"'),
            Case("body.message", ours='"No such image: *'),
            Case("body.message", ours='"invalid reference format: *'),
            Case("body.message", ours='"invalid digest *'),
            Case("body.message", "containers.renamed: *", '"Error when *: Invalid container name (no good), *'),
            Case("body.message", ours="\"'odd/odd/odd/odd' is not a platform*"),
            Case("body.message", "volumes.refused: *", '"Labels: must be an object"'),
            Case("body.message", "volumes.refused: half a document", '"invalid JSON: *'),
            Case("body.message", ours='"ODD is not a valid change command*'),
            Case("body.message", ours='"operation is not permitted on predefined *'),
            Case("body.message", ours='"invalid pool request: Pool overlaps *'),
            Case("body.message", ours='"could not find plugin odd *'),
            Case("body.message", ours='"error while removing network: *'),
            Case("body.message", "networks.refused: by force", '"No such container: nope"'),
            Case("body.message", "builds.*"),
            Case("body.failed.0.error*", "builds.failed: a variable"),
        ),
    ),
    Difference(
        "400, 404 or 409 where dockerd 20.10 says 500",
        "what the client got wrong is no error of the engine's; dockerd 28 says so of most of these too",
        tuple(
            Case("status", step, ours)
            for step, ours in (
                ("builds.committed: *&repo=UPPER", "400 *"),
                ("builds.failed: no Dockerfile", "400 *"),
                ("errors.malformed_bodies: create from *", "400 *"),
                ("errors.values_that_cannot_be: *", "400 *"),
                ("errors.ambiguity: a prefix of two ids", "400 *"),
                ("execs.refused: exec of odd keys", "400 *"),
                ("files.refused: * /containers/box/archive?path=/tmp/d/file*", "400*"),
                ("files.refused: PUT *&noOverwriteDirNonDir=1", '400 {"message": "cannot overwrite directory *'),
                ("files.refused: no tar", "400 *"),
                ("files.into_what_is_read_only: *", '400 {"message": "container rootfs is marked read-only"}'),
                ("images.listed: GET /images/json?filters=odd", "400 *"),
                ("images.tagged_and_removed: POST *", "400 *"),
                ("images.pulls_that_cannot_begin: POST /images/create", "400 *"),
                ("lists.filtered: *", "40*"),
                ("networks.refused: POST /networks/bridge/disconnect", "403 *"),
                ("networks.refused: create with *", "400 *"),
                ("states.killed: POST /containers/box/kill?signal=99", "400 *"),
                ("states.paused: unpause *", "409 *"),
                ("states.told_in_events: GET /events?since=odd", "400 *"),
                ("streams.logs_of_two_streams: GET /containers/box/logs?stdout=1&since=odd", "400 *"),
                ("system.networks: GET /networks?filters=*", "400 *"),
                ("volumes.wishes_that_make_no_sense: *", '400 {"message": "invalid volume specification: *'),
                ("volumes.wishes_that_make_no_sense: *", '400 {"message": "invalid mode: *'),
                ("contents.copied: PUT *", '400 {"message": "mounted volume is marked read-only"}'),
            )
        ),
    ),
    Difference(
        "An odd filter of events, an odd condition of a wait: 400",
        _NEWER,
        (
            Case("status", "states.told_in_events: *odd*", "400 *"),
            Case("status", "states.waited_for: *condition=odd", '400 {"message": "invalid condition: *'),
        ),
    ),
    Difference(
        "A volume is told to be made when it is made, and not each time that it is asked for",
        _NEWER,
        (Case("body", "volumes.told_in_events: the events of its life"),),
    ),
    Difference(
        "The API's own versions: 1.24 to 1.51",
        "dockerd 28 speaks 1.24 to 1.51, 20.10 speaks 1.12 to 1.41",
        (Case("body", "errors.versions: *"), Case("body.message", "errors.versions: *")),
    ),
    Difference(
        "Logs and attach have a media type",
        _NEWER,
        (Case("type", ours='"application/vnd.docker.raw-stream"'),),
    ),
    Difference(
        "Members that are newer than 1.41, and some that are gone since",
        _NEWER,
        (
            *_members("body.NetworkSettings.Networks.*.", "DNSNames GwPriority"),
            *_members("body.*0.NetworkSettings.Networks.bridge.", "DNSNames GwPriority"),
            *_members("body.front.", "DNSNames GwPriority Aliases", "networks.*"),
            Case("body.Error", ours="absent"),
            Case("body.EnableIPv4", ours="true"),
            Case("body.*.execDuration", ours='"*"'),
            *_members("body.", "Container ContainerConfig", ours="absent"),
            Case("body.*0.VirtualSize", ours="absent"),
            Case("body.BuilderSize", ours="absent"),
            *_members("body.", "CDISpecDirs KernelMemory KernelMemoryTCP *Commit.Expected", "system.itself: GET /info"),
            *_members("body.RegistryConfig.", "Allow*", "system.itself: GET /info", "absent"),
            *_members(_HOST, "KernelMemory KernelMemoryTCP", ours="absent"),
        ),
    ),
    Difference(
        "null, an empty list, an empty object and no member at all are not told apart as 20.10 does",
        f"{_NEWER}, or no client tells them apart",
        (
            *_members(_HOST, "Dns DnsOptions DnsSearch", ours="[]"),
            Case(f"{_HOST}PortBindings", ours="{}"),
            Case("body.*RepoDigests", ours="[]"),
            Case("body.BuildCache", ours="[]"),
            Case("body.IPAM.Config", "*/networks/none", "null"),
            Case("body.RegistryConfig.Mirrors", ours='"null"'),
            Case("body.Warnings", "containers.updated: *", "[]"),
        ),
    ),
    Difference(
        "`NetworkMode` is `bridge`, the restart policy `no`, where none was asked for",
        _NEWER,
        (Case(f"{_HOST}NetworkMode", ours='"bridge"'), Case(f"{_HOST}RestartPolicy.Name", ours='"no"')),
    ),
    Difference(
        "Capabilities are shown as the kernel names them",
        "one form for every spelling",
        (Case("body.HostConfig.CapAdd.0", ours='"CAP_NET_ADMIN"'),),
    ),
    Difference(
        "A stopped container has no sandbox",
        _NEWER,
        (Case("body.NetworkSettings.SandboxID", "containers.one_that_ended: *", '""'),),
    ),
    Difference(
        "`GET /images/get` without names is refused",
        "an archive of nothing is of no use",
        (Case("status", "images.saved_and_loaded: GET /images/get", "400 *"),),
    ),
    # A VM, not a cgroup
    Difference(
        "The member `Hypercell`",
        "what a VM has and docker has no word for ([the Engine API](engine-api.md))",
        (Case("body.Hypercell"), Case("body.Components.0.Details.PythonVersion")),
    ),
    Difference(
        "Drivers, runtimes and paths on the host are hypercell's, or empty",
        "there is no runc, no overlay and no file of the host behind a container",
        (
            Case("body.Driver", ours='"erofs"'),
            Case("body.GraphDriver.*"),
            *_members("body.", "HostnamePath HostsPath LogPath ResolvConfPath NetworkSettings.SandboxKey", ours='""'),
            Case(f"{_HOST}Runtime", ours='"hypercell"'),
            Case("body.Runtimes.*"),
            *_members("body.", "Mountpoint Mounts.*.Source", "volumes.*", '""'),
            Case("body.RegistryConfig.InsecureRegistryCIDRs", ours="[]"),
            Case("body.Options.com.docker.network.bridge.name"),
        ),
    ),
    Difference(
        "What a start or an exec says of a program that is not there has no runc in it",
        "there is no shim and no runc; exit codes and the words that clients look for are the same",
        (
            Case(
                "body.message", "states.a_program_that_is_not_there: *", '"unable to start container process: exec: *'
            ),
            Case("body.State.Error", "states.a_program_that_is_not_there: *", '"unable to start container process: *'),
            Case("body.message", "execs.refused: a program that is not there*", '"exec: *not found in $PATH*'),
        ),
    ),
    Difference(
        "cgroup v2's view: `CgroupnsMode`, `OomKillDisable`, members of `stats`",
        "the recorded dockerd ran on a host with cgroup v1; guests have v2",
        (
            Case(f"{_HOST}CgroupnsMode", ours='"private"'),
            Case(f"{_HOST}OomKillDisable", ours="null"),
            Case("body.blkio_stats.*", _STATS),
            Case("body.*cpu_stats.cpu_usage.percpu_usage", _STATS, "absent"),
            Case("body.memory_stats.*", _STATS),
        ),
    ),
    Difference(
        "`MaskedPaths` has `/proc/interrupts` and `/sys/devices/virtual/powercap`",
        _NEWER,
        (Case(f"{_HOST}MaskedPaths", ours='["/proc/asound", "/proc/acpi", "/proc/interrupts", *'),),
    ),
    Difference(
        "No swap: `MemorySwap` is 0, and no limit of it is in the way of an update",
        "a VM has none",
        (
            Case("body.HostConfig.MemorySwap", ours="0"),
            Case("status", "containers.updated: more memory", "200 *"),
        ),
    ),
    Difference(
        "A privileged container shows no `label=disable`",
        "the guest's kernel has no SELinux that could be switched off",
        (Case("body.HostConfig.SecurityOpt", "containers.a_privileged_one: *", "null"),),
    ),
    Difference(
        "An endpoint's and a sandbox's id are the container's",
        "they are one thing: the VM's card",
        (
            Case("body.*EndpointID", ours='"<id of *>"'),
            Case("body.NetworkSettings.SandboxID", ours='"<id of *>"'),
        ),
    ),
    Difference(
        "Published ports are IPv4's",
        "containers have no IPv6 yet",
        (Case("body.NetworkSettings.Ports.80/tcp", ours='[{"HostIp": "0.0.0.0", "HostPort": "<port>"}]'),),
    ),
    Difference(
        "There is no network `host`, nor can a host's namespaces or devices be shared: 501",
        "a container runs in a VM of its own",
        (
            Case("body", "system.networks: *", '["bridge", "none"]'),
            Case("status", "refusals.options_of_the_host: create with devices", "501 *"),
            Case("status", "refusals.options_of_the_host: create with the host's *", "501 *"),
        ),
    ),
    Difference(
        "A parent cgroup is warned of",
        "a container's cgroup is in its own VM",
        (Case("body.Warnings", "refusals.options_of_the_host: create with a cgroup"),),
    ),
    # What is not built, or told otherwise
    Difference(
        "Links: 501",
        "not built yet ([the Engine API](engine-api.md))",
        (Case("status", "refusals.options_of_the_host: create with links", "501 *"),),
    ),
    Difference(
        "What could never start is refused when it is made: an unknown network, an address, a protocol or a directory "
        "that is none, an address or an alias that a network does not have",
        "the sooner a mistake is told, the nearer it is to who made it; dockerd makes the container and refuses its "
        "start, or ignores the value",
        (
            Case("status", "refusals.options_of_the_host: create with a network that is not there", "400 *"),
            Case("status", "networks.on_a_built_in_network_with_wishes: *", "400 *"),
            Case("status", "networks.with_a_container: create at 10.77.*", "40*"),
            Case("status", "errors.values_that_cannot_be: create with a port of no protocol", "400 *"),
            Case("status", "errors.values_that_cannot_be: create with an address that is none", "400 *"),
            Case("step", "errors.values_that_cannot_be: it was made with *"),
            Case("status", "execs.refused: exec of a relative directory", "400 *"),
            Case("status", 'lists.filtered: all containers where {"name": ["("]}', "400 *"),
        ),
    ),
    Difference(
        "A network is `dangling` when no container is on it",
        "dockerd looks at no container when it lists networks",
        (Case("body", 'networks.listed: all networks where {"dangling": *'),),
    ),
    Difference(
        "JSON is read strictly: nothing may stand behind a document",
        "what was asked is never guessed; the words are our parser's, not Go's",
        (
            Case("status", "errors.malformed_bodies: create from more behind it", "400 *"),
            Case("body.message", "errors.malformed_bodies: exec from *"),
        ),
    ),
    Difference(
        "An error before a hijack is an ordinary JSON answer; a second start of an exec is a 409",
        "dockerd has taken the connection over by then, and writes its words into the stream",
        (
            Case("body", "*: POST /containers/nope/attach?stream=1&stdout=1", '{"message": *'),
            Case("body", "streams.attach_refused: attach to what is paused", '{"message": *'),
            Case("type", "*attach*", '"application/json"'),
            Case("status", "execs.carried_out: started twice", "409 *"),
            Case(
                "body.message", "execs.detached: started while it runs", '"exec session <exec one> has already been *'
            ),
        ),
    ),
    Difference(
        "An exec is known until its container starts again: 409 for one that has ended, not 404",
        "its exit code can still be asked for",
        (Case("status", "execs.refused: after the container's end", "409 *"),),
    ),
    Difference(
        "An image that a stopped container uses is not deleted by force: only its names go",
        "the container must be able to start again",
        (
            Case("body", "images.forced_from_a_stopped_container: *", '[{"Untagged": "contract/forced:1"}]'),
            Case("status", "images.forced_from_a_stopped_container: it is there still", "200 200"),
        ),
    ),
    Difference(
        "The size of a terminal may be told before the start",
        "it is kept for it",
        (Case("status", "states.not_running: POST /containers/idle/resize?h=10&w=10", "200"),),
    ),
    Difference(
        "An archive that is no image's is refused in words of its own",
        "dockerd tells a path of its own directories, or Go's words",
        (Case("body.error*", "images.saved_and_loaded: load what is no *"),),
    ),
    Difference(
        "A loaded image has a `LastTagTime`",
        "the time of the tag is known",
        (Case("body.Metadata.LastTagTime", ours='"<time>"'),),
    ),
)


def unlisted(found: list[Found]) -> list[Found]:
    """What no case covers."""
    cases = [case for difference in DIFFERENCES for case in difference.cases]
    return [item for item in found if not any(case.covers(item) for case in cases)]


def stale(found: list[Found]) -> list[tuple[Difference, Case]]:
    """Cases that cover nothing (any more)."""
    return [
        (difference, case)
        for difference in DIFFERENCES
        for case in difference.cases
        if not any(case.covers(item) for item in found)
    ]
