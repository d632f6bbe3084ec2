// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_REMOVE_H
#define HYPERCELL_REMOVE_H

// Removes `name` in the directory `parent`, and all below it if it is a directory; symlinks are removed, not
// followed. What is not there is success. At most 512 levels deep (ELOOP). 0, or -1 with errno.
int remove_tree(int parent, const char *name);

#endif
