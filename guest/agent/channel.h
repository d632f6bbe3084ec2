// SPDX-License-Identifier: Apache-2.0
// The connection with the host over the virtio port: greeting, frames in, frames out.
#ifndef HYPERCELL_CHANNEL_H
#define HYPERCELL_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

// Takes the open, non-blocking port.
int channel_init(int port);
// A greeting was answered. Whether that host is still there is not known for sure.
bool channel_greeted(void);
// Changes with each greeting: what was asked before is forgotten.
uint32_t channel_generation(void);
// Queues a frame whose payload is t, and frees t. Dropped before the first greeting, and events when too much waits.
void channel_send(uint8_t type, uint32_t id, struct text *t);
// Somebody has something to send.
void channel_wake(void);

#endif
