# SPDX-License-Identifier: Apache-2.0
# Our kernel: the distribution's source, a configuration made for these VMs, and one change to its boot.
SOURCE_PACKAGE := linux-source-6.1
OWN := $(WORK)/own
TREE := $(OWN)/tree
PATCHES := $(wildcard kernel/*.patch)
JOBS ?= 2
# Nothing of the machine that builds it goes into the kernel.
KBUILD := $(MAKE) -s --no-print-directory -C $(TREE) -j$(JOBS) KBUILD_BUILD_USER=hypercell KBUILD_BUILD_HOST=hypercell KBUILD_BUILD_TIMESTAMP=@0
KERNEL_TOOLS := gcc flex bison bc perl patch xz strip

.PHONY: kernel
kernel: $(OUT)/own/vmlinux $(OUT)/own/initrd

$(OWN)/unpacked: $(PATCHES) kernel/own.mk
	@for tool in $(KERNEL_TOOLS); do command -v $$tool >/dev/null || { \
	    echo "building a kernel needs $(KERNEL_TOOLS): $$tool is missing" >&2; exit 1; }; done
	@printf '#include <libelf.h>\n' | gcc -fsyntax-only -xc - || { \
	    echo "building a kernel needs libelf-dev" >&2; exit 1; }
	rm -rf $(OWN)
	mkdir -p $(TREE)
	cd $(OWN) && $(APT_DOWNLOAD) $(SOURCE_PACKAGE) && dpkg-deb -x $(SOURCE_PACKAGE)_*.deb package
	tar -xf $(OWN)/package/usr/src/$(SOURCE_PACKAGE).tar.xz -C $(TREE) --strip-components=1
	rm -rf $(OWN)/package $(OWN)/*.deb
	for patch in $(abspath $(PATCHES)); do patch -d $(TREE) -p1 <$$patch; done
	touch $@

$(OWN)/configured: $(OWN)/unpacked kernel/fragment kernel/check-fragment
	$(KBUILD) tinyconfig
	cd $(TREE) && scripts/kconfig/merge_config.sh -m .config $(abspath kernel/fragment) >/dev/null
	$(KBUILD) olddefconfig
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
