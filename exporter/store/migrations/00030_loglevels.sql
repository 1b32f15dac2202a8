-- +goose Up

-- Levels of log entries that people have set for single nodes.
CREATE TABLE log_levels (
    node       TEXT   NOT NULL,
    source     TEXT   NOT NULL,
    level      TEXT   NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (node, source)
);

-- +goose Down
DROP TABLE log_levels;
