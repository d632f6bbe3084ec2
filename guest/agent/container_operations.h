// SPDX-License-Identifier: Apache-2.0
// The operations on a container that exists.
#ifndef HYPERCELL_CONTAINER_OPERATIONS_H
#define HYPERCELL_CONTAINER_OPERATIONS_H

#include "request.h"

request_handler container_operation_start, container_operation_delete, container_operation_pause,
	container_operation_resume, container_operation_update, container_operation_stats, container_operation_processes;

#endif
