//! PostgreSQL's types as this driver knows them: looked at once per prepared statement.

use std::sync::Arc;

use tokio_postgres::types::{Kind, Type};

use crate::decode::Named;

/// The type of a column, an element or a parameter.
#[derive(Debug, Clone)]
pub(crate) struct PgType {
    pub(super) form: Form,
    /// As one writes it in SQL: `BIGINT`, `TEXT[]`.
    pub(super) name: Arc<str>,
}

/// How its values are sent.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    /// OID, XID, CID: unsigned, four bytes.
    Unsigned4,
    /// XID8: unsigned, eight bytes.
    Unsigned8,
    Float4,
    Float8,
    Numeric,
    /// TEXT and whatever is sent as its text.
    Text,
    /// An enum of the database.
    Enum,
    Bytes,
    Uuid,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Json,
    /// A byte for the version, then the text.
    Jsonb,
    Network,
    Mac,
    /// What functions without a result give.
    Void,
    Array(Box<PgType>),
    /// Has no Rust type here.
    Other,
}

impl PgType {
    pub(super) fn new(of: &Type) -> Self {
        let form = form(of);
        let name = match &form {
            Form::Array(element) => format!("{}[]", element.name).into(),
            _ => name(of).into(),
        };
        Self { form, name }
    }
}

/// A column of a result.
#[derive(Debug)]
pub(crate) struct Column {
    name: Box<str>,
    pub(super) of: PgType,
}

impl Column {
    pub(super) fn new(column: &tokio_postgres::Column) -> Self {
        Self { name: column.name().into(), of: PgType::new(column.type_()) }
    }
}

impl Named for Column {
    fn name(&self) -> &str {
        &self.name
    }

    fn type_name(&self) -> Option<&str> {
        Some(&self.of.name)
    }
}

fn form(of: &Type) -> Form {
    match of.kind() {
        Kind::Array(element) => return Form::Array(Box::new(PgType::new(element))),
        Kind::Domain(base) => return form(base),
        Kind::Enum(_) => return Form::Enum,
        _ => {}
    }
    match *of {
        Type::BOOL => Form::Bool,
        Type::INT2 => Form::Int2,
        Type::INT4 => Form::Int4,
        Type::INT8 => Form::Int8,
        Type::OID | Type::XID | Type::CID => Form::Unsigned4,
        Type::XID8 => Form::Unsigned8,
        Type::FLOAT4 => Form::Float4,
        Type::FLOAT8 => Form::Float8,
        Type::NUMERIC => Form::Numeric,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN | Type::XML => Form::Text,
        Type::BYTEA => Form::Bytes,
        Type::UUID => Form::Uuid,
        Type::DATE => Form::Date,
        Type::TIME => Form::Time,
        Type::TIMETZ => Form::TimeTz,
        Type::TIMESTAMP => Form::Timestamp,
        Type::TIMESTAMPTZ => Form::TimestampTz,
        Type::INTERVAL => Form::Interval,
        Type::JSON => Form::Json,
        Type::JSONB => Form::Jsonb,
        Type::INET | Type::CIDR => Form::Network,
        Type::MACADDR | Type::MACADDR8 => Form::Mac,
        Type::VOID => Form::Void,
        // Of an extension, so without a number of its own.
        _ if of.name() == "citext" => Form::Text,
        _ => Form::Other,
    }
}

/// The name in SQL, where it is another than the one in the catalogue.
fn name(of: &Type) -> String {
    match *of {
        Type::BOOL => "BOOLEAN".to_owned(),
        Type::INT2 => "SMALLINT".to_owned(),
        Type::INT4 => "INTEGER".to_owned(),
        Type::INT8 => "BIGINT".to_owned(),
        Type::FLOAT4 => "REAL".to_owned(),
        Type::FLOAT8 => "DOUBLE PRECISION".to_owned(),
        Type::BPCHAR => "CHAR".to_owned(),
        Type::CHAR => "\"char\"".to_owned(),
        _ if of.schema() == "pg_catalog" => of.name().to_uppercase(),
        _ => of.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_sql() {
        for (of, name) in [
            (Type::INT8, "BIGINT"),
            (Type::TEXT_ARRAY, "TEXT[]"),
            (Type::FLOAT8_ARRAY, "DOUBLE PRECISION[]"),
            (Type::TIMESTAMPTZ, "TIMESTAMPTZ"),
            (Type::TS_VECTOR, "TSVECTOR"),
        ] {
            assert_eq!(&*PgType::new(&of).name, name);
        }
        let status = Type::new("status".into(), 70_000, Kind::Enum(vec![]), "public".into());
        assert_eq!(&*PgType::new(&status).name, "status");
        assert!(matches!(PgType::new(&status).form, Form::Enum));
        let email = Type::new("email".into(), 70_001, Kind::Domain(Type::TEXT), "public".into());
        assert!(matches!(PgType::new(&email).form, Form::Text));
    }
}
