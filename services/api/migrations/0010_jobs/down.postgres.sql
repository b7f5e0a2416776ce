DROP TABLE job_schedules;
DROP TABLE jobs;
DROP FUNCTION jobs_added;
