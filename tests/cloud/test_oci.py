# SPDX-License-Identifier: Apache-2.0
"""A request becomes the `config.json` that docker would write, in the VM's terms."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.cloud import capabilities, oci, seccomp, tmpfs
from hypercell.cloud.contract import ContainerRequest, ExecRequest, Ulimit
from hypercell.cloud.creation import container_spec, pod_spec
from hypercell.cloud.etc_files import hosts, resolv_conf
from hypercell.cloud.resolve import process_env, resolve
from hypercell.cloud.validate import validate
from hypercell.node.network import BRIDGE, NONE, Place, Port, Wish
from tests.support.image_shelf import image

KERNEL = "6.1.0-fake"
_PLACE = Place(Wish(BRIDGE), "bridge", "02:00:00:00:00:01", "172.16.0.5/16", "172.16.0.1", 1500)
PORT = Port("p", (_PLACE,), ("172.16.0.1",))
ALONE = Port("p", (Place(Wish(NONE), "none", "02:00:00:00:00:01", "", "", 1500),), ())
IDENT = "0123456789abcdef" * 4


def config(image_config: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    made = resolve(ContainerRequest("busybox", **request), image(**(image_config or {})), IDENT, 8)
    return oci.config(made, KERNEL)


class TestCommand:
    @pytest.mark.parametrize(
        ("entrypoint", "command", "own_entrypoint", "own_command", "args"),
        [
            (None, ("sh",), None, None, ["sh"]),
            (("e",), ("c",), None, None, ["e", "c"]),
            (("e",), ("c",), None, ("d",), ["e", "d"]),
            (("e",), ("c",), ("f",), None, ["f"]),
            (("e",), ("c",), ("f",), ("d",), ["f", "d"]),
            (("e",), ("c",), (), ("d",), ["d"]),
        ],
    )
    def test_entrypoint_and_command_combine_as_dockers(
        self, entrypoint: Any, command: Any, own_entrypoint: Any, own_command: Any, args: list[str]
    ) -> None:
        made = config({"entrypoint": entrypoint, "command": command}, entrypoint=own_entrypoint, command=own_command)
        assert made["process"]["args"] == args

    @pytest.mark.parametrize(("image_command", "own"), [(None, {}), (("c",), {"entrypoint": ()})])
    def test_nothing_to_run_is_refused(self, image_command: Any, own: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument, match="no command specified"):
            config({"command": image_command}, **own)


class TestNamespaces:
    def test_those_of_the_vm_are_not_made(self) -> None:
        made = config(vm_namespaces=("pid", "uts"), hostname="box", domainname="lan")
        assert [namespace["type"] for namespace in made["linux"]["namespaces"]] == ["ipc", "mount", "cgroup"]
        assert "hostname" not in made and "domainname" not in made, "they would be the VM's"

    def test_rules_for_devices_come_after_the_default_ones(self) -> None:
        made = config(device_rules=("c 10:* rw", "b *:3 m"))["linux"]["resources"]["devices"]
        assert made[0] == {"allow": False, "access": "rwm"}
        assert made[-2:] == [
            {"allow": True, "type": "c", "access": "rw", "major": 10},
            {"allow": True, "type": "b", "access": "m", "minor": 3},
        ]

    @pytest.mark.parametrize("rule", ["c 10:200", "x 1:1 r", "c 1:1 rwmr", "c -1:1 r", "c 1:1 r\n", "c ١:1 r"])
    def test_what_is_no_rule_is_refused(self, rule: str) -> None:
        with pytest.raises(InvalidArgument, match="invalid device cgroup rule"):
            validate(ContainerRequest("busybox", device_rules=(rule,)))


class TestEnvironment:
    def test_the_users_comes_before_the_images_and_beats_it(self) -> None:
        made = config({"env": ("A=image", "B=image")}, env=("C=user", "B=user"), hostname="box")["process"]["env"]
        assert made[0].startswith("PATH=") and made[1:] == ["HOSTNAME=box", "C=user", "B=user", "A=image"]

    def test_a_terminal_has_a_type_and_a_path_can_be_replaced(self) -> None:
        made = config({"env": ("PATH=/image",)}, tty=True)["process"]["env"]
        assert made == ["PATH=/image", f"HOSTNAME={IDENT[:12]}", "TERM=xterm"]

    def test_a_name_alone_removes_the_images(self) -> None:
        made = config({"env": ("A=1", "B=2")}, env=("A",))["process"]["env"]
        assert "A=1" not in made and "B=2" in made and "A" not in made

    def test_exec_adds_to_the_containers(self) -> None:
        process = config(env=("A=1", "B=2"), user="u")["process"]
        request = ExecRequest(("x",), env=("A=3",), user="root", working_dir="/w")
        made = oci.exec_process(process, request)
        assert "A=3" in made["env"] and "B=2" in made["env"] and made["cwd"] == "/w" and made["args"] == ["x"]
        assert made["user"]["username"] == "root" and made["capabilities"] == process["capabilities"]
        privileged = oci.exec_process(process, ExecRequest(("x",), privileged=True))
        assert privileged["capabilities"]["bounding"] == list(capabilities.ALL)

    def test_names_without_a_value_are_dropped(self) -> None:
        assert process_env(("A", "PATH"), "h", False) == ["HOSTNAME=h"]


class TestWalls:
    def test_the_default_capabilities_are_dockers_fourteen(self) -> None:
        names = (
            "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT "
            "KILL AUDIT_WRITE"
        )
        made = config()["process"]["capabilities"]
        assert set(made["bounding"]) == {f"CAP_{name}" for name in names.split()}
        assert made["effective"] == made["permitted"] == made["bounding"] and "inheritable" not in made

    @pytest.mark.parametrize(
        ("add", "drop", "expected"),
        [
            (("NET_ADMIN",), (), [*capabilities.DEFAULT, "CAP_NET_ADMIN"]),
            (("cap_net_admin",), ("all",), ["CAP_NET_ADMIN"]),
            (("ALL",), ("MKNOD",), [name for name in capabilities.ALL if name != "CAP_MKNOD"]),
            ((), ("ALL",), []),
            (("CHOWN",), ("CHOWN",), [name for name in capabilities.DEFAULT if name != "CAP_CHOWN"]),
        ],
    )
    def test_adding_and_dropping(self, add: tuple[str, ...], drop: tuple[str, ...], expected: list[str]) -> None:
        assert list(capabilities.granted(add, drop, False)) == expected

    def test_proc_and_sys_are_masked_as_dockers(self) -> None:
        linux = config()["linux"]
        assert {"/proc/kcore", "/proc/keys", "/sys/firmware", "/proc/interrupts"} <= set(linux["maskedPaths"])
        assert {"/proc/sys", "/proc/sysrq-trigger", "/proc/bus"} <= set(linux["readonlyPaths"])

    def test_privileged_lifts_them(self) -> None:
        made = config(privileged=True)
        linux = made["linux"]
        assert linux["maskedPaths"] == linux["readonlyPaths"] == [] and "seccomp" not in linux
        assert made["process"]["capabilities"]["bounding"] == list(capabilities.ALL)
        assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
        assert all("ro" not in mount["options"] for mount in made["mounts"])

    def test_namespaces_are_dockers_without_the_network(self) -> None:
        kinds = {entry["type"] for entry in config()["linux"]["namespaces"]}
        assert kinds == {"pid", "ipc", "uts", "mount", "cgroup"}

    def test_without_a_network_it_has_a_namespace_with_nothing_but_a_loopback(self) -> None:
        kinds = {entry["type"] for entry in config(network="none")["linux"]["namespaces"]}
        assert kinds == {"pid", "ipc", "uts", "mount", "cgroup", "network"}

    @pytest.mark.parametrize(("network", "machines"), [("bridge", {"net.core.somaxconn"}), ("none", set())])
    def test_sysctls_of_the_network_are_set_where_the_network_is(self, network: str, machines: set[str]) -> None:
        sysctls = {"net.core.somaxconn": "9", "kernel.shmmax": "1"}
        made = ContainerRequest("busybox", network=network, sysctls=sysctls)
        assert set(oci.machine_sysctls(made)) == machines
        assert set(config(network=network, sysctls=sysctls)["linux"]["sysctl"]) == set(sysctls) - machines

    def test_no_new_privileges_read_only_and_the_rest_are_passed_on(self) -> None:
        made = config(no_new_privileges=True, read_only=True, oom_score_adj=-5, sysctls={"kernel.shmmax": "9"})
        assert made["process"]["noNewPrivileges"] and made["root"]["readonly"]
        assert made["process"]["oomScoreAdj"] == -5 and made["linux"]["sysctl"] == {"kernel.shmmax": "9"}

    def test_users_and_groups_are_left_to_the_guest(self) -> None:
        made = config({"user": "web:www"}, group_add=("audio", "44"))["process"]["user"]
        assert made == {"username": "web:www", "additionalGids": ["audio", 44]}
        assert config()["process"]["user"] == {"username": "0"}

    def test_ulimits_and_limits(self) -> None:
        made = config(ulimits=(Ulimit("nofile", 10, -1),), memory=64 << 20, nano_cpus=1_500_000_000, pids_limit=7)
        assert made["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 2**64 - 1}]
        resources = made["linux"]["resources"]
        assert resources["memory"] == {"limit": 64 << 20} and resources["pids"] == {"limit": 7}
        assert resources["cpu"] == {"quota": 150_000, "period": 100_000}


class TestSeccomp:
    def allowed(self, caps: tuple[str, ...] = capabilities.DEFAULT) -> set[str]:
        profile = seccomp.resolve("", caps, KERNEL)
        assert profile is not None and profile["defaultAction"] == "SCMP_ACT_ERRNO" and profile["defaultErrnoRet"] == 1
        rules = [rule for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
        return {name for rule in rules for name in rule["names"]}

    def test_ordinary_calls_are_allowed_and_dangerous_ones_are_not(self) -> None:
        allowed = self.allowed()
        assert {"read", "execve", "openat2", "clone", "socket", "chroot", "ptrace", "futex_waitv"} <= allowed
        forbidden = {"mount", "bpf", "init_module", "kexec_load", "add_key", "keyctl", "reboot", "io_uring_setup"}
        assert not forbidden & allowed and "open_by_handle_at" not in allowed

    def test_capabilities_open_what_belongs_to_them(self) -> None:
        assert {"mount", "umount2", "setns", "bpf"} <= self.allowed((*capabilities.DEFAULT, "CAP_SYS_ADMIN"))
        assert "open_by_handle_at" in self.allowed(("CAP_DAC_READ_SEARCH",))
        assert "chroot" not in self.allowed(())

    def test_clone3_fails_softly_and_clone_makes_no_namespaces(self) -> None:
        profile = seccomp.resolve("", capabilities.DEFAULT, KERNEL)
        assert profile is not None
        (clone3,) = [rule for rule in profile["syscalls"] if rule["names"] == ["clone3"]]
        assert clone3 == {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
        (clone,) = [rule for rule in profile["syscalls"] if rule["names"] == ["clone"]]
        assert clone["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]

    def test_what_remains_is_the_specifications_form(self) -> None:
        profile = seccomp.resolve("", capabilities.DEFAULT, KERNEL)
        assert profile is not None and profile["architectures"][0] == "SCMP_ARCH_X86_64"
        assert all(set(rule) <= {"names", "action", "errnoRet", "args"} for rule in profile["syscalls"])

    def test_unconfined_is_none(self) -> None:
        assert seccomp.resolve("unconfined", (), KERNEL) is None

    def test_a_users_profile_is_resolved_too(self) -> None:
        rules = [
            {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "7.0"}},
            {"names": ["old"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "7.0"}},
            {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        ]
        text = json.dumps({"defaultAction": "SCMP_ACT_KILL", "syscalls": rules})
        profile = seccomp.resolve(text, (), KERNEL)
        assert profile is not None and [rule["names"] for rule in profile["syscalls"]] == [["old"]]

    @pytest.mark.parametrize(
        "text",
        ["{", "[]", "{}", '{"defaultAction": "x", "syscalls": [1]}', '{"defaultAction": "x", "syscalls": [{}]}',
         '{"defaultAction": "x", "syscalls": {"a": 1}}', "[" * 100_000, " " * 300_000,
         '{"defaultAction": "x", "syscalls": [{"names": ["a"], "action": "y", "args": [{"index": "z"}]}]}'],
    )  # fmt: skip
    def test_a_broken_profile_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidArgument):
            seccomp.resolve(text, (), KERNEL)


class TestMounts:
    def mounts(self, **request: Any) -> dict[str, dict[str, Any]]:
        return {mount["destination"]: mount for mount in config(**request)["mounts"]}

    def test_the_defaults_are_dockers(self) -> None:
        made = self.mounts()
        assert set(made) == {"/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"}
        assert "size=67108864" in made["/dev/shm"]["options"] and made["/dev/mqueue"]["type"] == "mqueue"
        assert "ro" in made["/sys"]["options"] and "ro" in made["/sys/fs/cgroup"]["options"]
        order = [mount["destination"] for mount in config()["mounts"]]
        assert order.index("/dev") < order.index("/dev/shm") and order.index("/sys") < order.index("/sys/fs/cgroup")

    def test_shm_and_tmpfs_have_the_size_that_was_asked_for(self) -> None:
        made = self.mounts(shm_size=1 << 20, tmpfs={"/scratch/": "size=5m,exec", "/dev/shm": "size=2m"})
        assert made["/scratch"]["options"] == ["nosuid", "nodev", "size=5m", "exec"]
        assert made["/dev/shm"]["options"][-1] == "size=2m"

    @pytest.mark.parametrize("text", ["lowerdir=/", "size=1,upperdir=x", "size=-1", "mode=9", "bind", "size=1m\nx"])
    def test_other_mount_options_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidArgument, match="tmpfs option"):
            tmpfs.options(text)


class TestFiles:
    def test_hosts_is_worded_as_dockers(self) -> None:
        request = ContainerRequest(
            "x", hostname="box", domainname="lan", extra_hosts=("db:10.0.0.9", "up:host-gateway")
        )
        text = hosts(request, PORT)
        assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
        assert text.endswith("10.0.0.9\tdb\n172.16.0.1\tup\n172.16.0.5\tbox.lan box\n")
        assert "box" not in hosts(ContainerRequest("x", hostname="box"), ALONE)

    def test_resolv_conf_names_the_servers(self) -> None:
        assert resolv_conf(ContainerRequest("x"), PORT) == "nameserver 172.16.0.1\n"
        request = ContainerRequest("x", dns=("9.9.9.9",), dns_search=("lan", "corp"), dns_options=("ndots:2",))
        assert resolv_conf(request, PORT) == "nameserver 9.9.9.9\nsearch lan corp\noptions ndots:2\n"

    def test_they_go_to_the_guest_with_their_modes(self) -> None:
        made = resolve(ContainerRequest("busybox", hostname="box"), image(), IDENT, 8)
        files = {file["path"]: file for file in container_spec(made, oci.config(made, KERNEL), PORT).files}
        assert set(files) == {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
        assert base64.b64decode(files["/etc/hostname"]["data"]) == b"box\n" and files["/etc/hosts"]["mode"] == 0o644

    def test_what_does_not_fit_into_a_frame_is_refused(self) -> None:
        made = resolve(ContainerRequest("busybox", env=("A=" + "x" * 800_000,)), image(), IDENT, 8)
        with pytest.raises(InvalidArgument, match="together are longer"):
            container_spec(made, oci.config(made, KERNEL), PORT)


class TestSize:
    @pytest.mark.parametrize(
        ("request_", "vcpus", "memory", "quota"),
        [
            ({}, 1, 512 << 20, 0.0),
            ({"size": "S1"}, 1, 64 << 20, 0.0),
            ({"size": "l3"}, 8, 16 << 30, 0.0),
            ({"memory": 100 << 20}, 1, 100 << 20, 0.0),
            ({"nano_cpus": 2_500_000_000}, 3, 512 << 20, 2.5),
            ({"size": "m2", "memory": 1 << 30, "nano_cpus": 500_000_000}, 1, 1 << 30, 0.5),
        ],
    )
    def test_sizes_and_limits_shape_the_vm(
        self, request_: dict[str, Any], vcpus: int, memory: int, quota: float
    ) -> None:
        made = pod_spec(resolve(ContainerRequest("busybox", **request_), image(), IDENT, 8), 1 << 30)
        assert (made.vcpus, made.memory, made.cpu_quota) == (vcpus, memory, quota)

    def test_more_cpus_than_there_are_is_refused_in_dockers_words(self) -> None:
        with pytest.raises(InvalidArgument, match=r"range of CPUs is from 0.01 to 8.00, as there are only 8 CPUs"):
            resolve(ContainerRequest("busybox", nano_cpus=9 * 10**9), image(), IDENT, 8)


class TestImage:
    def test_a_foreign_architecture_is_warned_of(self) -> None:
        made = resolve(ContainerRequest("busybox"), image(architecture="arm64"), IDENT, 8)
        assert "does not match the detected host platform" in made.warnings[0]

    def test_a_hostile_configuration_is_harmless(self) -> None:
        hostile = image(stop_signal="nope", working_dir="../..", env=("A=\0", "B=ok"), labels={"x": "image"})
        made = resolve(ContainerRequest("busybox", labels={"y": "own"}), hostile, IDENT, 8)
        assert made.stop_signal == "SIGTERM" and made.working_dir == "/../.." and made.env == ("B=ok",)
        assert made.request.labels == {"x": "image", "y": "own"}

    def test_publish_all_takes_the_images_ports(self) -> None:
        made = resolve(
            ContainerRequest("x", publish_all=True, exposed=("9/udp",)), image(exposed_ports=("80/tcp",)), IDENT, 8
        )
        assert [(p.container_port, p.protocol, p.host_port) for p in made.request.published] == [
            (80, "tcp", 0),
            (9, "udp", 0),
        ]
