-- SPDX-License-Identifier: Apache-2.0
-- A pod is a VM. `spec` and `port` are JSON; so is `extension`, which belongs to whoever created the container.
CREATE TABLE pods (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    spec TEXT NOT NULL,
    port TEXT NOT NULL
);

CREATE TABLE containers (
    id TEXT NOT NULL PRIMARY KEY,
    pod TEXT NOT NULL REFERENCES pods (id),
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    spec TEXT NOT NULL,
    extension TEXT NOT NULL,
    phase TEXT NOT NULL,
    run INTEGER NOT NULL,
    exit_code INTEGER NOT NULL,
    error TEXT NOT NULL,
    reason TEXT NOT NULL,
    oom_killed INTEGER NOT NULL,
    started_ns BIGINT NOT NULL,
    finished_ns BIGINT NOT NULL,
    restart_count INTEGER NOT NULL,
    stopped_by_user INTEGER NOT NULL,
    UNIQUE (tenant, name)
);
CREATE INDEX containers_by_pod ON containers (pod);
