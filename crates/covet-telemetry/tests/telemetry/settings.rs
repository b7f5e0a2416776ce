//! The settings: names, defaults, and what is refused.

use std::path::Path;

use covet_core::environment::Environment;
use covet_core::settings::{ByteSize, Section, SectionDoc, Sources};
use covet_telemetry::settings::{HealthThresholds, LogFormat, LogSettings, MetricsSettings};

#[test]
fn the_declarations_are_sound() {
    for doc in
        [SectionDoc::of::<LogSettings>(), SectionDoc::of::<MetricsSettings>(), SectionDoc::of::<HealthThresholds>()]
    {
        assert_eq!(doc.faults(), Vec::<String>::new());
    }
}

#[test]
fn people_read_the_log_in_development_and_machines_elsewhere() {
    assert_eq!(LogSettings::defaults(Environment::Development).format, LogFormat::Human);
    assert_eq!(LogSettings::defaults(Environment::Staging).format, LogFormat::Json);
    let settings = LogSettings::defaults(Environment::Production);
    assert_eq!(settings.format, LogFormat::Json);
    assert_eq!(settings.level.to_string(), "info");
    assert!(settings.stdout && settings.file.is_none());
}

#[test]
fn log_settings_have_the_promised_names() {
    let settings = LogSettings::load(Sources::of([
        ("LOG_LEVEL", "warn,covet_data=debug"),
        ("LOG_FORMAT", "json"),
        ("LOG_FILE", "/app/logs/covet.log"),
        ("COVET_LOG__FILE_MAX_SIZE", "1MiB"),
        ("COVET_LOG__FILES_KEPT", "2"),
    ]))
    .unwrap();
    assert_eq!(settings.level.to_string(), "warn,covet.data=debug");
    assert_eq!(settings.file.as_deref(), Some(Path::new("/app/logs/covet.log")));
    assert_eq!((settings.file_max_size, settings.files_kept), (ByteSize::mebibytes(1), 2));
}

#[test]
fn two_logs_in_one_file_and_names_that_are_none_are_refused() {
    let wrong = [
        ("LOG_FILE", "/logs/a.log"),
        ("COVET_LOG__SECURITY_FILE", "/logs/b.log"),
        ("COVET_LOG__AUDIT_FILE", "/logs/a.log"),
    ];
    let problem = LogSettings::load(Sources::of(wrong)).unwrap_err().to_string();
    assert!(problem.contains("COVET_LOG__AUDIT_FILE") && problem.contains("file of LOG_FILE"), "{problem}");
    let problem = LogSettings::load(Sources::of([("COVET_LOG__REDACT", "iban,a b")])).unwrap_err().to_string();
    assert!(problem.contains("item 2") && problem.contains("\"a b\""), "{problem}");
}

#[test]
fn a_wrong_level_is_told_with_what_would_do() {
    let problem = LogSettings::load(Sources::of([("LOG_LEVEL", "info,covet_data=loud")])).unwrap_err().to_string();
    for part in ["LOG_LEVEL", "expected off, error, warn, info, debug or trace", "\"loud\"", "info,covet_data=debug"] {
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn degraded_comes_before_unhealthy() {
    let wrong = [("COVET_HEALTH_THRESHOLDS__DISK_DEGRADED_PERCENT", "97")];
    let problem = HealthThresholds::load(Sources::of(wrong)).unwrap_err().to_string();
    assert!(problem.contains("above the 95 from which it is unhealthy"), "{problem}");
    assert!(problem.contains("COVET_HEALTH_THRESHOLDS__DISK_DEGRADED_PERCENT"), "{problem}");
}
