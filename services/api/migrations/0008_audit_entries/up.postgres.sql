-- The audit trail: covet-identity's `audit`. Entries are added and never changed; the triggers stop mistakes, and
-- `audit verify` finds what was done past them.
-- `changes` is JSON, as text: what has been hashed must be read as it was written.
CREATE TABLE audit_entries (
    sequence      BIGINT      NOT NULL PRIMARY KEY,
    recorded_at   TIMESTAMPTZ NOT NULL,
    event         TEXT        NOT NULL,
    reason        TEXT,
    actor         TEXT        NOT NULL,
    target        TEXT,
    changes       TEXT,
    address       TEXT,
    request_id    TEXT,
    origin_salt   TEXT,
    origin_digest TEXT,
    previous_hash TEXT        NOT NULL,
    hash          TEXT        NOT NULL
);
CREATE INDEX audit_entries_actor ON audit_entries (actor, sequence);
CREATE INDEX audit_entries_target ON audit_entries (target, sequence);

-- Up to where the beginning may be removed; one row at most.
CREATE TABLE audit_cuts (
    through_sequence BIGINT NOT NULL PRIMARY KEY
);

CREATE FUNCTION audit_entries_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'DELETE' THEN
        IF old.sequence <= (SELECT max(through_sequence) FROM audit_cuts) THEN
            RETURN old;
        END IF;
    ELSIF tg_op = 'UPDATE' THEN
        -- Where it came from can be taken out as a whole.
        IF new.address IS NULL AND new.request_id IS NULL AND new.origin_salt IS NULL
           AND (new.sequence, new.recorded_at, new.event, new.reason, new.actor, new.target, new.changes,
                new.origin_digest, new.previous_hash, new.hash)
               IS NOT DISTINCT FROM
               (old.sequence, old.recorded_at, old.event, old.reason, old.actor, old.target, old.changes,
                old.origin_digest, old.previous_hash, old.hash) THEN
            RETURN new;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_entries is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_entries_append_only();
CREATE TRIGGER audit_entries_not_emptied BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_append_only();
