//! Which trace and span something belongs to, and its form on the wire: the `traceparent` header of
//! [W3C Trace Context](https://www.w3.org/TR/trace-context/).

use std::fmt;

/// A trace's number: 16 bytes, of which at least one is not zero. Shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span's number: 8 bytes, of which at least one is not zero. Shown as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// A place in a trace: the trace, the span in it, and whether the trace is recorded.
///
/// Shown as, and read from, the header `traceparent`:
///
/// ```
/// use covet_telemetry::traces::TraceContext;
///
/// let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context = TraceContext::parse(header.as_bytes()).unwrap();
/// assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
/// assert_eq!(context.span_id.to_string(), "b7ad6b7169203331");
/// assert!(context.sampled);
/// assert_eq!(context.to_string(), header);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
    /// Whether spans of this trace are recorded and exported.
    pub sampled: bool,
}

macro_rules! ids {
    ($($id:ident: $bytes:literal bytes, $digits:literal digits);*) => {$(
        impl $id {
            /// An id of these bytes. `None` if all are zero, which stands for "no id".
            #[must_use]
            pub fn new(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// A new id: unique, but no secret.
            #[must_use]
            pub fn random() -> Self {
                let mut bytes = [0; $bytes];
                for word in bytes.as_chunks_mut::<8>().0 {
                    *word = fastrand::u64(..).to_ne_bytes();
                }
                // All bytes are zero once in 2^64 ids or more.
                Self::new(bytes).unwrap_or(Self([1; $bytes]))
            }

            /// The bytes.
            #[must_use]
            pub fn bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// The hexadecimal digits, lower case, as ASCII: what `Display` shows, for whoever writes into a buffer.
            #[must_use]
            pub fn hex(self) -> [u8; $digits] {
                let mut digits = [0; $digits];
                for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
                    *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                }
                digits
            }

            fn parse(digits: &[u8]) -> Option<Self> {
                let mut bytes = [0; $bytes];
                let pairs = digits.as_chunks::<2>().0;
                for (byte, pair) in bytes.iter_mut().zip(pairs) {
                    *byte = byte_of(*pair)?;
                }
                Self::new(bytes)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(std::str::from_utf8(&self.hex()).unwrap_or_default())
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

ids!(TraceId: 16 bytes, 32 digits; SpanId: 8 bytes, 16 digits);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The byte of two lower-case hexadecimal digits.
fn byte_of([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}

/// Bit of the flags that says that the caller may have recorded the trace.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// Reads a `traceparent` header.
    ///
    /// `None` for what the specification tells us to pay no heed to: wrong length or digits, capital letters, an id
    /// of zeros, version `ff`. A version after `00` may carry more behind another dash.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (known, further) = header.split_at_checked(55)?;
        let [version @ .., b'-'] = &known[..3] else { return None };
        let [trace_id @ .., b'-'] = &known[3..36] else { return None };
        let [span_id @ .., b'-'] = &known[36..53] else { return None };
        match byte_of(*version.first_chunk()?)? {
            0 if !further.is_empty() => return None,
            0xff => return None,
            _ if !matches!(further, [] | [b'-', ..]) => return None,
            _ => {}
        }
        let flags = byte_of(*known[53..].first_chunk()?)?;
        Some(Self {
            trace_id: TraceId::parse(trace_id)?,
            span_id: SpanId::parse(span_id)?,
            sampled: flags & SAMPLED != 0,
        })
    }

    /// The header `traceparent`, as ASCII.
    #[must_use]
    pub fn traceparent(self) -> [u8; 55] {
        let mut header = *b"00-00000000000000000000000000000000-0000000000000000-00";
        header[3..35].copy_from_slice(&self.trace_id.hex());
        header[36..52].copy_from_slice(&self.span_id.hex());
        header[54] = if self.sampled { b'1' } else { b'0' };
        header
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.traceparent()).unwrap_or_default())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn parse(header: &str) -> Option<TraceContext> {
        TraceContext::parse(header.as_bytes())
    }

    #[test]
    fn only_the_sampled_flag_counts() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            let context = parse(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            assert_eq!(context.sampled, sampled, "{flags}");
            assert_eq!(context.to_string(), format!("00-{TRACE}-{SPAN}-0{}", u8::from(sampled)));
        }
    }

    #[test]
    fn a_later_version_may_carry_more() {
        for header in [
            format!("01-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01-"),
            format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"),
        ] {
            assert!(parse(&header).is_some_and(|context| context.sampled), "{header}");
        }
        assert_eq!(parse(&format!("cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like")), None);
    }

    #[test]
    fn what_is_not_a_traceparent_is_paid_no_heed() {
        for header in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            "é".repeat(40),
        ] {
            assert_eq!(parse(&header), None, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) {
            let (Some(trace_id), Some(span_id)) = (TraceId::new(trace_id), SpanId::new(span_id)) else { return Ok(()) };
            let context = TraceContext { trace_id, span_id, sampled };
            prop_assert_eq!(TraceContext::parse(&context.traceparent()), Some(context));
            prop_assert_eq!(parse(&context.to_string()), Some(context));
            let digits: String = trace_id.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(trace_id.to_string(), digits);
        }

        #[test]
        fn no_header_makes_reading_panic(header: Vec<u8>) {
            let _ = TraceContext::parse(&header);
        }
    }
}
