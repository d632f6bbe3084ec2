// SPDX-License-Identifier: Apache-2.0
// Any JSON as a profile: what is compiled must be a program that the kernel would take, and end on every path.
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "../seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct seccomp_filter *filter)
{
	if (filter->length == 0 || filter->length > BPF_MAXINSNS)
		abort();
	for (size_t at = 0; at < filter->length; at++) {
		const struct sock_filter *i = &filter->code[at];
		size_t left = filter->length - at - 1u;
		switch (BPF_CLASS(i->code)) {
		case BPF_JMP:
			if (BPF_OP(i->code) == BPF_JA ? i->k >= left : i->jt >= left || i->jf >= left)
				abort();
			break;
		case BPF_LD:
			if (i->k % 4 != 0 || i->k >= sizeof(struct seccomp_data))
				abort();
			break;
		case BPF_ALU:
		case BPF_RET:
			break;
		default:
			abort();
		}
	}
	if (BPF_CLASS(filter->code[filter->length - 1].code) != BPF_RET)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seccomp_filter filter;
	struct failure f = {0};
	char error[128];
	struct json *v = json_parse((const char *)data, size, error);

	if (v == NULL)
		return 0;
	if (seccomp_compile(v, &filter, &f) == 0) {
		if (filter.code != NULL)
			check(&filter);
		seccomp_free(&filter);
	} else if (f.code[0] == '\0' || filter.code != NULL) {
		abort();
	}
	json_free(v);
	return 0;
}
