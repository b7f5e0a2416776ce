//! What a statement does and to which table, for the labels of metrics. Done once per distinct text.

use super::tokens::{Token, Tokens};

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Select,
    Insert,
    Update,
    Delete,
    /// CREATE, ALTER, DROP and the like.
    Define,
    /// BEGIN, COMMIT, SAVEPOINT and the like: those are made through [`Db::begin`](crate::Db::begin).
    Transaction,
    Other,
}

impl Operation {
    /// The label value.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Define => "DDL",
            Self::Transaction => "TRANSACTION",
            Self::Other => "OTHER",
        }
    }

    fn of(verb: &str) -> Self {
        match verb.to_ascii_uppercase().as_str() {
            "SELECT" | "VALUES" | "TABLE" => Self::Select,
            "INSERT" | "REPLACE" => Self::Insert,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "REINDEX" => Self::Define,
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => Self::Transaction,
            _ => Self::Other,
        }
    }
}

/// The operation, and the table if one can be told.
pub(crate) fn classify(text: &str) -> (Operation, Option<String>) {
    let tokens: Vec<Token<'_>> = Tokens::of(text).collect();
    let Some(verb) = main_verb(&tokens) else { return (Operation::Other, None) };
    let Token::Word(word) = tokens[verb] else { return (Operation::Other, None) };
    let operation = Operation::of(word);
    let table = match operation {
        Operation::Select => selected_table(&tokens),
        Operation::Insert => after(&tokens[verb..], "INTO"),
        Operation::Update => updated_table(&tokens[verb + 1..]),
        Operation::Delete => after(&tokens[verb..], "FROM"),
        Operation::Define => defined_table(&tokens[verb + 1..]),
        Operation::Transaction | Operation::Other => None,
    };
    (operation, table)
}

/// True if there are statements that write in its `WITH` clause.
pub(super) fn changes_within(text: &str) -> bool {
    let mut words = Tokens::of(text).filter(|token| matches!(token, Token::Word(_)));
    let changes = |token: Token<'_>| ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|verb| token.is(verb));
    words.next().is_some_and(|first| first.is("WITH")) && words.any(changes)
}

/// Where the verb is: the first word, or behind the WITH clause.
fn main_verb(tokens: &[Token<'_>]) -> Option<usize> {
    let first = tokens.iter().position(|token| matches!(token, Token::Word(_)))?;
    if !tokens[first].is("WITH") {
        return Some(first);
    }
    let mut depth = 0_usize;
    tokens.iter().enumerate().skip(first + 1).find_map(|(index, token)| {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        let verb = ["SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "VALUES"].iter().any(|verb| token.is(verb));
        (depth == 0 && verb).then_some(index)
    })
}

/// The name that begins at the first of `tokens`; of `schema.table`, the last part.
fn name(tokens: &[Token<'_>]) -> Option<String> {
    let part = |token: &Token<'_>| match token {
        Token::Word(word) => Some(word.to_ascii_lowercase()),
        Token::Name(name) => Some((*name).to_owned()),
        _ => None,
    };
    let mut found = part(tokens.first()?)?;
    let mut rest = &tokens[1..];
    while let [Token::Symbol('.'), next, ..] = rest {
        found = part(next)?;
        rest = &rest[2..];
    }
    Some(found)
}

fn after(tokens: &[Token<'_>], keyword: &str) -> Option<String> {
    let at = tokens.iter().position(|token| token.is(keyword))?;
    name(&tokens[at + 1..])
}

fn updated_table(tokens: &[Token<'_>]) -> Option<String> {
    match tokens {
        // UPDATE OR IGNORE t
        [or, _, rest @ ..] if or.is("OR") => name(rest),
        [only, rest @ ..] if only.is("ONLY") => name(rest),
        rest => name(rest),
    }
}

/// CREATE TABLE IF NOT EXISTS t, ALTER TABLE t, DROP INDEX i: the table, if it is about one.
fn defined_table(tokens: &[Token<'_>]) -> Option<String> {
    let keyword = if tokens.iter().any(|token| token.is("INDEX")) { "ON" } else { "TABLE" };
    let at = tokens.iter().position(|token| token.is(keyword))?;
    let noise = |token: &&Token<'_>| ["IF", "NOT", "EXISTS", "ONLY"].iter().any(|word| token.is(word));
    let start = at + 1 + tokens[at + 1..].iter().take_while(noise).count();
    name(tokens.get(start..)?)
}

/// The first table behind a FROM that is no common table expression; those outside of parentheses go first.
fn selected_table(tokens: &[Token<'_>]) -> Option<String> {
    let mut expressions: Vec<String> = Vec::new();
    let mut inside = None;
    // For each open parenthesis, whether a query is in it: EXTRACT(year FROM x) has a FROM and is none.
    let mut queries = vec![true];
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(') => {
                let query = tokens.get(index + 1).is_some_and(|next| next.is("SELECT") || next.is("WITH"));
                // FROM ((t JOIN u)): parentheses of a table list.
                queries.push(query);
            }
            Token::Symbol(')') if queries.len() > 1 => {
                queries.pop();
            }
            _ if token.is("AS") && matches!(tokens.get(index + 1), Some(Token::Symbol('('))) => {
                expressions.extend(common_table_name(&tokens[..index]));
            }
            _ if token.is("FROM") && queries.last() == Some(&true) => {
                let Some(table) = name(&tokens[index + 1..]) else { continue };
                if expressions.contains(&table) {
                    continue;
                }
                if queries.len() == 1 {
                    return Some(table);
                }
                inside.get_or_insert(table);
            }
            _ => {}
        }
    }
    inside
}

/// The name before AS in `WITH name (columns) AS (`.
fn common_table_name(before: &[Token<'_>]) -> Option<String> {
    let name_at = match before {
        [.., Token::Symbol(')')] => before.iter().rposition(|token| *token == Token::Symbol('('))?.checked_sub(1)?,
        _ => before.len().checked_sub(1)?,
    };
    name(&before[name_at..=name_at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_in_a_with_clause_are_found() {
        assert!(changes_within("WITH gone AS (DELETE FROM notes RETURNING id) SELECT * FROM gone"));
        assert!(!changes_within("WITH recent AS (SELECT * FROM orders) SELECT * FROM recent WHERE kind = 'UPDATE'"));
        assert!(!changes_within("SELECT * FROM orders FOR UPDATE"));
    }

    #[test]
    fn operation_and_table_are_found() {
        for (text, operation, table) in [
            ("SELECT id FROM users WHERE id = $1", Operation::Select, "users"),
            ("select * from public.\"Users\" u join orders o on o.user_id = u.id", Operation::Select, "Users"),
            ("SELECT EXISTS (SELECT 1 FROM notes WHERE id = $1)", Operation::Select, "notes"),
            ("SELECT extract(year FROM created_at) FROM orders", Operation::Select, "orders"),
            ("SELECT * FROM (SELECT * FROM users) AS u", Operation::Select, "users"),
            ("WITH recent AS (SELECT * FROM orders) SELECT * FROM recent", Operation::Select, "orders"),
            ("WITH r(a, b) AS (SELECT 1, 2) SELECT * FROM r JOIN users", Operation::Select, "-"),
            ("WITH gone AS (SELECT 1) DELETE FROM notes WHERE id = 1", Operation::Delete, "notes"),
            ("-- a comment\n INSERT OR IGNORE INTO notes (id) VALUES ($1)", Operation::Insert, "notes"),
            ("UPDATE OR IGNORE users SET name = $1", Operation::Update, "users"),
            ("UPDATE users SET name = 'FROM x'", Operation::Update, "users"),
            ("CREATE TABLE IF NOT EXISTS users (id INTEGER)", Operation::Define, "users"),
            ("CREATE UNIQUE INDEX i ON users (email)", Operation::Define, "users"),
            ("DROP TABLE users", Operation::Define, "users"),
            ("PRAGMA optimize", Operation::Other, "-"),
            ("SELECT 1", Operation::Select, "-"),
            ("begin immediate", Operation::Transaction, "-"),
            ("", Operation::Other, "-"),
        ] {
            let (found, found_table) = classify(text);
            assert_eq!((found, found_table.as_deref().unwrap_or("-")), (operation, table), "{text}");
        }
    }
}
