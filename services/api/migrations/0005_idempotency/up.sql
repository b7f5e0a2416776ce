-- Answers kept for requests that carried an Idempotency-Key, to be given again when the request is.
CREATE TABLE idempotency_keys (
    user_id     UUID        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key         TEXT        NOT NULL,
    fingerprint TEXT        NOT NULL,
    status      BIGINT,
    body        TEXT,
    expires_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);
