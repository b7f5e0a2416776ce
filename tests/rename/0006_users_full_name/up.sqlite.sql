-- One instance uses the file, and it starts when this has been done: no program ever meets the other name.
ALTER TABLE users RENAME COLUMN name TO full_name;
