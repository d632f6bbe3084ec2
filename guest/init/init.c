// SPDX-License-Identifier: Apache-2.0
// The program behind `--init`: PID 1 of a container that runs one program, hands it every signal, and reaps what
// others leave behind.
//
//     init -- PROGRAM [ARGUMENT…]
//
// Ends with the program's exit code, or 128 + the signal that killed it; 127 if there is no such program, 126 if it cannot
// be run (docker's codes).
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Signals that the program's own faults raise must not be held back in it, nor taken from this process.
static const int faults[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};

// The kernel's signal sets, by its own calls: the C library keeps 32 to 34 to itself, and glibc's SIGRTMIN is one of them.
static uint64_t set_mask(uint64_t mask)
{
	uint64_t before = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof mask);
	return before;
}

static uint64_t waited_signals(void)
{
	uint64_t mask = ~UINT64_C(0);
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		mask &= ~(UINT64_C(1) << (faults[i] - 1));
	return mask;
}

static void become_program(char **args, uint64_t mask)
{
	setpgid(0, 0);
	// The terminal, if there is one, is the program's; asking for it from the background stops who asks.
	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(STDIN_FILENO, getpgrp());
	signal(SIGTTOU, SIG_DFL);
	set_mask(mask);
	execvp(args[0], args);
	int error = errno;
	dprintf(STDERR_FILENO, "init: exec %s failed: %s\n", args[0], strerror(error));
	_exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

// Reaps every child that has ended. True, with *status set, when the program is among them.
static bool reap(pid_t program, int *status)
{
	bool ended = false;
	int found;
	pid_t pid;
	while ((pid = waitpid(-1, &found, WNOHANG)) > 0) {
		if (pid == program) {
			ended = true;
			*status = found;
		}
	}
	return ended;
}

int main(int count, char **args)
{
	args++;
	if (count > 1 && strcmp(args[0], "--") == 0)
		args++;
	if (args[0] == NULL) {
		dprintf(STDERR_FILENO, "init: no program\n");
		return 126;
	}
	const uint64_t waited = waited_signals();
	const uint64_t before = set_mask(waited);
	pid_t program = fork();
	if (program < 0) {
		dprintf(STDERR_FILENO, "init: fork: %s\n", strerror(errno));
		return 126;
	}
	if (program == 0)
		become_program(args, before);
	for (;;) {
		long number = syscall(SYS_rt_sigtimedwait, &waited, NULL, NULL, sizeof waited);
		int status;
		if (number == SIGCHLD) {
			if (reap(program, &status))
				return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		} else if (number > 0) {
			kill(program, (int)number);
		}
	}
}
