//! Names that look like settings and are none: almost always a typing error, which must not pass in silence.

use super::problems::SettingProblem;
use super::provenance::Provenance;
use super::section::{Field, SectionDoc};
use super::sources::{Layers, Variables};

/// Unknown `COVET_*` variables, and unknown tables and keys of the configuration file.
pub(super) fn problems(layers: &Layers, docs: &[SectionDoc]) -> Vec<SettingProblem> {
    let fields: Vec<&Field> = docs.iter().flat_map(|doc| &doc.fields).collect();
    let mut problems = Vec::new();
    for (variables, origin) in [(&layers.environment, Provenance::Environment), (&layers.dotenv, Provenance::DotEnv)] {
        problems.extend(unknown_variables(variables, &origin, &fields));
    }
    if let Some(config) = &layers.config {
        for (key, line) in &config.loose_keys {
            let owner = fields.iter().find(|field| field.key == key || field.variable.eq_ignore_ascii_case(key));
            problems.push(SettingProblem {
                setting: key.clone(),
                origin: Some(config.at(*line)),
                reason: "stands outside a table, so it belongs to no section".to_owned(),
                example: owner.map(|field| format!("[{}] {} = …", field.section, field.key)),
            });
        }
        for (name, table) in &config.tables {
            let Some(doc) = docs.iter().find(|doc| doc.name == name) else {
                let near = nearest(name, docs.iter().map(|doc| doc.name));
                problems.push(SettingProblem {
                    setting: format!("[{name}]"),
                    origin: Some(config.at(table.line)),
                    reason: reason("is no section of this service", near.map(|near| format!("[{near}]"))),
                    example: None,
                });
                continue;
            };
            for (key, entry) in table.entries.iter().filter(|(key, _)| doc.fields.iter().all(|field| field.key != *key))
            {
                let near = nearest(key, doc.fields.iter().map(|field| field.key)).map(str::to_owned);
                // The variable's name in place of the key, or a key of another section.
                let named = fields.iter().find(|field| field.variable.eq_ignore_ascii_case(key) || field.key == key);
                let near = near.or_else(|| named.map(|field| format!("{} in [{}]", field.key, field.section)));
                problems.push(SettingProblem {
                    setting: format!("[{name}] {key}"),
                    origin: Some(config.at(entry.line)),
                    reason: reason("is no setting of this service", near),
                    example: None,
                });
            }
        }
    }
    problems
}

fn unknown_variables(variables: &Variables, origin: &Provenance, fields: &[&Field]) -> Vec<SettingProblem> {
    let known = |name: &str| fields.iter().any(|field| field.variable == name);
    let mut problems = Vec::new();
    for (name, value) in &variables.0 {
        let ours = name.starts_with("COVET_");
        if !ours
            || known(name)
            || name.strip_suffix("_FILE").is_some_and(known)
            || is_service_link(name, value.as_deref())
        {
            continue;
        }
        // `COVET_HTTP__PORT` for a setting whose name is fixed as `PORT`.
        let fixed = fields.iter().find(|field| {
            let usual = Field::new::<String>(field.section, field.key, "").variable;
            usual == *name || name.strip_suffix("_FILE") == Some(&usual)
        });
        let near = match fixed {
            Some(field) => Some(field.variable.as_str()),
            None => nearest(name, fields.iter().map(|field| field.variable.as_str())),
        };
        problems.push(SettingProblem {
            setting: name.clone(),
            origin: Some(origin.clone()),
            reason: reason("is no setting of this service", near.map(str::to_owned)),
            example: None,
        });
    }
    problems
}

fn reason(what: &str, near: Option<String>) -> String {
    match near {
        Some(near) => format!("{what}; did you mean {near}?"),
        None => format!("{what}; docs/reference/settings.md lists all of them"),
    }
}

/// The known name that is so near that a typing error explains the difference.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    let best = known.map(|other| (distance(other), other)).min_by_key(|(distance, _)| *distance);
    // The common prefix says nothing about how near two names are.
    let length = name.strip_prefix("COVET_").unwrap_or(name).len();
    best.filter(|(distance, _)| *distance <= (length / 4).max(2) && *distance < length).map(|(_, other)| other)
}

/// True for what Kubernetes and Docker put into every container beside a service called `covet` or `covet-…`:
/// `COVET_SERVICE_HOST`, `COVET_PORT=tcp://…`, `COVET_PORT_8000_TCP_ADDR`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_service_link(name: &str, value: Option<&str>) -> bool {
    let address = |value: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && value.is_some_and(address) {
        return true;
    }
    // …_PORT_<number>_<protocol>, alone or with _PROTO, _PORT, _ADDR.
    let Some((_, rest)) = name.split_once("_PORT_") else { return false };
    let mut parts = rest.split('_');
    let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let protocol = matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
    let end = matches!((parts.next(), parts.next()), (None | Some("PROTO" | "PORT" | "ADDR"), None));
    number && protocol && end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["COVET_ENV", "COVET_HTTP__BODY_LIMIT", "COVET_DATABASE__POOL_MAX"];
        let near = |name| nearest(name, known.into_iter());
        assert_eq!(near("COVET_EVN"), Some("COVET_ENV"));
        assert_eq!(near("COVET_HTTP_BODY_LIMIT"), Some("COVET_HTTP__BODY_LIMIT"));
        assert_eq!(near("COVET_DATABASE__MAX_POOL"), None);
        assert_eq!(near("COVET_FOO"), None);
    }

    #[test]
    fn service_links_of_kubernetes_are_not_settings() {
        for (name, value) in [
            ("COVET_SERVICE_HOST", "10.0.0.1"),
            ("COVET_SERVICE_PORT", "8000"),
            ("COVET_SERVICE_PORT_HTTP", "8000"),
            ("COVET_PORT", "tcp://10.0.0.1:8000"),
            ("COVET_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("COVET_PORT_8000_TCP_PROTO", "tcp"),
            ("COVET_PORT_8000_TCP_PORT", "8000"),
            ("COVET_POSTGRES_PORT_5432_TCP_ADDR", "10.0.0.2"),
        ] {
            assert!(is_service_link(name, Some(value)), "{name}");
        }
        for (name, value) in [("COVET_PORT", "8000"), ("COVET_PORT_X_TCP", "1"), ("COVET_HTTP__PORT", "8000")] {
            assert!(!is_service_link(name, Some(value)), "{name}");
        }
    }
}
