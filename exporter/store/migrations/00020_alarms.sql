-- +goose Up

-- Active alarms. The body is the alarm as JSON; the other columns are for
-- people who look into the database. Times are milliseconds since 1970 in UTC.
CREATE TABLE alarms (
    id        TEXT   NOT NULL PRIMARY KEY,
    node      TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    raised_at BIGINT NOT NULL,
    body      TEXT   NOT NULL
);

-- Alarms that were cleared. An occurrence is one raising of an alarm; those of
-- one moment sort by it.
CREATE TABLE alarm_history (
    occurrence TEXT   NOT NULL PRIMARY KEY,
    id         TEXT   NOT NULL,
    node       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    cleared_at BIGINT NOT NULL,
    body       TEXT   NOT NULL
);

CREATE INDEX alarm_history_cleared_at ON alarm_history (cleared_at, occurrence);

-- +goose Down
DROP TABLE alarm_history;
DROP TABLE alarms;
