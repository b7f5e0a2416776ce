//! For how long what is over is kept. Periodic tasks remove what is older.

use std::time::Duration;

use covet::settings::Settings;

/// For how long what is over is kept.
#[derive(Debug, Clone, Settings)]
#[settings(section = "retention")]
pub struct RetentionSettings {
    /// How long entries of the audit trail are kept. Older ones are removed every hour, and the trail tells of it, so that the
    /// rest can still be proved. PCI DSS 10.5.1 demands a year.
    #[setting(default = "400d", min = "1d", max = "3650d")]
    pub audit_entries: Duration,
    /// How long a login by token is kept that has ended or expired: a stolen token that turns up late is still recognised as
    /// reused, and its user can still see what happened.
    #[setting(default = "7d", min = "1h", max = "400d")]
    pub ended_logins: Duration,
}

#[cfg(test)]
mod tests {
    use covet::settings::SectionDoc;

    use super::*;

    #[test]
    fn the_declaration_keeps_to_its_own_rules() {
        assert_eq!(SectionDoc::of::<RetentionSettings>().faults(), Vec::<String>::new());
    }
}
