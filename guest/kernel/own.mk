# SPDX-License-Identifier: Apache-2.0
# Our kernel: the distribution's source, a configuration made for these VMs, and two changes to its boot.
SOURCE_PACKAGE := linux-source-6.1
OWN := $(WORK)/own
TREE := $(OWN)/tree
PATCHES := $(wildcard kernel/*.patch)
JOBS ?= 2
# Nothing of the machine that builds it goes into the kernel.
KBUILD := $(MAKE) -s --no-print-directory -C $(TREE) -j$(JOBS) KBUILD_BUILD_USER=hypercell KBUILD_BUILD_HOST=hypercell KBUILD_BUILD_TIMESTAMP=@0
BUILD_PACKAGES := gcc make flex bison bc perl patch xz-utils libc6-dev libelf-dev

.PHONY: kernel
kernel: $(OUT)/own/vmlinux $(OUT)/own/initrd

$(OWN)/unpacked: $(PATCHES) kernel/own.mk
	@../tools/install-packages $(BUILD_PACKAGES)
	rm -rf $(OWN)
	mkdir -p $(TREE)
	cd $(OWN) && $(APT_DOWNLOAD) $(SOURCE_PACKAGE) && dpkg-deb -x $(SOURCE_PACKAGE)_*.deb package
	tar -xf $(OWN)/package/usr/src/$(SOURCE_PACKAGE).tar.xz -C $(TREE) --strip-components=1
	rm -rf $(OWN)/package $(OWN)/*.deb
	for patch in $(abspath $(PATCHES)); do patch -d $(TREE) -p1 <$$patch; done
	touch $@

$(OWN)/configured: $(OWN)/unpacked kernel/fragment kernel/check-fragment
	$(KBUILD) tinyconfig >/dev/null 2>&1
	cd $(TREE) && scripts/kconfig/merge_config.sh -m .config $(abspath kernel/fragment) >/dev/null
	$(KBUILD) olddefconfig >/dev/null 2>&1
	kernel/check-fragment kernel/fragment $(TREE)/.config
	touch $@

$(OUT)/own/vmlinux: $(OWN)/configured
	nice -n 19 $(KBUILD) vmlinux
	mkdir -p $(@D)
	strip -o $@.new $(TREE)/vmlinux
	$(KBUILD) kernelrelease >$(@D)/release
	chmod 0644 $@.new $(@D)/release
	mv $@.new $@

$(OUT)/own/initrd: $(OUT)/agent initramfs.py
	mkdir -p $(@D)
	$(PYTHON) initramfs.py $@ $(OUT)/agent
