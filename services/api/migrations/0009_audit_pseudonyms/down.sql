DROP TABLE audit_pseudonyms;
