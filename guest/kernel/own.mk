# SPDX-License-Identifier: Apache-2.0
# Our kernel: the distribution's source, a configuration made for these VMs, and a few changes to its boot. It is built
# twice, for VMs with one CPU (vmlinux-up) and with more (vmlinux).
SOURCE_PACKAGE := linux-source-6.1
OWN := $(WORK)/own
TREE := $(OWN)/tree
PATCHES := $(wildcard kernel/*.patch)
JOBS ?= 2
# Nothing of the machine that builds it goes into the kernel. $* is smp or up.
KBUILD = $(MAKE) -s --no-print-directory -C $(TREE) O=$(OWN)/$* -j$(JOBS) KBUILD_BUILD_USER=hypercell KBUILD_BUILD_HOST=hypercell KBUILD_BUILD_TIMESTAMP=@0
BUILD_PACKAGES := gcc make flex bison bc perl patch xz-utils libc6-dev libelf-dev

.PHONY: kernel
kernel: $(OUT)/own/vmlinux $(OUT)/own/vmlinux-up $(OUT)/own/release $(OUT)/own/initrd

$(OWN)/unpacked: $(PATCHES) kernel/own.mk
	@../tools/install-packages $(BUILD_PACKAGES)
	rm -rf $(OWN)
	mkdir -p $(TREE)
	cd $(OWN) && $(APT_DOWNLOAD) $(SOURCE_PACKAGE) && dpkg-deb -x $(SOURCE_PACKAGE)_*.deb package
	tar -xf $(OWN)/package/usr/src/$(SOURCE_PACKAGE).tar.xz -C $(TREE) --strip-components=1
	rm -rf $(OWN)/package $(OWN)/*.deb
	for patch in $(abspath $(PATCHES)); do patch -d $(TREE) -p1 <$$patch; done
	touch $@

.PRECIOUS: $(OWN)/%/configured $(OWN)/%/vmlinux
$(OWN)/%/configured: $(OWN)/unpacked kernel/fragment kernel/fragment.% kernel/check-fragment
	mkdir -p $(@D)
	$(KBUILD) tinyconfig >/dev/null 2>&1
	$(TREE)/scripts/kconfig/merge_config.sh -m -O $(@D) $(@D)/.config kernel/fragment kernel/fragment.$* >/dev/null
	$(KBUILD) olddefconfig >/dev/null 2>&1
	kernel/check-fragment $(@D)/.config kernel/fragment kernel/fragment.$*
	touch $@

$(OWN)/%/vmlinux: $(OWN)/%/configured
	nice -n 19 $(KBUILD) vmlinux
	touch $@

$(OUT)/own/vmlinux: $(OWN)/smp/vmlinux
$(OUT)/own/vmlinux-up: $(OWN)/up/vmlinux
$(OUT)/own/vmlinux $(OUT)/own/vmlinux-up:
	mkdir -p $(@D)
	strip -o $@.new $<
	chmod 0644 $@.new
	mv $@.new $@

$(OUT)/own/release: $(OWN)/smp/vmlinux
	mkdir -p $(@D)
	cat $(OWN)/smp/include/config/kernel.release >$@
	chmod 0644 $@

$(OUT)/own/initrd: $(OUT)/agent initramfs.py
	mkdir -p $(@D)
	$(PYTHON) initramfs.py $@ $(OUT)/agent
