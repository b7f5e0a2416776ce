//! Who sends the spans: the attributes that all spans of a process share.

use covet_core::clock::Clock;
use covet_core::ids;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use crate::settings::TraceSettings;
use crate::telemetry::Service;

/// What the operator set goes before what is known anyway; `OTEL_SERVICE_NAME` before `OTEL_RESOURCE_ATTRIBUTES`.
pub(super) fn of(settings: &TraceSettings, service: Service<'_>, clock: &Clock) -> Resource {
    let own = |name: &'static str, value: String| KeyValue::new(name, value);
    let mut attributes = vec![
        own("service.name", service.name.to_owned()),
        own("service.version", service.version.to_owned()),
        own("service.instance.id", ids::new_id(clock).to_string()),
        own("deployment.environment.name", service.environment.to_string()),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    attributes.extend(host_name().map(|name| own("host.name", name)));
    if let Some(set) = &settings.resource_attributes {
        attributes.extend(set.iter().map(|(name, value)| KeyValue::new(name.to_owned(), value.to_owned())));
    }
    attributes.extend(settings.service_name.clone().map(|name| own("service.name", name)));
    Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector)).with_attributes(attributes).build()
}

/// The name of the machine; in a container, that of the container.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
