-- Which user stands under which name in the audit trail. It goes with the user; the entries stay.
CREATE TABLE audit_pseudonyms (
    user_id   UUID NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    pseudonym UUID NOT NULL,
    CONSTRAINT audit_pseudonyms_pseudonym_unique UNIQUE (pseudonym)
);
