//! What must not be written, as set: secrets and personal data.

use std::sync::Arc;

use super::personal::Personal;
use super::redact::Redaction;
use crate::settings::LogSettings;

/// Decides over every value on its way to a line. Traces share it.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) redaction: Arc<Redaction>,
    pub(super) personal: Arc<Personal>,
}

impl Policy {
    pub(super) fn new(settings: &LogSettings) -> Self {
        Self { redaction: Arc::new(Redaction::new(&settings.redact)), personal: Arc::new(Personal::new(settings)) }
    }
}
