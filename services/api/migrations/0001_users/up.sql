-- The types are PostgreSQL's. SQLite keeps the names and stores text: a UUID hyphenated, a time as RFC 3339 in UTC
-- with six digits, so that text order is time order.
-- Ids are UUIDs of version 7, which sort by the time they were made; pages are cut by id.
CREATE TABLE users (
    id            UUID        NOT NULL PRIMARY KEY,
    email         TEXT        NOT NULL,
    name          TEXT        NOT NULL,
    password_hash TEXT        NOT NULL,
    version       BIGINT      NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    CONSTRAINT users_email_unique UNIQUE (email),
    CONSTRAINT users_version_positive CHECK (version > 0)
);
