-- SPDX-License-Identifier: Apache-2.0
-- Where a pod is on networks, the network's own tables say.
ALTER TABLE pods DROP COLUMN port;
