-- +goose Up

-- One row: who we are. The id marks everything that we make with providers.
CREATE TABLE installation (
    id         TEXT   NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- Times are milliseconds since 1970 in UTC; data and steps are JSON. Secrets
-- are only in columns called sealed.
CREATE TABLE providers (
    id     TEXT NOT NULL PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    data   TEXT NOT NULL,
    sealed TEXT NOT NULL
);

CREATE TABLE releases (
    id     TEXT NOT NULL PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    data   TEXT NOT NULL,
    sealed TEXT NOT NULL
);

CREATE TABLE families (
    id   TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    data TEXT NOT NULL
);

CREATE TABLE nodes (
    id         TEXT   NOT NULL PRIMARY KEY,
    family_id  TEXT   NOT NULL REFERENCES families (id),
    -- Where in the order of their making it is.
    created_at BIGINT NOT NULL,
    position   BIGINT NOT NULL,
    data       TEXT   NOT NULL
);
CREATE INDEX nodes_family ON nodes (family_id);

-- What is being done: at most one task for a node or family at a time. Whoever
-- holds the lease does it; next_at is when it is to be gone on with.
CREATE TABLE tasks (
    subject      TEXT   NOT NULL PRIMARY KEY,
    id           TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    data         TEXT   NOT NULL,
    lease_holder TEXT   NOT NULL,
    lease_until  BIGINT NOT NULL,
    next_at      BIGINT NOT NULL
);
CREATE INDEX tasks_next ON tasks (next_at);

-- Who, what, when, result. Rows are only ever added.
CREATE TABLE journal (
    seq       BIGINT NOT NULL PRIMARY KEY,
    at        BIGINT NOT NULL,
    subject   TEXT   NOT NULL,
    family_id TEXT   NOT NULL,
    task_id   TEXT   NOT NULL,
    type      TEXT   NOT NULL,
    data      TEXT   NOT NULL
);
CREATE INDEX journal_subject ON journal (subject, seq);
CREATE INDEX journal_family ON journal (family_id, seq);

-- Requests that came with a key, so that a repeated one gets the same answer.
CREATE TABLE requests (
    key        TEXT   NOT NULL PRIMARY KEY,
    digest     TEXT   NOT NULL,
    nodes      TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

-- Names of deleted nodes that the exporter has not been told about yet.
CREATE TABLE deregistrations (
    name  TEXT   NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);

-- +goose Down
DROP TABLE deregistrations;
DROP TABLE requests;
DROP TABLE journal;
DROP TABLE tasks;
DROP TABLE nodes;
DROP TABLE families;
DROP TABLE releases;
DROP TABLE providers;
DROP TABLE installation;
