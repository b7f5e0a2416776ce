-- Keys for programs of a user's. Only the SHA-256 of a key's secret is stored. A key that is revoked is deleted.
CREATE TABLE api_keys (
    id           UUID        NOT NULL PRIMARY KEY,
    user_id      UUID        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT        NOT NULL,
    slot         BIGINT      NOT NULL,
    fingerprint  TEXT        NOT NULL,
    scopes       TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    -- Two of a name, so that one can be replaced by the next without a pause.
    CONSTRAINT api_keys_two_of_a_name UNIQUE (user_id, name, slot),
    CONSTRAINT api_keys_slot_is_one_of_two CHECK (slot IN (1, 2))
);
CREATE INDEX api_keys_expires_at ON api_keys (expires_at) WHERE expires_at IS NOT NULL;
