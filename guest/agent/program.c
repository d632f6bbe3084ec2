// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AHEAD_MAX = 1024 * 1024 };

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const char *environment_value(const struct json *process, const char *name)
{
	const struct json *list = json_get(process, "env");
	size_t n = strlen(name);
	const char *found = NULL;

	for (size_t i = 0; i < json_length(list); i++) {
		const char *entry = json_string(json_at(list, i), "");
		if (strncmp(entry, name, n) == 0 && entry[n] == '=')
			found = entry + n + 1;
	}
	return found;
}

// The strings of a list, with room for one more and the NULL. They stay the list's own.
static char **point_at_strings(const struct json *list, struct failure *f)
{
	char **out = calloc(json_length(list) + 2, sizeof *out);

	if (out == NULL)
		(void)fail(f, "internal", "out of memory");
	for (size_t i = 0; out != NULL && i < json_length(list); i++)
		out[i] = (char *)(uintptr_t)json_string(json_at(list, i), ""); // execve does not write to them
	return out;
}

int program_build(const struct json *process, const char *home, struct program *out, struct failure *f)
{
	out->arguments = point_at_strings(json_get(process, "args"), f);
	out->environment = point_at_strings(json_get(process, "env"), f);
	if (out->arguments == NULL || out->environment == NULL)
		return -1;
	if (environment_value(process, "HOME") == NULL) {
		(void)snprintf(out->home, sizeof out->home, "HOME=%s", home);
		out->environment[json_length(json_get(process, "env"))] = out->home;
	}
	return 0;
}

const char *program_error_code(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG ? "exec-not-found" : "exec-denied";
}

// 0, or the error with which this file cannot be executed.
static int check(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return errno;
	if (S_ISDIR(status.st_mode))
		return EISDIR;
	if ((status.st_mode & 0111) == 0)
		return EACCES;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

// Go's words, in lower case; docker's users know them by heart.
static const char *words(int error, char *buffer, size_t size)
{
	(void)snprintf(buffer, size, "%s", strerror(error));
	if (*buffer >= 'A' && *buffer <= 'Z' && (buffer[1] < 'A' || buffer[1] > 'Z'))
		*buffer = (char)(*buffer - 'A' + 'a');
	return buffer;
}

static int find_in_path(const char *name, const char *path, struct program *out, struct failure *f)
{
	while (path != NULL) {
		const char *colon = strchr(path, ':');
		size_t n = colon == NULL ? strlen(path) : (size_t)(colon - path);
		int needed = snprintf(out->path, sizeof out->path, "%.*s/%s", (int)n, n == 0 ? "." : path, name);
		if (n == 0)
			needed = snprintf(out->path, sizeof out->path, "./%s", name);
		if (needed > 0 && (size_t)needed < sizeof out->path && check(out->path) == 0)
			return 0;
		path = colon == NULL ? NULL : colon + 1;
	}
	return fail(f, "exec-not-found", "exec: \"%.128s\": executable file not found in $PATH", name);
}

int program_find(const struct json *process, struct program *out, struct failure *f)
{
	const char *name = json_string(json_at(json_get(process, "args"), 0), "");
	const char *path = environment_value(process, "PATH");
	char buffer[96];

	if (strchr(name, '/') == NULL) {
		if (*name == '\0')
			return fail(f, "exec-not-found", "exec: \"\": executable file not found in $PATH");
		return find_in_path(name, path == NULL ? default_path : path, out, f);
	}
	int error = check(name);
	if (error == 0 && strlen(name) < sizeof out->path) {
		memcpy(out->path, name, strlen(name) + 1);
		return 0;
	}
	error = error == 0 ? ENAMETOOLONG : error;
	if (error == EACCES || error == EISDIR)
		return fail(f, "exec-denied", "exec: \"%.300s\": %s", name, words(error, buffer, sizeof buffer));
	return fail(f, program_error_code(error), "exec: \"%.160s\": stat %.160s: %s", name, name,
		    words(error, buffer, sizeof buffer));
}

void program_read_ahead(const struct json *process)
{
	static struct program program;
	struct failure ignored;
	struct stat status;

	if (program_find(process, &program, &ignored) < 0 || stat(program.path, &status) < 0 || !S_ISREG(status.st_mode))
		return;
	int fd = open(program.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)posix_fadvise(fd, 0, AHEAD_MAX, POSIX_FADV_WILLNEED);
	(void)close(fd);
}

int program_execute(const struct program *p, struct failure *f)
{
	char buffer[96];

	(void)execve(p->path, p->arguments, p->environment);
	return fail(f, program_error_code(errno), "exec %.300s: %s", p->path, words(errno, buffer, sizeof buffer));
}
