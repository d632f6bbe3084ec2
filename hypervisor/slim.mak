# SPDX-License-Identifier: Apache-2.0
# The whole device list: what src/hypercell/vm/command_line.py names, and what the machine itself brings.
CONFIG_MICROVM=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_SCSI=y
CONFIG_VHOST_USER_FS=y
CONFIG_VIRTIO_SERIAL=y
