-- covet: no-transaction
-- squawk-ignore-file prefer-robust-stmts -- every statement can be run again
ALTER TABLE users ADD COLUMN IF NOT EXISTS name TEXT;

CREATE OR REPLACE FUNCTION users_same_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'UPDATE' AND new.name IS DISTINCT FROM old.name THEN
        new.full_name := new.name;
    ELSIF tg_op = 'UPDATE' AND new.full_name IS DISTINCT FROM old.full_name THEN
        new.name := new.full_name;
    END IF;
    new.full_name := coalesce(new.full_name, new.name);
    new.name := coalesce(new.name, new.full_name);
    RETURN new;
END $$;
CREATE OR REPLACE TRIGGER users_same_names BEFORE INSERT OR UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION users_same_names();

DO $$
DECLARE
    done uuid := '00000000-0000-0000-0000-000000000000';
    last uuid;
BEGIN
    LOOP
        SELECT id INTO last FROM users WHERE id > done ORDER BY id OFFSET 999 LIMIT 1;
        UPDATE users SET name = full_name
        WHERE id > done AND id <= coalesce(last, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND name IS NULL;
        COMMIT;
        EXIT WHEN last IS NULL;
        done := last;
    END LOOP;
END $$;

ALTER TABLE users DROP CONSTRAINT IF EXISTS users_name_present;
ALTER TABLE users ADD CONSTRAINT users_name_present CHECK (name IS NOT NULL) NOT VALID;
ALTER TABLE users VALIDATE CONSTRAINT users_name_present;
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
ALTER TABLE users DROP CONSTRAINT users_name_present;
