// SPDX-License-Identifier: Apache-2.0
// Files in and out of a container, in a job inside its mount namespace.
#ifndef HYPERCELL_ARCHIVE_OPERATIONS_H
#define HYPERCELL_ARCHIVE_OPERATIONS_H

#include "request.h"

request_handler archive_operation_get, archive_operation_put, archive_operation_stat;

#endif
