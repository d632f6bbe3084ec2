// SPDX-License-Identifier: Apache-2.0
// docker commit: a container's writable layer as a layer of an image.
#ifndef HYPERCELL_LAYER_H
#define HYPERCELL_LAYER_H

#include "failure.h"

// Writes to `out` the tar (OCI image-spec, layer.md) of what the directory `upper` changes of what `lower` has (-1:
// neither need be there): names without a leading slash, `.wh.NAME` for what is gone, `.wh..wh..opq` in a directory that
// hides what it had. Every file of `upper` is in it, however much it looks like the one below; directories where they
// differ or lead to something. Without a change it is the tar of nothing.
//
// `invalid` for a file whose own name begins with `.wh.`, which no layer can hold.
int layer_write(int upper, int lower, int out, struct failure *f);

#endif
