-- covet: no-transaction
-- Backfill, a thousand rows at a time, each batch committed: no row is locked for long. It can be run again.
DO $$
DECLARE
    done uuid := '00000000-0000-0000-0000-000000000000';
    last uuid;
BEGIN
    LOOP
        SELECT id INTO last FROM users WHERE id > done ORDER BY id OFFSET 999 LIMIT 1;
        UPDATE users SET full_name = name
        WHERE id > done AND id <= coalesce(last, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND full_name IS NULL;
        COMMIT;
        EXIT WHEN last IS NULL;
        done := last;
    END LOOP;
END $$;
