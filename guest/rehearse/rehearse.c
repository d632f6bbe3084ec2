// SPDX-License-Identifier: Apache-2.0
// What programs do when they start, run and end, once: the program of the container that a template carries out
// (src/hypercell/vm/factory/warming.py), so that its clones have the ways through the kernel behind them.
//
//     rehearse          says so once it takes SIGTERM, does all of it, and ends when it is told
//     rehearse again    starts, and ends
//
// Nothing that it does matters, and nothing that fails: it takes no notice.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, BULK = 384, FUTEX_WAKE = 1 }; // the last from linux/futex.h, which musl does not bring

// Makes the program large enough to be read ahead in several pieces, as a user's is.
static const unsigned char bulk[BULK * PAGE] = {1, [sizeof bulk - 1] = 1};
// What is written though it came with the program, by whom it is read before and by whom it is not, and what did not.
static volatile unsigned char read_first[2 * PAGE] = {1}, written_first[2 * PAGE] = {1}, zeros[8 * PAGE];
static volatile unsigned sink;
static volatile sig_atomic_t told;

static void tell(int number)
{
	told = number;
}

// Which the C library of most images asks for before main, and this one's does not.
static void start_as_others_do(void)
{
	static struct {
		_Alignas(32) uint32_t words[8];
	} sequence;
	static uintptr_t robust[3] = {(uintptr_t)robust, 0, 0};
	struct rlimit limit;
	struct timespec now;
	struct termios terminal;
	char text[PAGE];
	void *memory;

	(void)syscall(SYS_set_robust_list, robust, sizeof robust);
	(void)syscall(SYS_rseq, &sequence, sizeof sequence, 0, 0x53053053);
	(void)getrlimit(RLIMIT_STACK, &limit);
	(void)clock_gettime(CLOCK_REALTIME, &now); // by the kernel's own page in this process
	sink += getuid() + geteuid() + getgid() + getegid() + (unsigned)getppid();
	sink += (unsigned)tcgetattr(STDOUT_FILENO, &terminal);
	sink += (unsigned)(getcwd(text, sizeof text) != NULL);
	sink += read_first[PAGE];
	read_first[PAGE] = written_first[PAGE] = zeros[PAGE] = zeros[4 * PAGE] = 1;
	sink += (unsigned)readlink("/proc/self/exe", text, sizeof text);
	sink += (unsigned)getrandom(text, 8, GRND_NONBLOCK);
	for (int i = 0; i < 4; i++)
		sink += (unsigned)syscall(SYS_brk, (uintptr_t)syscall(SYS_brk, 0) + 33 * PAGE);
	memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory != MAP_FAILED) {
		memset(memory, 1, 16 * PAGE);
		(void)mprotect(memory, 4 * PAGE, PROT_READ);
		(void)mprotect((char *)memory + 8 * PAGE, PAGE, PROT_NONE);
		(void)madvise((char *)memory + 32 * PAGE, 8 * PAGE, MADV_DONTNEED);
		(void)munmap((char *)memory + 40 * PAGE, 24 * PAGE);
	}
	(void)prctl(PR_GET_NAME, text);
	(void)prctl(PR_SET_NAME, "rehearse");
	(void)syscall(SYS_futex, &sequence, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void read_program(void)
{
	for (size_t i = 0; i < BULK; i += i % 64 < 32 ? 1 : 7)
		sink += bulk[i * PAGE];
}

static void use_files(void)
{
	static const char *const paths[] = {"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/proc/self/status",
					    "/dev/null",  "/dev/urandom",     "/nowhere",      "/proc/meminfo"};
	char text[PAGE] = "";
	struct stat status;
	DIR *directory = opendir("/");

	while (directory != NULL && readdir(directory) != NULL)
		sink++;
	if (directory != NULL)
		(void)closedir(directory);
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		(void)stat(paths[i], &status);
		sink += (unsigned)access(paths[i], R_OK);
		if (fd >= 0) {
			sink += (unsigned)read(fd, text, sizeof text);
			(void)fstat(fd, &status);
			(void)lseek(fd, 0, SEEK_SET);
			(void)close(fd);
		}
	}
	(void)mkdir("/tmp/rehearsed", 0755);
	int fd = open("/tmp/rehearsed/file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	for (int i = 0; fd >= 0 && i < 32; i++)
		sink += (unsigned)write(fd, text, sizeof text);
	if (fd >= 0) {
		void *memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (memory != MAP_FAILED) {
			memset(memory, 1, PAGE);
			(void)munmap(memory, 8 * PAGE);
		}
		(void)ftruncate(fd, PAGE);
		(void)fsync(fd);
		(void)close(fd);
	}
	(void)chmod("/tmp/rehearsed/file", 0600);
	(void)rename("/tmp/rehearsed/file", "/tmp/rehearsed/other");
	(void)symlink("other", "/tmp/rehearsed/link");
	(void)unlink("/tmp/rehearsed/link");
	(void)unlink("/tmp/rehearsed/other");
	(void)rmdir("/tmp/rehearsed");
}

// Sends back what comes.
static void *answer(void *listener)
{
	struct sockaddr_in from;
	socklen_t size = sizeof from;
	char text[16];

	sink += (unsigned)recvfrom(*(int *)listener, text, sizeof text, 0, (struct sockaddr *)&from, &size);
	sink += (unsigned)sendto(*(int *)listener, text, sizeof text, 0, (struct sockaddr *)&from, size);
	return NULL;
}

// No TCP connection: with the first one the kernel makes, for good, the secrets that sequence numbers, time stamps and
// ports come of, and all clones of a template would have the same. Who listens needs none of them yet.
static void use_network(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, any = address;
	socklen_t size = sizeof address;
	int waiting = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	int listener = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int caller = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[16] = "hello";
	pthread_t thread;

	(void)setsockopt(waiting, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(waiting, (struct sockaddr *)&any, sizeof any) == 0)
		(void)listen(waiting, 1);
	if (bind(listener, (struct sockaddr *)&address, size) == 0 &&
	    getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
	    pthread_create(&thread, NULL, answer, &listener) == 0) {
		struct pollfd ready = {.fd = caller, .events = POLLIN};
		if (sendto(caller, text, sizeof text, 0, (struct sockaddr *)&address, size) < 0)
			(void)shutdown(listener, SHUT_RDWR); // which wakes up who waits there
		(void)poll(&ready, 1, 1000);
		sink += (unsigned)recv(caller, text, sizeof text, MSG_DONTWAIT);
		(void)pthread_join(thread, NULL);
	}
	(void)close(caller);
	(void)close(listener);
	(void)close(waiting);
}

static void run_another(const char *self)
{
	int ends[2];
	char text[16];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return;
	child = fork();
	if (child == 0) {
		(void)dup2(ends[1], STDOUT_FILENO);
		(void)execl(self, self, "again", (char *)NULL);
		_exit(1);
	}
	(void)close(ends[1]);
	while (read(ends[0], text, sizeof text) > 0)
		sink++;
	(void)close(ends[0]);
	if (child > 0)
		(void)waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = tell};
	struct timespec moment = {.tv_nsec = 1000000};
	struct utsname names;
	sigset_t held;

	start_as_others_do();
	(void)uname(&names);
	if (argc > 1) {
		(void)puts("again");
		return 0;
	}
	(void)sigemptyset(&held);
	(void)sigaddset(&held, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &held, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)fputs("rehearsing\n", stderr);
	read_program();
	use_files();
	use_network();
	run_another(argv[0]);
	(void)nanosleep(&moment, NULL);
	(void)puts("done");
	(void)sigemptyset(&held);
	while (told == 0)
		(void)sigsuspend(&held);
	return 0;
}
