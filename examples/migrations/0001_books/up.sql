CREATE TABLE books (
    title TEXT PRIMARY KEY,
    pages BIGINT NOT NULL CHECK (pages > 0)
);
