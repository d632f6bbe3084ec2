// SPDX-License-Identifier: Apache-2.0
#include "terminal.h"

#include <fcntl.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "path.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

enum { PTMX_MINOR = 2 };

int terminal_open(int root, struct terminal *out, struct failure *f)
{
	int unlock = 0;
	struct stat status;

	// In a running container somebody may have put another file there.
	out->slave = -1;
	out->master = path_open(root, "/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, 0);
	if (out->master < 0)
		return fail_errno(f, "open /dev/ptmx in the container");
	if (fstat(out->master, &status) < 0 || !S_ISCHR(status.st_mode) ||
	    status.st_rdev != makedev(TTYAUX_MAJOR, PTMX_MINOR)) {
		(void)close(out->master);
		return fail(f, "invalid", "/dev/ptmx in the container is no pseudoterminal multiplexer");
	}
	if (ioctl(out->master, TIOCSPTLCK, &unlock) == 0)
		out->slave = ioctl(out->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (out->slave < 0) {
		(void)fail_errno(f, "open a pseudoterminal");
		(void)close(out->master);
		return -1;
	}
	return 0;
}

int terminal_take(const struct terminal *t, struct failure *f)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (dup2(t->slave, fd) < 0)
			return fail_errno(f, "dup the terminal");
	}
	if (ioctl(t->slave, TIOCSCTTY, 0) < 0)
		return fail_errno(f, "take the controlling terminal");
	return 0;
}

int terminal_resize(int master, unsigned rows, unsigned columns, struct failure *f)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

	if (rows == 0 || columns == 0)
		return 0;
	if (rows > 0xffff || columns > 0xffff)
		return fail(f, "invalid", "rows and columns must be at most 65535");
	return ioctl(master, TIOCSWINSZ, &size) < 0 ? fail_errno(f, "resize the terminal") : 0;
}
