// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"

union ancillary {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int child_send(int socket, const struct child_message *m, int descriptor)
{
	union ancillary ancillary = {0};
	size_t size = m->kind == CHILD_FAILED ? sizeof *m : offsetof(struct child_message, failure);
	struct iovec piece = {.iov_base = (void *)(uintptr_t)m, .iov_len = size};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

	if (descriptor >= 0) {
		message.msg_control = &ancillary;
		message.msg_controllen = sizeof ancillary;
		ancillary.header.cmsg_level = SOL_SOCKET;
		ancillary.header.cmsg_type = SCM_RIGHTS;
		ancillary.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&ancillary.header), &descriptor, sizeof descriptor);
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int child_receive(int socket, struct child_message *m, int *descriptor)
{
	union ancillary ancillary;
	struct iovec piece = {.iov_base = m, .iov_len = sizeof *m};
	struct msghdr message = {
		.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};

	*descriptor = -1;
	memset(m, 0, sizeof *m);
	ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return (int)n;
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(descriptor, CMSG_DATA(c), sizeof *descriptor);
	m->failure.code[sizeof m->failure.code - 1] = '\0';
	m->failure.message[sizeof m->failure.message - 1] = '\0';
	return 1;
}
