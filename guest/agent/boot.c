// SPDX-License-Identifier: Apache-2.0
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "container.h"
#include "disk.h"
#include "protect.h"
#include "modules.h"
#include "mount.h"
#include "namespaces.h"
#include "network.h"
#include "path.h"

static int mount_one(const char *type, const char *target, unsigned long flags, const char *options, struct failure *f)
{
	if (mkdir(target, 0755) < 0 && errno != EEXIST)
		return fail_errno(f, "make %s", target);
	if (mount(type, target, type, flags, options) < 0 && errno != EBUSY)
		return fail_errno(f, "mount %s", target);
	return 0;
}

static int mount_kernel_file_systems(struct failure *f)
{
	const unsigned long safe = MS_NOSUID | MS_NOEXEC | MS_NODEV;

	if (mount_one("proc", "/proc", safe, NULL, f) < 0 || mount_one("sysfs", "/sys", safe, NULL, f) < 0 ||
	    mount_one("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755", f) < 0 ||
	    mount_one("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755", f) < 0)
		return -1;
	return 0;
}

static int make_directories(struct failure *f)
{
	static const char *const directories[] = {"/run/hypercell", CONTAINER_DIRECTORY, DISK_DIRECTORY};

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
		// A container's root in its user namespace must get through to its own.
		if (mkdir(directories[i], 0711) < 0 && errno != EEXIST)
			return fail_errno(f, "make %s", directories[i]);
	}
	return 0;
}

// The kernel's console, for the agent's own lines; whoever does not read it must not stop the agent.
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i <= 2; i++)
		(void)dup2(fd, i);
	if (fd > 2)
		(void)close(fd);
}

// The kernel would look twice a second whether memory wants compacting. It does so anyway when somebody needs it.
static void let_memory_rest(void)
{
	(void)path_write(AT_FDCWD, "/proc/sys/vm/compaction_proactiveness", "0");
}

int boot(struct failure *f)
{
	(void)umask(022);
	if (mount_leave_initramfs(f) < 0 || mount_kernel_file_systems(f) < 0)
		return -1;
	open_console();
	let_memory_rest();
	if (modules_load(f) < 0 || make_directories(f) < 0 || namespaces_init(f) < 0 || cgroup_setup(f) < 0 ||
	    protect_agent(f) < 0 || network_loopback_up(f) < 0)
		return -1;
	(void)reboot(RB_DISABLE_CAD);
	(void)unlink("/init");
	return 0;
}
