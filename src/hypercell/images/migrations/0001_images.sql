-- Images of tenants. The content itself is in the content store, by digest, shared by all tenants.
CREATE TABLE images (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    config TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    size BIGINT NOT NULL,
    created_ns BIGINT NOT NULL,
    last_tagged_ns BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX images_by_id ON images (id);

CREATE TABLE image_layers (
    tenant TEXT NOT NULL,
    image_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    diff_id TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    PRIMARY KEY (tenant, image_id, position),
    FOREIGN KEY (tenant, image_id) REFERENCES images (tenant, id) ON DELETE CASCADE
);
CREATE INDEX image_layers_by_digest ON image_layers (tenant, digest);

CREATE TABLE image_names (
    tenant TEXT NOT NULL,
    repository TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('tag', 'digest')),
    value TEXT NOT NULL,
    image_id TEXT NOT NULL,
    PRIMARY KEY (tenant, repository, kind, value),
    FOREIGN KEY (tenant, image_id) REFERENCES images (tenant, id) ON DELETE CASCADE
);
CREATE INDEX image_names_by_image ON image_names (tenant, image_id);

-- Facts that were established by reading content once, and stay true: which archive a blob uncompresses to, and how
-- many bytes of files a chain holds.
CREATE TABLE layer_facts (
    digest TEXT NOT NULL PRIMARY KEY,
    diff_id TEXT NOT NULL
);
CREATE TABLE chain_facts (
    chain_id TEXT NOT NULL PRIMARY KEY,
    content_bytes BIGINT NOT NULL
);
