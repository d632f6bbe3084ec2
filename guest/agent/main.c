// SPDX-License-Identifier: Apache-2.0
// The agent: PID 1 of a VM. Boots, and then only answers.
#include <sys/reboot.h>
#include <unistd.h>

#include "boot.h"
#include "channel.h"
#include "log.h"
#include "loop.h"
#include "reap.h"

static int start(struct failure *f)
{
	if (boot(f) < 0 || loop_init() < 0 || reap_init(f) < 0)
		return -1;
	int port = boot_open_port(f);
	if (port < 0)
		return -1;
	return channel_init(port) < 0 ? fail_errno(f, "watch the port") : 0;
}

int main(void)
{
	static const char refusal[] = "hypercell's agent runs as the first process of a VM only\n";
	struct failure f = {.message = "cannot make the loop"};

	if (getpid() != 1) {
		(void)!write(STDERR_FILENO, refusal, sizeof refusal - 1);
		return 1;
	}
	if (start(&f) < 0)
		log_event(LOG_ERROR, "cannot start: %s", f.message);
	else if (loop_run() < 0)
		log_event(LOG_ERROR, "the event loop failed");
	// Without its first process a machine is of no use; the host sees it end.
	sync();
	(void)reboot(RB_AUTOBOOT);
	return 1;
}
