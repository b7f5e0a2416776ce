-- Expand: users.name becomes full_name. Until nobody uses the old column, the trigger keeps the two the same, whichever
-- of them a program writes.
ALTER TABLE users ADD COLUMN full_name TEXT;
ALTER TABLE users ADD CONSTRAINT users_full_name_present CHECK (full_name IS NOT NULL) NOT VALID;

CREATE FUNCTION users_same_names() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER users_same_names BEFORE INSERT OR UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION users_same_names();
