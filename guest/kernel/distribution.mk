# SPDX-License-Identifier: Apache-2.0
# The distribution's cloud kernel: fetched and unpacked, never installed, so the host's boot set-up is not touched.
CLOUD_PACKAGE := linux-image-cloud-amd64
DISTRIBUTION := $(WORK)/distribution
# As root, apt would fetch as another user, who may not write here.
APT_DOWNLOAD := apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 download

# A meta package names the current kernel in its dependencies.
$(DISTRIBUTION)/unpacked: kernel/distribution.mk
	rm -rf $(DISTRIBUTION)
	mkdir -p $(DISTRIBUTION)/package
	# A machine may have every package and yet no lists of them.
	apt-cache show $(CLOUD_PACKAGE) >/dev/null 2>&1 || apt-get -q -o Acquire::Retries=3 update
	package=$$(apt-cache show --no-all-versions $(CLOUD_PACKAGE) | sed -nE 's/^Depends:.*(linux-image-[0-9][^ ,]*).*/\1/p'); \
	[ -n "$$package" ] || { echo "apt knows no $(CLOUD_PACKAGE): run apt-get update" >&2; exit 1; }; \
	cd $(DISTRIBUTION) && $(APT_DOWNLOAD) $$package && dpkg-deb -x $$package*.deb package && rm $$package*.deb
	touch $@

$(OUT)/distribution/vmlinux: $(DISTRIBUTION)/unpacked kernel/bzimage.py
	mkdir -p $(@D)
	$(PYTHON) kernel/bzimage.py $(DISTRIBUTION)/package/boot/vmlinuz-* $@.new
	ls $(DISTRIBUTION)/package/lib/modules >$(@D)/release
	chmod 0644 $@.new $(@D)/release
	mv $@.new $@

$(DISTRIBUTION)/modules/order: $(DISTRIBUTION)/unpacked kernel/modules.py Makefile
	$(PYTHON) kernel/modules.py $(DISTRIBUTION)/package/lib/modules/* $(@D) $(MODULES)

$(OUT)/distribution/initrd: $(OUT)/agent initramfs.py $(DISTRIBUTION)/modules/order
	mkdir -p $(@D)
	$(PYTHON) initramfs.py $@ $(OUT)/agent $(DISTRIBUTION)/modules
