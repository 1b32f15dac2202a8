-- +goose Up

-- How nodes connected to a registered one are found, as JSON; empty: not.
ALTER TABLE registered_nodes ADD COLUMN connected TEXT NOT NULL DEFAULT '';

-- Nodes that were found because a target was connected to them. Times are
-- milliseconds since 1970 in UTC.
CREATE TABLE connected_nodes (
    name       TEXT   NOT NULL PRIMARY KEY,
    root       TEXT   NOT NULL,
    via        TEXT   NOT NULL,
    depth      BIGINT NOT NULL,
    hidden     BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL
);

-- The family that a node had when it was attached last, before any rule.
CREATE TABLE node_families (
    name       TEXT   NOT NULL PRIMARY KEY,
    family     TEXT   NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What people said of families: kind is 'pattern' (nodes whose name matches) or
-- 'rename' (the family of that name).
CREATE TABLE family_rules (
    id         TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    matches    TEXT   NOT NULL,
    family     TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE family_rules;
DROP TABLE node_families;
DROP TABLE connected_nodes;
ALTER TABLE registered_nodes DROP COLUMN connected;
