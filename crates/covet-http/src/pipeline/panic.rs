//! A handler that panics answers 500 and leaves a backtrace in the log; the process goes on.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use axum::response::Response;
use covet_core::problem::Problem;
use covet_telemetry::logging::backtrace::{self, LogBacktrace};
use covet_telemetry::{local, request};
use http::StatusCode;
use tracing::field::display;

use crate::error::{ExceptionType, problem_response};

thread_local! {
    /// What the hook saw of the panic that is now unwinding on this thread.
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

struct Seen {
    location: String,
    backtrace: Option<LogBacktrace>,
}

/// Sends panics to the log: with the request's id inside a request, else as an error of the process. Call once.
pub fn install_hook() {
    panic::set_hook(Box::new(note));
}

/// The same in a process that others share: panics outside requests of threads without telemetry of their own go where
/// they went before. Call as often as you like.
pub fn install_hook_beside_others() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| if local::is_local() { note(info) } else { others(info) }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let backtrace = backtrace::capture();
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    if request::current(|_| ()).is_some() {
        SEEN.set(Some(Seen { location, backtrace }));
        return;
    }
    let backtrace = backtrace.as_ref().map(display);
    let thread = std::thread::current().name().map(str::to_owned);
    let panic_message = text_of(info.payload());
    tracing::error!(panic_message, location, thread, backtrace, "panic outside a request");
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "not a text".to_owned())
}

/// Runs `work`; a panic becomes the response for it.
pub(super) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    panic::catch_unwind(AssertUnwindSafe(work))
}

/// Logs the panic and answers. Call inside the request's scope.
pub(crate) fn answer(payload: &(dyn Any + Send)) -> Response {
    let panic_message = text_of(payload);
    match SEEN.take() {
        Some(Seen { location, backtrace }) => {
            let backtrace = backtrace.as_ref().map(display);
            tracing::error!(panic_message, location, backtrace, "handler panicked");
        }
        None => tracing::error!(panic_message, "handler panicked"),
    }
    // Not through `Error`, which would log a second line.
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let mut problem =
        Problem::new(status.as_u16()).detail("Something went wrong inside. The log tells it under this request id.");
    let mut response = problem_response(&mut problem, status);
    response.extensions_mut().insert(ExceptionType("panic"));
    response
}
