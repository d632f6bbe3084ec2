-- SPDX-License-Identifier: Apache-2.0
-- `labels` and `options` are JSON objects of texts. `clean`: its file system was last let go of in order.
CREATE TABLE volumes (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    size BIGINT NOT NULL,
    labels TEXT NOT NULL,
    options TEXT NOT NULL,
    clean INTEGER NOT NULL,
    UNIQUE (tenant, name)
);
