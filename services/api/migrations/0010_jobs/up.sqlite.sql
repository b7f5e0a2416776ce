-- Work that is done later: covet-jobs. What has been done has no row.
CREATE TABLE jobs (
    id               UUID        NOT NULL PRIMARY KEY,
    name             TEXT        NOT NULL,
    payload          JSON        NOT NULL,
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

-- Up to which time each schedule has added its jobs.
CREATE TABLE job_schedules (
    name      TEXT        NOT NULL PRIMARY KEY,
    last_tick TIMESTAMPTZ NOT NULL
);
