-- +goose Up

-- Nodes that were registered through the API. Times are milliseconds since
-- 1970 in UTC; labels are a JSON object of strings.
CREATE TABLE registered_nodes (
    name          TEXT   NOT NULL PRIMARY KEY,
    address       TEXT   NOT NULL,
    epmd          TEXT   NOT NULL,
    family        TEXT   NOT NULL,
    labels        TEXT   NOT NULL,
    cookie_ref    TEXT   NOT NULL,
    sealed_cookie TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    CHECK (cookie_ref = '' OR sealed_cookie = '')
);

-- Nodes that nothing may be asked of, whether registered or discovered.
CREATE TABLE suspended_nodes (
    name  TEXT   NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);

-- +goose Down
DROP TABLE suspended_nodes;
DROP TABLE registered_nodes;
