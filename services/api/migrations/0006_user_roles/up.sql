-- The roles that users have been given, beside the one that everybody has. Which permissions a role has says the program.
CREATE TABLE user_roles (
    user_id  UUID        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role     TEXT        NOT NULL,
    given_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, role)
);
-- Who has a role: the last admin must stay.
CREATE INDEX user_roles_role ON user_roles (role);
