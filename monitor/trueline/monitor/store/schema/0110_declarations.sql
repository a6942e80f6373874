-- What owners of applications declared in trueline.yaml, one row for each entry of each version. Rows are only ever
-- added: the rows of one version share application, valid_from and content_hash, and one of them has the kind version.
CREATE TABLE IF NOT EXISTS declarations
(
    application LowCardinality(String) COMMENT 'empty: all applications',
    content_hash String COMMENT 'SHA-256 of the file; empty: withdrawn',
    valid_from DateTime64(3, 'UTC'),
    path String,
    kind LowCardinality(String),
    name String COMMENT 'what the entry is about',
    tables Array(String),
    domain LowCardinality(String),
    words Array(String) COMMENT 'encodings, places, writers, roles ...',
    seconds Float64 COMMENT '0: none',
    service LowCardinality(String),
    operation String,
    environment LowCardinality(String),
    starts Nullable(DateTime64(3, 'UTC')),
    ends Nullable(DateTime64(3, 'UTC')),
    detail String COMMENT 'the whole entry as JSON'
)
ENGINE = MergeTree
ORDER BY (application, valid_from, kind, name)
