-- Contract: release 1 is not rolled back to any more.
DROP TRIGGER users_same_names ON users;
-- squawk-ignore ban-drop-function -- only the trigger called it
DROP FUNCTION users_same_names();
-- squawk-ignore ban-drop-column -- release 2 and later use full_name
ALTER TABLE users DROP COLUMN name;
