// SPDX-License-Identifier: Apache-2.0
// Files in and out of a container, in a job inside its mount namespace; and its whole root, in one outside of it: as its
// layers have it, without what is mounted upon them.
#ifndef HYPERCELL_ARCHIVE_OPERATIONS_H
#define HYPERCELL_ARCHIVE_OPERATIONS_H

#include "request.h"

request_handler archive_operation_get, archive_operation_put, archive_operation_stat;
request_handler archive_operation_changes, archive_operation_export, archive_operation_layer;

#endif
