//! Which class of client a `User-Agent` belongs to: six label values, however many agents there are.

use http::HeaderValue;

/// A class of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserAgent {
    /// A browser on a desktop.
    Browser,
    /// A browser or an app on a phone or tablet.
    Mobile,
    /// A crawler, a monitor, a load balancer's probe.
    Bot,
    /// A command-line tool.
    Cli,
    /// An HTTP library.
    ApiClient,
    /// None sent, or none of these.
    #[default]
    Unknown,
}

/// Words that tell the class, in lower case, in the order in which they decide.
const MARKS: &[(UserAgent, &[&str])] = &[
    (
        UserAgent::Bot,
        &[
            "bot",
            "crawl",
            "spider",
            "slurp",
            "kube-probe",
            "healthchecker",
            "prometheus",
            "blackbox",
            "uptime",
            "pingdom",
            "monitor",
        ],
    ),
    (UserAgent::Cli, &["curl/", "wget/", "httpie/", "xh/", "apachebench/", "wrk", "oha/", "hey/", "k6/"]),
    (
        UserAgent::ApiClient,
        &[
            "python-requests/",
            "python-httpx/",
            "aiohttp/",
            "python-urllib",
            "okhttp/",
            "axios/",
            "node-fetch",
            "undici",
            "node",
            "go-http-client/",
            "java/",
            "apache-httpclient/",
            "reqwest/",
            "hyper/",
            "ruby",
            "faraday",
            "guzzlehttp/",
            "postman",
            "insomnia/",
            "dart/",
        ],
    ),
    (UserAgent::Mobile, &["mobile", "android", "iphone", "ipad", "cfnetwork/"]),
    (UserAgent::Browser, &["mozilla/", "opera/"]),
];

impl UserAgent {
    /// All classes, in the order of their cells.
    pub const ALL: [Self; 6] = [Self::Browser, Self::Mobile, Self::Bot, Self::Cli, Self::ApiClient, Self::Unknown];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Mobile => "mobile",
            Self::Bot => "bot",
            Self::Cli => "cli",
            Self::ApiClient => "api_client",
            Self::Unknown => "unknown",
        }
    }

    /// The class that a `User-Agent` header belongs to.
    #[must_use]
    pub fn classify(header: &[u8]) -> Self {
        let text = String::from_utf8_lossy(header).to_ascii_lowercase();
        MARKS
            .iter()
            .find(|(_, marks)| marks.iter().any(|mark| text.contains(mark)))
            .map_or(Self::Unknown, |(class, _)| *class)
    }
}

/// The last agent of a connection and its class: a client does not change its name between two requests.
#[derive(Debug, Clone, Default)]
pub struct UserAgentCache {
    last: Option<(HeaderValue, UserAgent)>,
}

impl UserAgentCache {
    pub(crate) fn classify(&mut self, header: Option<&HeaderValue>) -> UserAgent {
        let Some(header) = header else { return UserAgent::Unknown };
        match &self.last {
            Some((last, class)) if last == header => *class,
            _ => {
                let class = UserAgent::classify(header.as_bytes());
                // A copy: the header itself would keep the connection's whole read buffer alive.
                if let Ok(own) = HeaderValue::from_bytes(header.as_bytes()) {
                    self.last = Some((own, class));
                }
                class
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_agents_fall_into_their_class() {
        let cases = [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", UserAgent::Browser),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                UserAgent::Browser,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                UserAgent::Mobile,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                UserAgent::Mobile,
            ),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", UserAgent::Bot),
            ("kube-probe/1.30", UserAgent::Bot),
            ("ELB-HealthChecker/2.0", UserAgent::Bot),
            ("Prometheus/2.53.0", UserAgent::Bot),
            ("curl/8.5.0", UserAgent::Cli),
            ("Wget/1.21.3", UserAgent::Cli),
            ("python-requests/2.32.3", UserAgent::ApiClient),
            ("okhttp/4.12.0", UserAgent::ApiClient),
            ("Go-http-client/2.0", UserAgent::ApiClient),
            ("MyApp/1.2 CFNetwork/1494.0.7 Darwin/23.4.0", UserAgent::Mobile),
            ("", UserAgent::Unknown),
            ("something else", UserAgent::Unknown),
        ];
        for (agent, class) in cases {
            assert_eq!(UserAgent::classify(agent.as_bytes()), class, "{agent}");
        }
    }

    #[test]
    fn the_cache_follows_a_change() {
        let mut cache = UserAgentCache::default();
        let (curl, firefox) = (HeaderValue::from_static("curl/8"), HeaderValue::from_static("Mozilla/5.0"));
        assert_eq!(cache.classify(Some(&curl)), UserAgent::Cli);
        assert_eq!(cache.classify(Some(&firefox)), UserAgent::Browser);
        assert_eq!(cache.classify(Some(&firefox)), UserAgent::Browser);
        assert_eq!(cache.classify(None), UserAgent::Unknown);
    }
}
