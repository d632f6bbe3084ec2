// SPDX-License-Identifier: Apache-2.0
// container.create and process.exec.
#ifndef HYPERCELL_CREATE_H
#define HYPERCELL_CREATE_H

#include "request.h"

int create_container(struct request *r, const struct json *body, struct failure *f);
int create_process(struct request *r, const struct json *body, struct failure *f);

#endif
