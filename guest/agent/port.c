// SPDX-License-Identifier: Apache-2.0
// The virtio-serial port named hypercell.agent. It may appear after the agent has started.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boot.h"
#include "path.h"

static const char PORTS[] = "/sys/class/virtio-ports";
static const char NAME[] = "hypercell.agent\n";

// The port's device, 0 if it is not there, or -1.
static int try_open(struct failure *f)
{
	char path[300], name[64];
	struct dirent *entry;
	int fd = 0;
	DIR *directory = opendir(PORTS);

	if (directory == NULL)
		return 0;
	while (fd == 0 && (entry = readdir(directory)) != NULL) {
		(void)snprintf(path, sizeof path, "%s/%s/name", PORTS, entry->d_name);
		if (path_read(AT_FDCWD, path, name, sizeof name) <= 0 || strcmp(name, NAME) != 0)
			continue;
		(void)snprintf(path, sizeof path, "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			fd = 0;
		else if (fd < 0)
			fd = fail_errno(f, "open %s", path);
	}
	(void)closedir(directory);
	return fd;
}

int boot_open_port(struct failure *f)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	char event[2048];
	// Listening before looking, so that no port comes in between.
	int events = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (events < 0 || bind(events, (struct sockaddr *)&address, sizeof address) < 0)
		return fail_errno(f, "listen for devices");
	int fd;
	while ((fd = try_open(f)) == 0) {
		if (recv(events, event, sizeof event, 0) < 0 && errno != EINTR && errno != ENOBUFS)
			return fail_errno(f, "listen for devices");
	}
	(void)close(events);
	return fd;
}
