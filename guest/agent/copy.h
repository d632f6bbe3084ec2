// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_COPY_H
#define HYPERCELL_COPY_H

// Copies what is in the directory `from` (any descriptor of it) into the directory `to`, and `from`'s own mode and
// owner: files, directories, symlinks, fifos and devices, with mode, owner and modification time; no xattrs, hard
// links become copies. Symlinks are never followed. At most 64 levels deep. 0, or -1 with errno and a part copied.
int copy_tree(int from, int to);

#endif
