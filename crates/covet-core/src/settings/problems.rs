//! What is wrong with the settings: every problem at once, each with a way out.

use std::fmt;

use super::provenance::Provenance;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The variable, or what else the problem is about, such as `[htpp]`.
    pub setting: String,
    /// Where the wrong value came from; [`None`] when there is none.
    pub origin: Option<Provenance>,
    /// What is wrong. Never holds a secret.
    pub reason: String,
    /// A line that would work, in the form of the place where the value came from.
    pub example: Option<String>,
}

/// Everything that is wrong with the settings. Its text is meant for standard error, as it is, before exit code 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<SettingProblem>);

impl Problems {
    /// [`None`] when there is nothing wrong.
    pub(crate) fn of(problems: Vec<SettingProblem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems, in the order in which the sections were read.
    #[must_use]
    pub fn as_slice(&self) -> &[SettingProblem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "1 problem in the settings:")?,
            count => writeln!(f, "{count} problems in the settings:")?,
        }
        let width = self.0.len().to_string().len();
        let indent = " ".repeat(width + 4);
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "\n  {:>width$}. {}", index + 1, problem.setting)?;
            if let Some(origin) = &problem.origin {
                write!(f, " ({origin})")?;
            }
            write!(f, "\n{indent}{}", problem.reason.replace('\n', &format!("\n{indent}")))?;
            if let Some(example) = &problem.example {
                write!(f, "\n{indent}for example: {example}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_numbered_and_aligned() {
        let problem = |setting: &str, origin| SettingProblem {
            setting: setting.into(),
            origin,
            reason: "expected a duration such as 10s, got \"ten\"".into(),
            example: Some(format!("{setting}=10s")),
        };
        let problems = Problems::of(vec![problem("A", Some(Provenance::Environment)), problem("B", None)]).unwrap();
        let expected = "\
2 problems in the settings:

  1. A (environment)
     expected a duration such as 10s, got \"ten\"
     for example: A=10s

  2. B
     expected a duration such as 10s, got \"ten\"
     for example: B=10s
";
        assert_eq!(problems.to_string(), expected);
        assert_eq!(Problems::of(Vec::new()), None);
    }
}
