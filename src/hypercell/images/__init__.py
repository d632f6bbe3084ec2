# SPDX-License-Identifier: Apache-2.0
"""From a name to a read-only root image: registry client, archives, content store, layers merged into EROFS.

    images = await store.open_store(config, database)      # hypercell.images.store

What others may ask of it is in `contract`; how it works in docs/images.md. Nothing is imported here, because the
process that merges layers starts for every build and needs little of this.
"""
