//! `.env`: what a developer's shell would have exported. Read without touching the process environment.

use std::fs;
use std::io;
use std::path::Path;

use super::Variables;
use crate::settings::problems::SettingProblem;

/// The variables in the file; none when there is no file.
///
/// # Errors
/// When the file cannot be read, or has a line that is not `NAME=value`.
pub(super) fn read(path: &Path) -> Result<Variables, SettingProblem> {
    let problem = |reason: String| SettingProblem {
        setting: ".env".to_owned(),
        origin: None,
        reason,
        example: Some("NAME=\"a value with spaces\"".to_owned()),
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Variables::default()),
        Err(error) => return Err(problem(format!("cannot be read: {error}"))),
    };
    let mut variables = Variables::default();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        match pair {
            Ok((name, value)) => {
                variables.0.insert(name, Some(value));
            }
            // The line may hold a secret: its number is enough.
            Err(dotenvy::Error::LineParse(line, _)) => {
                let before = text.find(line.as_str()).map_or(0, |start| text[..start].matches('\n').count());
                return Err(problem(format!("line {} is not NAME=value", before + 1)));
            }
            Err(error) => return Err(problem(format!("cannot be read: {error}"))),
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Variables, SettingProblem> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(".env"), text).unwrap();
        read(&directory.path().join(".env"))
    }

    #[test]
    fn lines_are_read_as_a_shell_would() {
        let variables = read_text("# note\nA=1\nexport B=\"two words\"\nC='$A'\n\nA=2\n").unwrap();
        let value = |name: &str| variables.0[name].as_deref();
        assert_eq!((value("A"), value("B"), value("C")), (Some("2"), Some("two words"), Some("$A")));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_not_repeated() {
        let Err(problem) = read_text("A=1\nSECRET_KEY hunter2\n") else { panic!("the line should be refused") };
        assert_eq!(problem.reason, "line 2 is not NAME=value");
    }
}
