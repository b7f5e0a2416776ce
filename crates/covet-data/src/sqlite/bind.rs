//! `$1`, `$2`, … onto SQLite's parameters.
//!
//! To SQLite `$1` is a *name*: it numbers parameters by their first appearance. So for each of its parameters it is
//! noted which value it takes; the note is good for every connection.

use rusqlite::types::Null;

use super::translate::Limits;
use crate::statement::Statement;
use crate::{Error, Param};

pub(super) fn bind(
    prepared: &mut rusqlite::Statement<'_>,
    statement: &Statement,
    values: &[Param],
    limits: &Limits,
) -> Result<(), Error> {
    let bindings = match statement.bindings.get() {
        Some(bindings) => bindings,
        None => {
            let bindings = read_bindings(prepared)?;
            statement.bindings.get_or_init(|| bindings)
        }
    };
    let expected = bindings.iter().copied().max().unwrap_or(0);
    if values.len() != expected {
        let given = values.len();
        return Err(Error::Parameters(format!("the statement has {expected} parameters, {given} values were given")));
    }
    for (index, number) in bindings.iter().enumerate() {
        bind_one(prepared, index + 1, &values[number - 1]).map_err(|error| match error {
            Failed::Unfit(why) => Error::Parameters(format!("the value of ${number} cannot be bound: {why}")),
            Failed::Refused(error) => limits.translate(error),
        })?;
    }
    Ok(())
}

/// For each of SQLite's parameters, the number of the value it takes.
fn read_bindings(prepared: &rusqlite::Statement<'_>) -> Result<Box<[usize]>, Error> {
    let numbers: Box<[usize]> = (1..=prepared.parameter_count())
        .map(|index| match prepared.parameter_name(index) {
            // A plain `?`.
            None => Ok(index),
            Some(name) => match name[1..].parse() {
                Ok(number @ 1..) if name.starts_with(['$', '?']) => Ok(number),
                _ => Err(Error::Parameters(format!("`{name}` is no parameter that Covet knows; write $1, $2, …"))),
            },
        })
        .collect::<Result<_, _>>()?;
    let last = numbers.iter().copied().max().unwrap_or(0);
    match (1..=last).find(|number| !numbers.contains(number)) {
        Some(unused) => Err(Error::Parameters(format!("${last} is in the statement, but ${unused} is not"))),
        None => Ok(numbers),
    }
}

enum Failed {
    Unfit(&'static str),
    Refused(rusqlite::Error),
}

fn bind_one(prepared: &mut rusqlite::Statement<'_>, index: usize, value: &Param) -> Result<(), Failed> {
    match value {
        Param::Null => prepared.raw_bind_parameter(index, Null),
        Param::Bool(value) => prepared.raw_bind_parameter(index, value),
        Param::Integer(value) => prepared.raw_bind_parameter(index, value),
        Param::Real(value) if value.is_nan() => return Err(Failed::Unfit("SQLite would make NULL of a NaN")),
        Param::Real(value) => prepared.raw_bind_parameter(index, value),
        Param::Text(value) | Param::Json(value) => prepared.raw_bind_parameter(index, value),
        Param::Bytes(value) => prepared.raw_bind_parameter(index, value),
        Param::Uuid(value) => {
            let mut text = uuid::Uuid::encode_buffer();
            prepared.raw_bind_parameter(index, &*value.hyphenated().encode_lower(&mut text))
        }
        Param::Timestamp(value) => prepared.raw_bind_parameter(index, format!("{value:.6}")),
        Param::Array(_) => return Err(Failed::Unfit("SQLite has no lists; bind Json and use json_each($1)")),
        Param::Unfit(why) => return Err(Failed::Unfit(why)),
    }
    .map_err(Failed::Refused)
}
