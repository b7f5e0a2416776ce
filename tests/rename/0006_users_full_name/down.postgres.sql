DROP TRIGGER users_same_names ON users;
DROP FUNCTION users_same_names();
ALTER TABLE users DROP COLUMN full_name;
