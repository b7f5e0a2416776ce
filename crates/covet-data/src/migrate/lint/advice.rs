//! What squawk's rules do not say: the lock, who waits for it, and how the safe form is written for Covet's migrator.
//!
//! The locks are those of PostgreSQL's manual: <https://www.postgresql.org/docs/current/explicit-locking.html> and the
//! pages of the statements.

use squawk_linter::Rule;

/// On one rule. `None`: squawk's own text is all there is.
#[derive(Default)]
pub(super) struct Advice {
    pub(super) lock: Option<&'static str>,
    pub(super) rewrite: Option<&'static str>,
}

/// Whether a rule is about programs that still use what a statement takes away.
pub(super) fn takes_away(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::BanDropColumn
            | Rule::BanDropConstraint
            | Rule::BanDropDefault
            | Rule::BanDropDomain
            | Rule::BanDropFunction
            | Rule::BanDropGeneratedExpression
            | Rule::BanDropNotNull
            | Rule::BanDropSchema
            | Rule::BanDropSequence
            | Rule::BanDropTable
            | Rule::BanDropType
            | Rule::BanDropView
            | Rule::RenamingColumn
            | Rule::RenamingObject
            | Rule::RenamingTable
    )
}

pub(super) fn on(rule: Rule) -> Advice {
    let (lock, rewrite) = match rule {
        Rule::RequireConcurrentIndexCreation => (
            "SHARE on the table until the index is built: writes wait, reads go on",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS, in a migration of its own whose script begins with \
             `-- covet: no-transaction`; before it DROP INDEX CONCURRENTLY IF EXISTS, because an attempt that failed \
             leaves an index that is not valid",
        ),
        Rule::RequireConcurrentIndexDeletion => (
            "ACCESS EXCLUSIVE on the table: reads and writes wait behind it while it waits for those before it",
            "DROP INDEX CONCURRENTLY IF EXISTS, in a script that begins with `-- covet: no-transaction`",
        ),
        Rule::RequireConcurrentReindex => (
            "SHARE on the table and ACCESS EXCLUSIVE on the index until it is built: writes wait, and reads by the index",
            "REINDEX … CONCURRENTLY, in a script that begins with `-- covet: no-transaction`",
        ),
        Rule::RequireConcurrentPartitionDetach => (
            "ACCESS EXCLUSIVE on the table and the partition: reads and writes wait",
            "DETACH PARTITION … CONCURRENTLY, in a script that begins with `-- covet: no-transaction`",
        ),
        Rule::ConstraintMissingNotValid => (
            "ACCESS EXCLUSIVE on the table (SHARE ROW EXCLUSIVE on both for a foreign key) while every row is checked",
            "ADD CONSTRAINT … NOT VALID here and VALIDATE CONSTRAINT in the next migration, which checks the rows under \
             SHARE UPDATE EXCLUSIVE: reads and writes go on",
        ),
        Rule::AddingForeignKeyConstraint => (
            "SHARE ROW EXCLUSIVE on both tables while every row is checked: writes wait, reads go on",
            "the column first; then ADD CONSTRAINT … FOREIGN KEY … NOT VALID; VALIDATE CONSTRAINT in the next migration",
        ),
        Rule::AddingFieldWithDefault => (
            "ACCESS EXCLUSIVE on the table while all of it is written anew: reads and writes wait",
            "ADD COLUMN without the default; then ALTER COLUMN … SET DEFAULT, for new rows; then the old rows in batches",
        ),
        Rule::AddingNotNullableField => (
            "ACCESS EXCLUSIVE on the table while every row is checked: reads and writes wait",
            "ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID; in the next migration VALIDATE CONSTRAINT and then \
             SET NOT NULL, which relies on the constraint and checks no row",
        ),
        Rule::AddingSerialPrimaryKeyField | Rule::DisallowedUniqueConstraint => (
            "ACCESS EXCLUSIVE on the table until the index is built: reads and writes wait",
            "CREATE UNIQUE INDEX CONCURRENTLY in a migration that begins with `-- covet: no-transaction`; in the next \
             one ADD CONSTRAINT … USING INDEX",
        ),
        Rule::ChangingColumnType => (
            "ACCESS EXCLUSIVE while the table and its indexes are written anew: reads and writes wait",
            "a new column beside the old one: expand, backfill, contract (docs/guides/migrations.md)",
        ),
        Rule::BanTruncateCascade => (
            "ACCESS EXCLUSIVE on the table and on all that refer to it: reads and writes wait",
            "name the tables, without CASCADE",
        ),
        other => return Advice { lock: None, rewrite: without_lock(other) },
    };
    Advice { lock: Some(lock), rewrite: Some(rewrite) }
}

/// Of rules that are not about a lock held for long.
fn without_lock(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::AddingRequiredField => {
            "a column that may be NULL, or one with a constant DEFAULT: programs of the release before insert without it"
        }
        Rule::RenamingColumn | Rule::RenamingObject | Rule::RenamingTable => {
            "the new one beside the old one, kept the same by a trigger (a table: a view of the old name); drop the old \
             one a release later (docs/guides/migrations.md)"
        }
        Rule::TransactionNesting | Rule::BanUncommittedTransaction => {
            "leave BEGIN and COMMIT out: each script is one transaction. What cannot be in one stands in a script that \
             begins with `-- covet: no-transaction`"
        }
        Rule::PreferRobustStmts => {
            "IF EXISTS, IF NOT EXISTS, or what else can be done twice: a script without a transaction that has failed is \
             run again from its beginning"
        }
        rule if takes_away(rule) => {
            "drop it one release after the last one that uses it (docs/guides/migrations.md), and say so on the line \
             before: -- squawk-ignore RULE -- since when nothing uses it"
        }
        _ => return None,
    })
}
