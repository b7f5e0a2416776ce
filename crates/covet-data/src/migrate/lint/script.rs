//! One script, as squawk sees it, and what is to be said of it.

use std::collections::HashSet;

use squawk_linter::ignore::{IgnoreKind, ignore_rule_info};
use squawk_linter::{Linter, Rule, Violation};
use squawk_syntax::ast::{self, AstNode};
use squawk_syntax::{Parse, SourceFile, SyntaxElement, SyntaxNode};

use super::advice::{self, Advice};
use crate::migrate::postgres::needs_no_transaction;

/// What the migrator takes care of, or what is found here more exactly.
const LEFT_OUT: [Rule; 2] = [Rule::RequireTimeoutSettings, Rule::BanConcurrentIndexCreationInTransaction];

pub(super) struct Script<'a> {
    text: &'a str,
    parse: Parse<SourceFile>,
    in_transaction: bool,
}

pub(super) struct Found {
    /// Offset in the text, in bytes.
    pub(super) at: usize,
    pub(super) rule: String,
    pub(super) danger: String,
    pub(super) lock: Option<&'static str>,
    pub(super) rewrite: Option<String>,
}

impl<'a> Script<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, parse: SourceFile::parse(text), in_transaction: !needs_no_transaction(text) }
    }

    /// Line and character, from 1.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// The names of everything that the script creates.
    pub(super) fn created(&self) -> HashSet<String> {
        names(&self.parse.syntax_node(), Named::Created)
    }

    /// In order. What was `created_before` may be taken away.
    pub(super) fn findings(&self, created_before: Option<&HashSet<String>>) -> Vec<Found> {
        let (mut found, skip) = self.comments();
        if skip {
            return found;
        }
        found.extend(self.parse.errors().iter().map(|error| {
            Found {
                at: error.range().start().into(),
                rule: "syntax-error".to_owned(),
                danger: format!("PostgreSQL would refuse it: {}", error.message()),
                lock: None,
                rewrite: Some(
                    "if PostgreSQL takes it all the same, accept the script: -- squawk-ignore-file -- and the reason"
                        .to_owned(),
                ),
            }
        }));
        found.extend(self.parse.tree().stmts().filter(|_| self.in_transaction).filter_map(|statement| {
            runs_in_no_transaction(&statement).then(|| Found {
                at: start(statement.syntax()),
                rule: "needs-no-transaction".to_owned(),
                danger: "It cannot run in a transaction, and this script is one: it would fail".to_owned(),
                lock: None,
                rewrite: Some(
                    "a migration of its own, with `-- covet: no-transaction` as the first line of the script"
                        .to_owned(),
                ),
            })
        }));
        found.extend(self.violations(created_before).into_iter().map(|violation| {
            let Advice { lock, rewrite } = advice::on(violation.code);
            Found {
                at: violation.text_range.start().into(),
                rule: violation.code.to_string(),
                danger: violation.message,
                lock,
                rewrite: rewrite.map(str::to_owned).or(violation.help),
            }
        }));
        found.sort_by_key(|found| found.at);
        found
    }

    /// What squawk says, without what does not hold here.
    fn violations(&self, created_before: Option<&HashSet<String>>) -> Vec<Violation> {
        let mut linter = Linter::with_rules(&[], &LEFT_OUT);
        linter.settings.assume_in_transaction = self.in_transaction;
        let violations = linter.lint(&self.parse, self.text);
        let created = self.created();
        let known = |name: &String| created.contains(name) || created_before.is_some_and(|names| names.contains(name));
        // A unique constraint cannot be NOT VALID; it has a finding of its own.
        let by_index: Vec<_> = violations
            .iter()
            .filter(|it| matches!(it.code, Rule::DisallowedUniqueConstraint | Rule::AddingSerialPrimaryKeyField))
            .map(|it| it.text_range)
            .collect();
        let root = self.parse.syntax_node();
        let stands = |violation: &Violation| match violation.code {
            Rule::ConstraintMissingNotValid => {
                by_index.iter().all(|range| range.intersect(violation.text_range).is_none())
            }
            rule if advice::takes_away(rule) => {
                let node = root.covering_element(violation.text_range);
                let Some(node) = node.as_node().cloned().or_else(|| node.parent()) else { return true };
                let named = names(&node, Named::Used);
                // Without a name in it, such as DROP NOT NULL: a down script loosens again what was tightened.
                let nameless_in_down = named.is_empty() && created_before.is_some();
                !nameless_in_down && (named.is_empty() || !named.iter().all(known))
            }
            // That it begins one at all is found.
            Rule::BanUncommittedTransaction => !self.in_transaction,
            _ => true,
        };
        violations.into_iter().filter(stands).collect()
    }

    /// What is wrong with comments that accept findings, and whether one accepts the whole script.
    fn comments(&self) -> (Vec<Found>, bool) {
        let (mut found, mut skip) = (Vec::new(), false);
        for element in self.parse.syntax_node().descendants_with_tokens() {
            let Some(token) = element.as_token() else { continue };
            let Some((rules, _, kind)) = ignore_rule_info(token) else { continue };
            let wrong = match (rules.trim().is_empty(), kind) {
                _ if !has_reason(token.text()) => Some("Nobody will know why this was accepted"),
                (true, IgnoreKind::Line) => Some("It names no rule, so it accepts nothing"),
                (true, IgnoreKind::File) => {
                    skip = true;
                    None
                }
                (false, _) => None,
            };
            found.extend(wrong.map(|danger| Found {
                at: token.text_range().start().into(),
                rule: "ignore-without-reason".to_owned(),
                danger: danger.to_owned(),
                lock: None,
                rewrite: Some("-- squawk-ignore RULE -- why it does no harm here".to_owned()),
            }));
        }
        (found, skip)
    }
}

/// Whether a comment goes on after the rules: `-- squawk-ignore RULE -- reason`.
fn has_reason(comment: &str) -> bool {
    let body = comment.trim_start_matches("--").trim_end_matches("*/");
    body.split_once("--").is_some_and(|(_, reason)| !reason.trim().is_empty())
}

/// Where a node begins, after the comments that belong to it.
fn start(node: &SyntaxNode) -> usize {
    let first = node.children_with_tokens().find(|element| !element.kind().is_trivia());
    first.map_or_else(|| node.text_range(), |element| element.text_range()).start().into()
}

/// <https://www.postgresql.org/docs/current/sql-commands.html>: "cannot be executed inside a transaction block".
fn runs_in_no_transaction(statement: &ast::Stmt) -> bool {
    match statement {
        ast::Stmt::CreateIndex(create) => create.concurrently_token().is_some(),
        ast::Stmt::DropIndex(drop) => drop.concurrently_token().is_some(),
        ast::Stmt::Reindex(reindex) => reindex.is_concurrently(),
        ast::Stmt::AlterTable(alter) => alter.actions().any(|action| match action {
            ast::AlterTableAction::DetachPartition(detach) => {
                matches!(detach.detach_partition_option(), Some(ast::DetachPartitionOption::DetachConcurrently(_)))
            }
            _ => false,
        }),
        ast::Stmt::AlterSystem(_)
        | ast::Stmt::CreateDatabase(_)
        | ast::Stmt::CreateTablespace(_)
        | ast::Stmt::DropDatabase(_)
        | ast::Stmt::DropTablespace(_)
        | ast::Stmt::Vacuum(_) => true,
        _ => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// `CREATE TABLE it`, `ADD COLUMN it`, `CONSTRAINT it`.
    Created,
    /// `DROP TABLE it`.
    Used,
}

/// The names under a node: their last parts, as PostgreSQL reads them.
///
/// squawk has a kind of node for each kind of name, `TABLE_NAME` and `TABLE_NAME_REF`, `COLUMN_NAME` and
/// `COLUMN_NAME_REF`, and so on; only their names tell which of the two they are.
fn names(node: &SyntaxNode, named: Named) -> HashSet<String> {
    let is_used = |node: &SyntaxNode| format!("{:?}", node.kind()).ends_with("_NAME_REF");
    let is_created = |node: &SyntaxNode| {
        format!("{:?}", node.kind()).ends_with("_NAME") && !node.descendants().any(|below| is_used(&below))
    };
    let wanted = node.descendants().filter(|node| match named {
        Named::Created => is_created(node),
        Named::Used => is_used(node),
    });
    let last = |node: SyntaxNode| {
        let tokens = node.descendants_with_tokens().filter_map(SyntaxElement::into_token);
        let token = tokens.filter(|token| !token.kind().is_trivia()).last()?;
        Some(match token.text().strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(quoted) => quoted.to_owned(),
            None => token.text().to_lowercase(),
        })
    };
    wanted.filter_map(last).collect()
}
