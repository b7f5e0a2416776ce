//! Names and labels from the facade in the form of the exposition.

use std::borrow::Cow;

use metrics::Key;

use crate::metrics::exposition::push_labels;

/// The label value under which everything beyond the guard's limit is counted.
pub(super) const OVERFLOW: &str = "other";

/// The declared label names; `None` for a metric that nobody declared, where any will do.
pub(super) type Declared = Option<&'static [&'static str]>;

/// The labels as text, in the order of the declaration or sorted by name; and whether they are as declared.
pub(super) fn labels_of(key: &Key, declared: Declared) -> (String, bool) {
    let mut text = String::new();
    let Some(declared) = declared else {
        let mut labels: Vec<_> = key.labels().map(|label| (label_name(label.key()), label.value())).collect();
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels.dedup_by(|a, b| a.0 == b.0);
        push_labels(&mut text, labels.iter().map(|(name, value)| (name.as_ref(), *value)));
        return (text, true);
    };
    let value_of = |name: &str| key.labels().find(|label| label.key() == name).map(metrics::Label::value);
    push_labels(&mut text, declared.iter().map(|name| (*name, value_of(name).unwrap_or_default())));
    let as_declared = key.labels().len() == declared.len() && declared.iter().all(|name| value_of(name).is_some());
    (text, as_declared)
}

pub(super) fn overflow_labels(key: &Key, declared: Declared) -> String {
    let mut text = String::new();
    match declared {
        Some(declared) => push_labels(&mut text, declared.iter().map(|name| (*name, OVERFLOW))),
        None => {
            let mut names: Vec<_> = key.labels().map(|label| label_name(label.key())).collect();
            names.sort();
            names.dedup();
            push_labels(&mut text, names.iter().map(|name| (name.as_ref(), OVERFLOW)));
        }
    }
    text
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`; anything else becomes `_`.
pub(super) fn valid_name(name: &str) -> Cow<'_, str> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    replaced(name, valid)
}

/// As [`valid_name`] without the colon, and not `le`, which histograms need for themselves.
fn label_name(name: &str) -> Cow<'_, str> {
    if name == "le" {
        return Cow::Borrowed("le_");
    }
    replaced(name, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn replaced(name: &str, valid: impl Fn(u8) -> bool) -> Cow<'_, str> {
    let starts_well = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if starts_well && name.bytes().all(&valid) {
        return Cow::Borrowed(name);
    }
    let mut out = String::from(if starts_well { "" } else { "_" });
    out.extend(name.bytes().map(|byte| if valid(byte) { char::from(byte) } else { '_' }));
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_valid() {
        for (name, valid) in [
            ("a_total", "a_total"),
            ("a.b-c/d", "a_b_c_d"),
            ("1st", "_1st"),
            ("", "_"),
            ("ns:rule", "ns:rule"),
            ("ä", "__"),
        ] {
            assert_eq!(valid_name(name), valid);
        }
        assert_eq!(label_name("a:b"), "a_b");
    }

    #[test]
    fn labels_that_become_equal_are_one() {
        let key = Key::from_parts("x", &[("a.b", "1"), ("a_b", "2")]);
        assert_eq!(labels_of(&key, None), ("a_b=\"1\"".to_owned(), true));
        assert_eq!(overflow_labels(&key, None), "a_b=\"other\"");
    }
}
