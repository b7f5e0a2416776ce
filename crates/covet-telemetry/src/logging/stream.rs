//! The streams that a line can belong to: the log, what a security review asks for, what an auditor asks for.

/// Target of events that matter to security: logins, refused tokens, refused requests to the operator's port.
///
/// [`security`](super::security) writes them with their fixed fields.
pub const SECURITY: &str = "covet::security";

/// Target of events that an auditor asks for: who changed what.
///
/// [`audit`](super::audit) writes them with their fixed fields.
pub const AUDIT: &str = "covet::audit";

/// Which stream a line belongs to. Every line is in the log; a line of the two others can be in a file of its own too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Log,
    Security,
    Audit,
}

impl Stream {
    /// The stream of an event with this target, however it is spelt.
    pub(super) fn of(target: &str) -> Self {
        let name = target.strip_prefix("covet").and_then(|rest| rest.strip_prefix("::").or(rest.strip_prefix('.')));
        match name {
            Some("security") => Self::Security,
            Some("audit") => Self::Audit,
            _ => Self::Log,
        }
    }

    /// Its logger; `None` for the log, which has many.
    pub(super) fn logger(self) -> Option<&'static str> {
        match self {
            Self::Log => None,
            Self::Security => Some("covet.security"),
            Self::Audit => Some("covet.audit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_in_both_spellings_and_by_whole_names() {
        for target in [SECURITY, "covet.security"] {
            assert_eq!(Stream::of(target), Stream::Security);
        }
        assert_eq!(Stream::of(AUDIT), Stream::Audit);
        for target in ["covet::securityx", "covet_security", "security", "covet", "covet_http"] {
            assert_eq!(Stream::of(target), Stream::Log, "{target}");
        }
    }
}
