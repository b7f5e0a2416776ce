//! Which functions make up a concern of Covet's pipeline. The one table to change when they are renamed or moved:
//! a function that a request does not reach any more ends the run with an error, so that the table cannot rot unseen.

/// A concern, and the functions it consists of on a request that is answered at once.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) concern: &'static str,
    pub(super) functions: &'static [Function],
}

/// A function by the end of its file's path and its name, without the type it belongs to.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Function {
    pub(super) file: &'static str,
    pub(super) name: &'static str,
    pub(super) part: Part,
}

/// How much of a function is the concern's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// All it does, the functions it calls included.
    Whole,
    /// Its own instructions alone: it runs something that is not the concern's.
    Itself,
}

const fn whole(file: &'static str, name: &'static str) -> Function {
    Function { file, name, part: Part::Whole }
}

const fn itself(file: &'static str, name: &'static str) -> Function {
    Function { file, name, part: Part::Itself }
}

const ADMISSION: &str = "covet-http/src/pipeline/admission.rs";
const EXCHANGE: &str = "covet-http/src/pipeline/exchange.rs";
const REQUEST: &str = "covet-telemetry/src/request.rs";
const TRACE: &str = "covet-http/src/pipeline/exchange/trace.rs";
const ROUTE_METRICS: &str = "covet-http/src/metrics/route.rs";
const WATCH: &str = "covet-http/src/listener/watch.rs";

/// Those that are always on first, then those that a setting switches off.
pub(super) const GROUPS: &[Group] = &[
    Group {
        concern: "metrics: counts, sizes, duration, user agent's family",
        functions: &[
            whole("covet-http/src/metrics.rs", "count_user_agent"),
            whole("covet-http/src/metrics/user_agent.rs", "classify"),
            whole(ROUTE_METRICS, "started"),
            whole(ROUTE_METRICS, "finished"),
        ],
    },
    Group { concern: "request id, when the request brings none", functions: &[whole("covet-core/src/ids.rs", "at")] },
    Group {
        concern: "request scope: id and client for every log line below",
        functions: &[whole(REQUEST, "in_trace"), itself(REQUEST, "enter"), whole(REQUEST, "drop")],
    },
    Group {
        concern: "client address and scheme",
        functions: &[
            whole("covet-http/src/client_address.rs", "client"),
            whole("covet-http/src/client_address.rs", "is_https"),
        ],
    },
    Group { concern: "admission limit", functions: &[whole(ADMISSION, "try_enter"), whole(ADMISSION, "leave")] },
    Group { concern: "body limit, on a request without a body", functions: &[whole(EXCHANGE, "take_body")] },
    Group {
        concern: "timeouts of head, request and idle connection, age of the connection",
        functions: &[
            whole(WATCH, "request_started"),
            whole(WATCH, "received"),
            whole(WATCH, "request_finished"),
            whole(WATCH, "sent"),
            whole(WATCH, "should_close"),
        ],
    },
    Group { concern: "panic guard", functions: &[itself("covet-http/src/pipeline/panic.rs", "catch")] },
    Group {
        concern: "access line (can be switched off)",
        functions: &[whole("covet-telemetry/src/logging/access.rs", "write")],
    },
    Group {
        concern: "traces at 0.1 % (can be switched off)",
        functions: &[whole(TRACE, "join"), whole(TRACE, "record")],
    },
    Group {
        concern: "security headers and `x-request-id` (can be switched off)",
        functions: &[whole("covet-http/src/pipeline/security_headers.rs", "add")],
    },
    Group {
        concern: "rate limit by client address and its three fields (can be switched off)",
        functions: &[
            whole("covet-http/src/pipeline.rs", "limit"),
            whole("covet-http/src/pipeline/exchange.rs", "limit_fields"),
        ],
    },
    Group {
        concern: "compression and CORS (can be switched off)",
        functions: &[whole(EXCHANGE, "of"), whole(EXCHANGE, "apply")],
    },
];
