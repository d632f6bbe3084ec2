-- Bytes of what a layer has, unpacked; NULL for layers that were read before this was counted.
ALTER TABLE layer_facts ADD COLUMN content_bytes BIGINT;
-- When a build last made the image or took it from the cache; 0 if that was before this was kept.
ALTER TABLE image_lineage ADD COLUMN used_ns BIGINT NOT NULL DEFAULT 0;
