//! Statements that are built piece by piece with `sea-query`: the feature `sea-query`.

use sea_query::{OptionEnum, PostgresQueryBuilder, QueryStatementBuilder, SqlWriterValues, SqliteQueryBuilder, Value};

use crate::db::Backend;
use crate::{Db, Param, Params, ToParam};

impl Db {
    /// The text of a statement, as this database wants it, and its parameters.
    ///
    /// ```
    /// use covet_data::sea_query::{Expr, ExprTrait as _, Order, Query};
    /// use covet_data::{Db, Result};
    ///
    /// async fn names(db: &Db, beginning: Option<&str>, most: u64) -> Result<Vec<String>> {
    ///     let mut query = Query::select();
    ///     query.column("name").from("users").order_by("id", Order::Asc).limit(most);
    ///     if let Some(beginning) = beginning {
    ///         query.and_where(Expr::col("name").like(format!("{beginning}%")));
    ///     }
    ///     let (sql, params) = db.build(&query);
    ///     db.read().all(&sql, params).await
    /// }
    /// ```
    pub fn build(&self, query: &impl QueryStatementBuilder) -> (String, Params) {
        // Numbered on either database: `$1`.
        let mut writer = SqlWriterValues::new("$", true);
        match self.backend() {
            Backend::Sqlite(_) => query.build_collect_any_into(&SqliteQueryBuilder, &mut writer),
            Backend::Postgres(_) => query.build_collect_any_into(&PostgresQueryBuilder, &mut writer),
        }
        let (sql, values) = writer.into_parts();
        (sql, values.into_iter().map(param).collect())
    }
}

fn param(value: Value) -> Param {
    match value {
        Value::Bool(value) => value.to_param(),
        Value::TinyInt(value) => value.to_param(),
        Value::SmallInt(value) => value.to_param(),
        Value::Int(value) => value.to_param(),
        Value::BigInt(value) => value.to_param(),
        Value::TinyUnsigned(value) => value.to_param(),
        Value::SmallUnsigned(value) => value.to_param(),
        Value::Unsigned(value) => value.to_param(),
        Value::BigUnsigned(None) | Value::Enum(OptionEnum::None(_)) | Value::Array(_, None) => Param::Null,
        Value::BigUnsigned(Some(value)) => {
            i64::try_from(value).map_or(Param::Unfit("it is larger than BIGINT"), Param::Integer)
        }
        Value::Float(value) => value.to_param(),
        Value::Double(value) => value.to_param(),
        Value::String(value) => value.to_param(),
        Value::Enum(OptionEnum::Some(value)) => value.value.to_param(),
        Value::Char(value) => value.map(String::from).to_param(),
        Value::Bytes(value) => value.map_or(Param::Null, Param::Bytes),
        Value::Json(value) => value.map(|value| *value).to_param(),
        Value::JiffDate(value) => value.to_param(),
        Value::JiffTime(value) => value.to_param(),
        Value::JiffDateTime(value) => value.map(|value| *value).to_param(),
        Value::JiffTimestamp(value) => value.map(|value| *value).to_param(),
        Value::Uuid(value) => value.to_param(),
        Value::Array(_, Some(values)) => Param::Array(values.into_iter().map(param).collect()),
        // There are further types if somebody turns on further features of sea-query.
        #[expect(clippy::allow_attributes, reason = "whether there are any is decided elsewhere")]
        #[allow(unreachable_patterns, reason = "see above")]
        _ => Param::Unfit("Covet does not bind this type of sea-query; give it as text, or as one that it binds"),
    }
}
