# SPDX-License-Identifier: Apache-2.0
"""Run some hundred thousand instructions in a virtual machine of KVM's and tell how long they took.

Executed as a program of its own, so that a KVM that hangs or crashes harms nobody: prints one JSON object,
`{"loop_us": …, "exit_us": …}` or `{"error": "…"}`. Nothing but the standard library is imported. The numbers are
those of Linux, include/uapi/linux/kvm.h and Documentation/virt/kvm/api.rst.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import struct
import time

KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_CREATE_VCPU = 0xAE41
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_RUN = 0xAE80
KVM_SET_REGS = 0x4090AE82
KVM_GET_SREGS = 0x8138AE83
KVM_SET_SREGS = 0x4138AE84
KVM_EXIT_IO = 2
KVM_EXIT_HLT = 5
EXIT_REASON = 8
"""Offset of `exit_reason` in `struct kvm_run`."""

ROUNDS = 100_000
EXITS = 200
CODE_AT = 0x1000
# mov ecx, ROUNDS / loop: dec ecx / jnz loop / mov ecx, EXITS / again: out 0x80, al / dec ecx / jnz again / hlt
CODE = (
    b"\x66\xb9" + struct.pack("<I", ROUNDS) + b"\x66\x49\x75\xfc"
    b"\x66\xb9" + struct.pack("<I", EXITS) + b"\xe6\x80\x66\x49\x75\xfa\xf4"
)


def main() -> dict[str, object]:
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    version = fcntl.ioctl(kvm, KVM_GET_API_VERSION, 0)
    if version != 12:
        return {"error": f"it speaks version {version} of its interface, not 12"}
    machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    memory = mmap.mmap(-1, 0x10000)
    memory[CODE_AT : CODE_AT + len(CODE)] = CODE
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, KVM_SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, len(memory), address))
    vcpu = fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)
    run = mmap.mmap(vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0))

    special = bytearray(312)
    fcntl.ioctl(vcpu, KVM_GET_SREGS, special)
    struct.pack_into("<Q", special, 0, 0)  # cs.base
    struct.pack_into("<H", special, 12, 0)  # cs.selector
    fcntl.ioctl(vcpu, KVM_SET_SREGS, bytes(special))
    registers = bytearray(144)
    struct.pack_into("<QQ", registers, 128, CODE_AT, 2)  # rip, rflags
    fcntl.ioctl(vcpu, KVM_SET_REGS, bytes(registers))

    def until_exit() -> int:
        fcntl.ioctl(vcpu, KVM_RUN, 0)
        (reason,) = struct.unpack_from("<I", run, EXIT_REASON)
        return int(reason)

    begin = time.perf_counter_ns()
    reason = until_exit()
    looped = time.perf_counter_ns()
    exits = 0
    while reason == KVM_EXIT_IO and exits <= EXITS:
        exits += 1
        reason = until_exit()
    end = time.perf_counter_ns()
    if reason != KVM_EXIT_HLT or exits != EXITS:
        return {"error": f"the virtual machine stopped for reason {reason} after {exits} exits"}
    return {"loop_us": (looped - begin) // 1000, "exit_us": (end - looped) / 1000 / EXITS}


if __name__ == "__main__":
    try:
        print(json.dumps(main()))
    except OSError as error:
        print(json.dumps({"error": f"{error.strerror or error}"}))
