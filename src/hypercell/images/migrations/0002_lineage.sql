-- Of which image a committed or built one was made, and by what step: a build that comes to the same step again takes
-- the image. An empty parent: made of nothing.
CREATE TABLE image_lineage (
    tenant TEXT NOT NULL,
    image_id TEXT NOT NULL,
    parent TEXT NOT NULL,
    step TEXT NOT NULL,
    PRIMARY KEY (tenant, image_id),
    FOREIGN KEY (tenant, image_id) REFERENCES images (tenant, id) ON DELETE CASCADE
);
CREATE INDEX image_lineage_by_parent ON image_lineage (tenant, parent, step);
