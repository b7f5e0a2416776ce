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

-- Where it came from can be taken out as a whole.
CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries
WHEN new.address IS NOT NULL OR new.request_id IS NOT NULL OR new.origin_salt IS NOT NULL
  OR new.sequence IS NOT old.sequence OR new.recorded_at IS NOT old.recorded_at OR new.event IS NOT old.event
  OR new.reason IS NOT old.reason OR new.actor IS NOT old.actor OR new.target IS NOT old.target
  OR new.changes IS NOT old.changes OR new.origin_digest IS NOT old.origin_digest
  OR new.previous_hash IS NOT old.previous_hash OR new.hash IS NOT old.hash
BEGIN
    SELECT raise(ABORT, 'audit_entries is append-only');
END;
CREATE TRIGGER audit_entries_unremoved BEFORE DELETE ON audit_entries
WHEN old.sequence > coalesce((SELECT max(through_sequence) FROM audit_cuts), 0)
BEGIN
    SELECT raise(ABORT, 'audit_entries is append-only');
END;
