//! Values onto a statement's parameters, whose types PostgreSQL tells when it prepares the statement.
//!
//! What has a form of its own (numbers, bytes, instants) is checked against the parameter's type and sent in binary. Text
//! given for a type that Covet has no values of (an enum, NUMERIC, DATE, INET) is sent as text, and PostgreSQL parses it.

use std::error::Error as StdError;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type};

use super::value::time::micros_since_2000;
use crate::{Error, Param};

/// A value on its way to `$number`.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    number: usize,
    value: &'a Param,
}

/// The value does not go with the parameter's type.
#[derive(Debug, thiserror::Error)]
#[error("the value of ${number} cannot be bound: {why}")]
struct Unfit {
    number: usize,
    why: String,
}

/// The values of a statement, in order.
pub(super) fn bound(values: &[Param]) -> impl ExactSizeIterator<Item = Bound<'_>> {
    values.iter().enumerate().map(|(index, value)| Bound { number: index + 1, value })
}

/// The values for a statement that is not prepared: PostgreSQL infers the types, so all are sent as text.
pub(super) fn bound_as_text(values: &[Param]) -> impl ExactSizeIterator<Item = (Bound<'_>, Type)> {
    bound(values).map(|bound| (bound, Type::UNKNOWN))
}

/// Says so if there are more or fewer values than parameters.
pub(super) fn check_count(expected: usize, given: usize) -> Result<(), Error> {
    if expected == given {
        return Ok(());
    }
    Err(Error::Parameters(format!("the statement has {expected} parameters, {given} values were given")))
}

/// Our own refusal, out of the driver's error.
pub(super) fn unfit(error: &tokio_postgres::Error) -> Option<Error> {
    let unfit = error.source()?.downcast_ref::<Unfit>()?;
    Some(Error::Parameters(unfit.to_string()))
}

impl ToSql for Bound<'_> {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let of = base(of);
        let written = if as_text(self.value, of) { text(self.value, out) } else { binary(self.value, of, out) };
        written.map_err(|why| Unfit { number: self.number, why }.into())
    }

    fn accepts(_of: &Type) -> bool {
        true
    }

    fn encode_format(&self, of: &Type) -> Format {
        if as_text(self.value, base(of)) { Format::Text } else { Format::Binary }
    }

    fn to_sql_checked(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(of, out)
    }
}

/// What a domain is made of.
fn base(of: &Type) -> &Type {
    match of.kind() {
        Kind::Domain(inner) => base(inner),
        _ => of,
    }
}

fn is_text(of: &Type) -> bool {
    matches!(*of, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::XML) || of.name() == "citext"
}

fn as_text(value: &Param, of: &Type) -> bool {
    // Nobody knows the type, so only text can be right.
    if *of == Type::UNKNOWN {
        return true;
    }
    match value {
        Param::Text(_) => !is_text(of) && takes_text(of),
        Param::Integer(_) | Param::Real(_) => *of == Type::NUMERIC,
        Param::Array(values) => match of.kind() {
            Kind::Array(element) => values.iter().any(|value| as_text(value, base(element))),
            _ => false,
        },
        _ => false,
    }
}

/// Types that have values of Covet's own take those only: text for a number is a mistake.
fn takes_text(of: &Type) -> bool {
    let own = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::OID,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::JSON,
        Type::JSONB,
    ];
    !own.contains(of) && !matches!(of.kind(), Kind::Array(_))
}

fn mismatch(value: &Param, of: &Type) -> String {
    let name = super::types::PgType::new(of).name;
    format!("it is {}, the parameter is {name}", value.kind())
}

fn binary(value: &Param, of: &Type, out: &mut BytesMut) -> Result<IsNull, String> {
    match (value, of) {
        (Param::Null, _) => return Ok(IsNull::Yes),
        (Param::Unfit(why), _) => return Err((*why).to_owned()),
        (Param::Bool(value), of) if *of == Type::BOOL => out.put_u8(u8::from(*value)),
        (Param::Integer(value), of) => integer(*value, of, out)?,
        (Param::Real(value), of) => real(*value, of, out)?,
        (Param::Text(value), of) if is_text(of) => out.put_slice(value.as_bytes()),
        (Param::Bytes(value), of) if *of == Type::BYTEA => out.put_slice(value),
        (Param::Uuid(value), of) if *of == Type::UUID => out.put_slice(value.as_bytes()),
        (Param::Uuid(value), of) if is_text(of) => {
            let mut text = uuid::Uuid::encode_buffer();
            out.put_slice(value.hyphenated().encode_lower(&mut text).as_bytes());
        }
        (Param::Timestamp(value), of) if *of == Type::TIMESTAMPTZ => out.put_i64(micros_since_2000(*value)),
        (Param::Timestamp(value), of) if is_text(of) => out.put_slice(format!("{value:.6}").as_bytes()),
        (Param::Timestamp(_), of) if *of == Type::TIMESTAMP => {
            return Err(
                "it is an instant, the parameter is TIMESTAMP, which has no time zone; use TIMESTAMPTZ".to_owned()
            );
        }
        (Param::Json(value), of) if *of == Type::JSON || is_text(of) => out.put_slice(value.as_bytes()),
        (Param::Json(value), of) if *of == Type::JSONB => {
            // The version of the form.
            out.put_u8(1);
            out.put_slice(value.as_bytes());
        }
        (Param::Array(values), of) => match of.kind() {
            Kind::Array(element) => array(values, element, out)?,
            _ => return Err(mismatch(value, of)),
        },
        _ => return Err(mismatch(value, of)),
    }
    Ok(IsNull::No)
}

fn integer(value: i64, of: &Type, out: &mut BytesMut) -> Result<(), String> {
    let range = |name: &str| format!("it is out of the range of {name}");
    match *of {
        Type::INT8 => out.put_i64(value),
        Type::INT4 => out.put_i32(value.try_into().map_err(|_| range("INTEGER"))?),
        Type::INT2 => out.put_i16(value.try_into().map_err(|_| range("SMALLINT"))?),
        Type::OID => out.put_u32(value.try_into().map_err(|_| range("OID"))?),
        #[expect(clippy::cast_precision_loss, reason = "checked")]
        Type::FLOAT8 if value.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS => out.put_f64(value as f64),
        _ => return Err(mismatch(&Param::Integer(value), of)),
    }
    Ok(())
}

fn real(value: f64, of: &Type, out: &mut BytesMut) -> Result<(), String> {
    #[expect(clippy::cast_possible_truncation, reason = "whether something is lost is looked at")]
    let narrow = value as f32;
    match *of {
        Type::FLOAT8 => out.put_f64(value),
        Type::FLOAT4 if f64::from(narrow) == value || value.is_nan() => out.put_f32(narrow),
        Type::FLOAT4 => {
            return Err("REAL cannot hold it exactly; make the column DOUBLE PRECISION, or give an f32".to_owned());
        }
        _ => return Err(mismatch(&Param::Real(value), of)),
    }
    Ok(())
}

/// One dimension, from 1.
fn array(values: &[Param], element: &Type, out: &mut BytesMut) -> Result<(), String> {
    let count = i32::try_from(values.len()).map_err(|_| "it has too many elements".to_owned())?;
    out.put_i32(i32::from(count > 0));
    out.put_i32(i32::from(values.contains(&Param::Null)));
    out.put_u32(element.oid());
    if count > 0 {
        out.put_i32(count);
        out.put_i32(1);
    }
    for value in values {
        let at = out.len();
        out.put_i32(-1);
        if let IsNull::No = binary(value, base(element), out)? {
            let length = i32::try_from(out.len() - at - 4).map_err(|_| "an element is too long".to_owned())?;
            out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// The value as PostgreSQL reads it in SQL.
fn text(value: &Param, out: &mut BytesMut) -> Result<IsNull, String> {
    match value {
        Param::Null => return Ok(IsNull::Yes),
        Param::Unfit(why) => return Err((*why).to_owned()),
        Param::Array(values) => array_text(values, out)?,
        value => out.put_slice(plain_text(value)?.as_bytes()),
    }
    Ok(IsNull::No)
}

fn plain_text(value: &Param) -> Result<String, String> {
    Ok(match value {
        Param::Bool(value) => value.to_string(),
        Param::Integer(value) => value.to_string(),
        Param::Real(value) if value.is_infinite() => if *value < 0.0 { "-Infinity" } else { "Infinity" }.to_owned(),
        Param::Real(value) => value.to_string(),
        Param::Text(value) | Param::Json(value) => value.clone(),
        Param::Bytes(value) => value.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        Param::Uuid(value) => value.to_string(),
        Param::Timestamp(value) => format!("{value:.6}"),
        Param::Unfit(why) => return Err((*why).to_owned()),
        Param::Null | Param::Array(_) => return Err("lists are of one dimension".to_owned()),
    })
}

/// `{1,"two",NULL}`
fn array_text(values: &[Param], out: &mut BytesMut) -> Result<(), String> {
    out.put_u8(b'{');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        if *value == Param::Null {
            out.put_slice(b"NULL");
            continue;
        }
        let quoted = plain_text(value)?.replace('\\', "\\\\").replace('"', "\\\"");
        out.put_slice(format!("\"{quoted}\"").as_bytes());
    }
    out.put_u8(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    fn sent(value: &Param, of: &Type) -> Result<Vec<u8>, String> {
        let mut out = BytesMut::new();
        let bound = Bound { number: 1, value };
        bound.to_sql(of, &mut out).map(|_| out.to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_checked_against_the_range_of_the_parameter() {
        assert_eq!(sent(&Param::Integer(7), &Type::INT4).unwrap(), [0, 0, 0, 7]);
        for (value, of, told) in [
            (Param::Integer(1 << 31), Type::INT4, "out of the range of INTEGER"),
            (Param::Integer(1 << 15), Type::INT2, "out of the range of SMALLINT"),
            (Param::Integer(-1), Type::OID, "out of the range of OID"),
            (Param::Integer((1 << 53) + 1), Type::FLOAT8, "it is INTEGER, the parameter is DOUBLE PRECISION"),
            (Param::Real(0.1), Type::FLOAT4, "REAL cannot hold it exactly"),
            (Param::Real(1.5), Type::INT8, "it is REAL, the parameter is BIGINT"),
            (Param::Text("7".into()), Type::INT8, "it is TEXT, the parameter is BIGINT"),
            (Param::Bool(true), Type::INT8, "it is BOOLEAN, the parameter is BIGINT"),
            (Param::Unfit("it cannot be written as JSON"), Type::JSON, "cannot be written as JSON"),
        ] {
            let error = sent(&value, &of).unwrap_err();
            assert!(error.contains(told) && error.contains("$1"), "{error}");
        }
    }

    #[test]
    fn text_for_other_types_is_sent_as_text() {
        let status = Type::new("status".into(), 70_000, Kind::Enum(vec![]), "public".into());
        for of in [Type::NUMERIC, Type::DATE, Type::INET, Type::INTERVAL, Type::UUID, status] {
            let value = Param::Text("x".into());
            assert!(matches!(Bound { number: 1, value: &value }.encode_format(&of), Format::Text), "{of}");
            assert_eq!(sent(&value, &of).unwrap(), b"x");
        }
        assert_eq!(sent(&Param::Real(12.5), &Type::NUMERIC).unwrap(), b"12.5");
    }

    #[test]
    fn a_list_in_text_is_quoted() {
        let list = Param::Array(params!["a\"b", "c\\d", "NULL", None::<String>].as_slice().to_vec());
        assert_eq!(sent(&list, &Type::NUMERIC_ARRAY).unwrap(), br#"{"a\"b","c\\d","NULL",NULL}"#);
    }
}
