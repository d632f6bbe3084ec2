/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One machine becomes two: the process of a machine that stands still is forked (docs/adr/0012-forked-clones.md).
 *
 * Memory, devices and translated code are the other's from the first moment on, and shared until they are changed, or
 * copied at once for who wants to share nothing. What
 * a process cannot share with another is replaced, in the new one, under the numbers that its descriptors have: control
 * connection, console, agent, log and tap come with the command, and whatever only wakes up its own process is new: not
 * one open file is common to both. The new machine stands still, too.
 *
 * Part of QEMU, for which this is compiled: monitor/fork.c.
 */
#include "qemu/osdep.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include "monitor-internal.h"
#include "block/aio.h"
#include "block/block.h"
#include "block/thread-pool.h"
#include "chardev/char-fe.h"
#include "chardev/char-socket.h"
#include "exec/cpu-common.h"
#include "exec/memory.h"
#include "hw/boards.h"
#include "io/net-listener.h"
#include "net/net.h"
#include "net/tap.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-misc.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "sysemu/cpus.h"
#include "sysemu/runstate.h"
#include "sysemu/seccomp.h"
#include "sysemu/tcg.h"

/* The descriptors of a command, in this order; a tap only for a machine with a card. The entrances of control groups
 * follow: files of which each wants to be told by the process itself that it comes in. */
enum { OUTPUT, CONTROL, CONTROL_LISTENER, CONSOLE, CONSOLE_LISTENER, AGENT_LISTENER, TAP, OWN, MOST = TCP_MAX_FDS };

extern char **qemu_argv;

static void close_all(const int *descriptors, int count)
{
    for (int i = 0; i < count; i++) {
        if (descriptors[i] >= 0) {
            close(descriptors[i]);
        }
    }
}

/* QEMU keeps memory out of forks, which it only knows of programs that it starts. */
static int fork_memory(RAMBlock *block, void *opaque)
{
    size_t size = qemu_ram_get_max_length(block);
    int *error = opaque;

    if (madvise(qemu_ram_get_host_addr(block), size, MADV_DOFORK) < 0) {
        *error = errno;
    }
    return 0;
}

enum { PAGE = 4096, RUN = 512 }; /* pages that are looked at together */

/* Of a page: it is there, in memory or swapped out, and is no file's. */
static bool is_ours(uint64_t entry)
{
    return entry >> 62 && !(entry >> 61 & 1);
}

/* Call @each for the pages between @start and @end that are ours, of which @pages tells, until it says no. */
static bool walk(int pages, uintptr_t start, uintptr_t end, bool (*each)(uint8_t *page, void *opaque), void *opaque)
{
    g_autofree uint64_t *entries = g_new(uint64_t, RUN);

    for (uintptr_t run = start; run < end; run += RUN * PAGE) {
        size_t count = MIN(RUN, (end - run) / PAGE);
        ssize_t size = count * sizeof(*entries);

        if (pread(pages, entries, size, run / PAGE * sizeof(*entries)) != size) {
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            if (is_ours(entries[i]) && !each((uint8_t *)run + i * PAGE, opaque)) {
                return false;
            }
        }
    }
    return true;
}

static bool give_back_zero(uint8_t *page, void *opaque)
{
    if (buffer_is_zero(page, PAGE)) {
        madvise(page, PAGE, MADV_DONTNEED);
    }
    return true;
}

/* The guest's pages of nothing but zeros need not be there: all forks would have a share in them. */
static void give_back_zeros(void)
{
    uintptr_t start = (uintptr_t)memory_region_get_ram_ptr(current_machine->ram);
    int pages = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    if (pages >= 0) {
        walk(pages, start, start + memory_region_size(current_machine->ram), give_back_zero, NULL);
        close(pages);
    }
}

/* Kernel and initramfs were read long ago. They came as descriptors of ours. */
static void close_boot_file(const char *path)
{
    int number;

    if (path && sscanf(path, "/proc/self/fd/%d", &number) == 1) {
        close(number);
    }
}

/* Once: from then on, nothing happens to it but forks. */
static bool prepare(Error **errp)
{
    static bool prepared;
    int error = 0;

    if (!prepared) {
        qemu_ram_foreach_block(fork_memory, &error);
        if (error) {
            error_setg_errno(errp, error, "its memory cannot be forked");
            return false;
        }
        give_back_zeros();
        bdrv_drain_all();
        drain_call_rcu(); /* takes some hundredths of a second */
        close_boot_file(current_machine->kernel_filename);
        close_boot_file(current_machine->initrd_filename);
        prepared = true;
    }
    return true;
}

static int own(void)
{
    return qemu_find_netdev("net0") ? OWN : TAP;
}

static bool may_fork(int descriptors, Error **errp)
{
    if (descriptors < own() || descriptors >= MOST) {
        error_setg(errp, "%d descriptors instead of %d and those of its groups", descriptors, own());
    } else if (!tcg_enabled()) {
        error_setg(errp, "only an emulated machine can be forked");
    } else if (runstate_is_running()) {
        error_setg(errp, "the machine must stand still");
    } else {
        return prepare(errp);
    }
    return false;
}

/* Have @number mean what @descriptor means, and that one nothing. */
static bool replace(int descriptor, int number)
{
    int flags = fcntl(number, F_GETFL);

    return flags >= 0 && fcntl(descriptor, F_SETFL, flags) == 0 && dup3(descriptor, number, O_CLOEXEC) == number &&
           close(descriptor) == 0;
}

static SocketChardev *channel(const char *label)
{
    Chardev *chardev = qemu_chr_find(label);

    return chardev ? SOCKET_CHARDEV(chardev) : NULL;
}

static bool replace_channel(const char *label, int connection, int listener)
{
    SocketChardev *found = channel(label);

    if (!found || !found->listener || found->listener->nsioc != 1 || (connection >= 0) != !!found->sioc) {
        return false;
    }
    return (connection < 0 || replace(connection, found->sioc->fd)) && replace(listener, found->listener->sioc[0]->fd);
}

/* The signals that @number tells of. */
static bool read_mask(int number, sigset_t *signals)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", number), *text = NULL;
    const char *found;
    uint64_t mask;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !(found = strstr(text, "sigmask:"))) {
        return false;
    }
    mask = g_ascii_strtoull(found + strlen("sigmask:"), NULL, 16);
    sigemptyset(signals);
    for (int i = 0; i < 64; i++) {
        if (mask >> i & 1 && sigaddset(signals, i + 1) < 0) {
            return false;
        }
    }
    return true;
}

/* What two processes share would wake up the wrong one, or be changed by it. What is there to be read stays so. */
static bool renew(int number, const char *what)
{
    struct pollfd look = { .fd = number, .events = POLLIN };
    struct stat status;
    sigset_t signals;
    int fresh;

    if (g_str_equal(what, "anon_inode:[eventfd]")) {
        fresh = eventfd(poll(&look, 1, 0) > 0 && (look.revents & POLLIN), 0);
    } else if (g_str_equal(what, "anon_inode:[eventpoll]")) {
        fresh = epoll_create1(0); /* empty: QEMU uses it for more descriptors than it has here */
    } else if (g_str_equal(what, "anon_inode:[signalfd]")) {
        fresh = read_mask(number, &signals) ? signalfd(-1, &signals, 0) : -1;
    } else if (g_str_equal(what, "/dev/null")) {
        fresh = open(what, O_RDWR);
    } else { /* a file is a disk's that is still open: all forks would write to it */
        return fstat(number, &status) == 0 && !S_ISREG(status.st_mode);
    }
    return fresh >= 0 && replace(fresh, number);
}

static bool renew_all(void)
{
    g_autoptr(GArray) numbers = g_array_new(false, false, sizeof(int));
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    bool done = true;

    if (!directory) {
        return false;
    }
    while ((entry = readdir(directory))) {
        int number = atoi(entry->d_name);

        if (entry->d_name[0] != '.' && number != dirfd(directory)) {
            g_array_append_val(numbers, number);
        }
    }
    closedir(directory);
    for (guint i = 0; done && i < numbers->len; i++) {
        int number = g_array_index(numbers, int, i);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", number);
        g_autofree char *what = g_file_read_link(path, NULL);

        done = what && renew(number, what);
    }
    return done;
}

/* Whoever enters alone, and by itself, need not wait for the whole machine to be quiet (kernel/cgroup/cgroup.c,
 * cgroup_procs_write_start): a hundredth of a second and more. One that refuses, or is no more, would leave the new
 * process in a group of its template's, whose end is the end of all that is in it. */
static bool enter(const int *entrances, int count)
{
    for (int i = 0; i < count; i++) {
        if (write(entrances[i], "0", 1) != 1) {
            return false;
        }
    }
    close_all(entrances, count);
    return true;
}

/* From here on it is another user, without the right to become yet another. */
static bool change_user(uint32_t user)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 } };

    setsid();
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL); /* where there are no keys, none are shared */
    return setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0 &&
           prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 && syscall(SYS_capset, &header, none) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           /* As after an exec: /proc shows whose it is. There is no core, by its limit. */
           prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

/* The word after -name, which lists of processes show; it keeps its length. */
static void rename_process(const char *name)
{
    for (char **word = qemu_argv; *word; word++) {
        if (g_str_equal(*word, "-name") && word[1]) {
            size_t length = strlen(word[1]);

            memset(word[1], ' ', length);
            memcpy(word[1], name, MIN(length, strlen(name)));
            return;
        }
    }
}

typedef struct Mapping {
    uintptr_t start, end;
    bool writable;
} Mapping;

static bool copy_page(uint8_t *page, void *opaque)
{
    Mapping *mapping = opaque;
    volatile uint8_t *byte = page;

    if (!mapping->writable && mprotect((void *)mapping->start, mapping->end - mapping->start, PROT_READ | PROT_WRITE) < 0) {
        return false;
    }
    mapping->writable = true;
    *byte = *byte; /* to write is to copy */
    return true;
}

/* Have pages of our own. What was made unwritable when the program was loaded stays so. */
static bool copy_pages(int pages, uintptr_t start, uintptr_t end, bool writable)
{
    Mapping mapping = { .start = start, .end = end, .writable = writable };

    return walk(pages, start, end, copy_page, &mapping) &&
           (mapping.writable == writable || mprotect((void *)start, end - start, PROT_READ) == 0);
}

/* Share nothing any more with the process of which this was forked but what is a file's: the program's text. */
static bool copy_memory(void)
{
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;
    int pages = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool done = pages >= 0 && g_file_get_contents("/proc/self/maps", &maps, NULL, NULL);

    if (done) {
        lines = g_strsplit(maps, "\n", -1);
    }
    for (char **line = lines; done && *line && **line; line++) {
        unsigned long start, end;
        char rights[5];

        done = sscanf(*line, "%lx-%lx %4s", &start, &end, rights) == 3;
        /* The kernel's own (vvar) are neither ours nor anybody's. */
        if (done && rights[0] == 'r' && rights[3] == 'p' && (rights[1] == 'w' || rights[2] != 'x') &&
            !strstr(*line, "[vvar")) {
            done = copy_pages(pages, start, end, rights[1] == 'w');
        }
    }
    if (pages >= 0) {
        close(pages);
    }
    return done;
}

static void check(bool done, const char *what)
{
    if (!done) {
        fprintf(stderr, "fork: cannot %s: %s\n", what, strerror(errno));
        _exit(1);
    }
}

/* In the new process, which says on @told when it can be found by its user and name: unheard, it would be nobody's, and
 * ends. Its threads come last: they inherit what it may and may not do. */
static void become(const char *name, uint32_t user, bool apart, int *given, int count, int told)
{
    Error *error = NULL;
    pid_t self = getpid();

    check(dup2(given[OUTPUT], 1) == 1 && dup2(given[OUTPUT], 2) == 2 && close(given[OUTPUT]) == 0, "open its log");
    check(enter(given + own(), count - own()), "enter its control groups");
    check(replace_channel("qmp0", given[CONTROL], given[CONTROL_LISTENER]), "take over the control socket");
    check(replace_channel("con0", given[CONSOLE], given[CONSOLE_LISTENER]), "take over the console");
    check(replace_channel("ag0", -1, given[AGENT_LISTENER]), "take over the agent's socket");
    check(own() == TAP || tap_replace(qemu_find_netdev("net0"), given[TAP]) == 0, "take over the tap");
    check(renew_all(), "renew what it shares");
    check(change_user(user), "become another user");
    rename_process(name);
    check(write(told, &self, sizeof(self)) == sizeof(self) && close(told) == 0, "say that it is there");
    check(!apart || copy_memory(), "have memory of its own");
    check(seccomp_deny_all(&error) == 0, "confine itself");
    rcu_after_fork_in_child();
    if (qemu_get_aio_context()->thread_pool) {
        thread_pool_after_fork(qemu_get_aio_context()->thread_pool);
    }
    tcg_after_fork();
    cpus_after_fork();
}

/*
 * Fork twice: whoever waits for this process's parent is to wait for the machine as well, not this process. The one in
 * between has this process's very memory, so that there is one copy to make. The number is told twice, by the one in
 * between when the machine is made, and by that itself when it has become what it is to be. Of one that fails to, there
 * is the number: somebody waits for its end.
 */
static pid_t fork_away(int *told)
{
    pid_t machine = -1, itself, middle = vfork();
    int status;

    if (middle != 0) {
        close(told[1]);
        told[1] = -1;
        if (middle < 0 || waitpid(middle, &status, 0) != middle || read(told[0], &machine, sizeof(machine)) != sizeof(machine)) {
            return -1;
        }
        return read(told[0], &itself, sizeof(itself)) < 0 ? -1 : machine;
    }
    machine = fork();
    if (machine != 0) {
        _exit(machine > 0 && write(told[1], &machine, sizeof(machine)) == sizeof(machine) ? 0 : 1);
    }
    close(told[0]);
    return 0;
}

ForkedMachine *qmp_x_fork(const char *name, uint32_t user, bool has_apart, bool apart, Error **errp)
{
    ForkedMachine *forked;
    int given[MOST], told[2] = { -1, -1 };
    int count = qemu_chr_fe_get_msgfds(&monitor_cur()->chr, given, MOST);
    pid_t pid;

    if (!may_fork(count, errp)) {
        close_all(given, count);
        return NULL;
    }
    if (pipe2(told, O_CLOEXEC) < 0) {
        error_setg_errno(errp, errno, "no pipe");
        close_all(given, count);
        return NULL;
    }
    rcu_before_fork();
    pid = fork_away(told);
    if (pid == 0) {
        become(name, user, has_apart && apart, given, count, told[1]);
        pid = getpid();
    } else {
        rcu_after_fork_in_parent();
        close_all(told, 2);
        close_all(given, count);
    }
    if (pid < 0) {
        error_setg_errno(errp, errno, "no fork");
        return NULL;
    }
    forked = g_new0(ForkedMachine, 1);
    forked->pid = pid;
    return forked;
}

void qmp_x_forget_translations(Error **errp)
{
    if (tcg_enabled()) {
        tcg_forget_translations();
    }
}
