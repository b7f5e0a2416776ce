//! What a call is called in errors, metrics and spans: nothing of it can be a secret.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::Method;
use reqwest::Url;

/// Whom a call goes to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    /// The path with names in place of values, if the caller told it.
    pub(crate) template: Option<Cow<'static, str>>,
}

impl Target {
    /// `None` for a URL without a host, or of another scheme than HTTP's.
    pub(crate) fn of(method: &Method, url: &Url, template: Option<Cow<'static, str>>) -> Option<Self> {
        let (scheme, default_port) = match url.scheme() {
            "https" => ("https", 443),
            "http" => ("http", 80),
            _ => return None,
        };
        let (host, port) = (url.host_str()?.into(), url.port().unwrap_or(default_port));
        Some(Self { method: method.clone(), scheme, host, port, template })
    }

    /// The name of the call's spans.
    pub(crate) fn span_name(&self) -> String {
        match &self.template {
            Some(template) => format!("{} {template}", self.method),
            None => self.method.to_string(),
        }
    }

    /// The host, and its port where that is not the usual one.
    pub(crate) fn authority(&self) -> Cow<'_, str> {
        match (self.scheme, self.port) {
            ("https", 443) | ("http", 80) => Cow::Borrowed(&*self.host),
            (_, port) => Cow::Owned(format!("{}:{port}", self.host)),
        }
    }
}

/// `GET stock.internal /items/{id}`: without path and query, in which secrets may be.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.authority())?;
        self.template.iter().try_for_each(|template| write!(f, " {template}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, template: Option<&'static str>) -> Option<String> {
        let url = Url::parse(url).unwrap();
        Target::of(&Method::GET, &url, template.map(Cow::Borrowed)).map(|target| target.to_string())
    }

    #[test]
    fn a_call_is_named_without_what_may_be_secret() {
        let url = "https://ada:hunter2@stock.internal/items/secret?token=secret#secret";
        assert_eq!(shown(url, None).unwrap(), "GET stock.internal");
        assert_eq!(shown("http://stock:8080/items/7", Some("/items/{id}")).unwrap(), "GET stock:8080 /items/{id}");
        assert_eq!(shown("ftp://stock/items", None), None);
    }
}
