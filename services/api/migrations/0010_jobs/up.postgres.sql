-- Work that is done later: covet-jobs. What has been done has no row.
CREATE TABLE jobs (
    id               UUID        NOT NULL PRIMARY KEY,
    name             TEXT        NOT NULL,
    payload          JSONB       NOT NULL,
    priority         BIGINT      NOT NULL,
    state            TEXT        NOT NULL,
    run_at           TIMESTAMPTZ NOT NULL,
    attempt          BIGINT      NOT NULL,
    unique_key       TEXT,
    request_id       TEXT,
    created_at       TIMESTAMPTZ NOT NULL,
    claimed_by       UUID,
    lease_until      TIMESTAMPTZ,
    progress_percent BIGINT,
    progress_note    TEXT,
    last_error       TEXT,
    CONSTRAINT jobs_state_is_known CHECK (state IN ('waiting', 'running', 'dead'))
);
CREATE INDEX jobs_waiting ON jobs (priority, run_at, id) WHERE state = 'waiting';
CREATE INDEX jobs_claimed ON jobs (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique_key ON jobs (name, unique_key) WHERE state <> 'dead' AND unique_key IS NOT NULL;

-- Rows come and go: what they leave behind is cleaned up early, or looking for the next one takes longer and longer.
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Workers are told at once. One message a transaction, however many jobs it adds.
CREATE FUNCTION jobs_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('covet_jobs', '');
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs FOR EACH STATEMENT EXECUTE FUNCTION jobs_added();

-- Up to which time each schedule has added its jobs.
CREATE TABLE job_schedules (
    name      TEXT        NOT NULL PRIMARY KEY,
    last_tick TIMESTAMPTZ NOT NULL
);
