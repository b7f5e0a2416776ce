//! The behaviour of settings as a whole: sources, precedence, problems, secrets and what is shown of them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    ByteSize, ConnectionUrl, Invalid, Loaded, Loader, Problems, Provenance, Section, SectionDoc, ServiceSettings,
    SettingValue, Settings, Sources, reference,
};
use crate::environment::Environment;

/// One of every kind of setting.
#[derive(Debug, Settings)]
#[settings(section = "shop", validate = "check_shop")]
struct ShopSettings {
    /// Port of the shop.
    #[setting(variable = "PORT", default = "8000", min = "1", max = "60000")]
    port: u16,
    /// Address the shop binds to.
    #[setting(variable = "HOST", default = "127.0.0.1", default_outside_development = "0.0.0.0")]
    host: IpAddr,
    /// Longest time for an order.
    #[setting(default = "10s", min = "100ms", max = "5m")]
    order_timeout: Duration,
    /// Largest picture.
    #[setting(default = "50MiB")]
    picture_limit: ByteSize,
    /// Share of orders that are checked by hand.
    #[setting(default = "0.5", min = "0", max = "1")]
    sample: f64,
    /// Whether the shop is open.
    #[setting(default = "true")]
    open: bool,
    /// How prices are written.
    #[setting(default = "plain")]
    prices: Prices,
    /// Networks of the proxies in front.
    #[setting(default = "")]
    trusted_proxies: Vec<IpNet>,
    /// Page of the payment provider.
    #[setting(example = "https://pay.example.com/")]
    payment_page: Option<Url>,
    /// Log of the orders.
    #[setting(default = "orders.log")]
    order_log: Option<PathBuf>,
    /// Smallest number of clerks.
    #[setting(default = "1")]
    clerks_min: u32,
    /// Largest number of clerks.
    #[setting(default = "5")]
    clerks_max: u32,
}

/// How prices are written.
#[derive(Debug, PartialEq, SettingValue)]
enum Prices {
    /// Digits alone.
    Plain,
    /// With the currency
    /// in front.
    WithCurrency,
}

fn check_shop(shop: &ShopSettings, environment: Environment) -> Vec<Invalid> {
    let mut invalid = Vec::new();
    if shop.clerks_min > shop.clerks_max {
        let reason = format!("must not be above COVET_SHOP__CLERKS_MAX ({}), got {}", shop.clerks_max, shop.clerks_min);
        invalid.push(Invalid::new("clerks_min", reason).example(shop.clerks_max.to_string()));
    }
    if environment.is_production() && !shop.open {
        invalid.push(Invalid::new("open", "production is always open"));
    }
    invalid
}

/// Secrets of every kind.
#[derive(Debug, Settings)]
#[settings(section = "vault")]
struct VaultSettings {
    /// Signs sessions.
    #[setting(variable = "SECRET_KEY", key_material, example = "openssl rand -hex 32")]
    secret_key: SecretString,
    /// The database.
    #[setting(
        variable = "DATABASE_URL",
        default = "sqlite://data/covet.db",
        required_outside_development,
        placeholder_check
    )]
    database_url: ConnectionUrl,
    /// Password of the mail server.
    mail_password: Option<SecretString>,
    /// A number nobody may know.
    #[setting(default = "4711", secret)]
    pin: u32,
}

const GOOD_KEY: &str = "3f0c1d9a7be24a6f8c5d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d";

fn load(sources: Sources) -> Result<Loaded, Problems> {
    let mut loader = Loader::new(sources);
    loader.section::<ShopSettings>();
    loader.section::<VaultSettings>();
    loader.finish()
}

fn problems(sources: Sources) -> Vec<String> {
    let problems = load(sources).expect_err("the settings should be refused");
    problems.as_slice().iter().map(|problem| format!("{}: {}", problem.setting, problem.reason)).collect()
}

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn the_declarations_of_core_have_no_faults() {
    assert_eq!(SectionDoc::of::<ServiceSettings>().faults(), Vec::<String>::new());
    assert_eq!(SectionDoc::of::<ShopSettings>().faults(), Vec::<String>::new());
}

#[test]
fn defaults_depend_on_the_environment() {
    let development = ShopSettings::defaults(Environment::Development);
    assert_eq!(development.host.to_string(), "127.0.0.1");
    assert_eq!((development.port, development.order_timeout), (8000, Duration::from_secs(10)));
    assert_eq!((development.picture_limit, development.prices), (ByteSize::mebibytes(50), Prices::Plain));
    assert_eq!(development.order_log, Some("orders.log".into()));
    assert!(development.open && development.trusted_proxies.is_empty() && development.payment_page.is_none());
    assert_eq!(ShopSettings::defaults(Environment::Production).host.to_string(), "0.0.0.0");
}

#[test]
fn the_first_source_that_has_a_value_wins() {
    // Each row takes the winning source of the row before away.
    let config = "[shop]\nport = 4";
    let file = Provenance::File { path: "port".into() };
    let rows = [
        ("PORT=1", "PORT=3", config, 1, Provenance::Environment),
        ("PORT_FILE=port", "PORT=3", config, 2, file.clone()),
        ("", "PORT=3", config, 3, Provenance::DotEnv),
        ("", "PORT_FILE=port", config, 2, file),
        ("", "", config, 4, Provenance::ConfigFile { path: "covet.toml".into(), line: 2 }),
        ("", "", "", 8000, Provenance::Default),
    ];
    for (environment, dotenv, config, port, provenance) in rows {
        let directory = directory(&[("port", "2\n"), (".env", dotenv), ("covet.toml", config)]);
        let loaded = load(Sources::of(environment.split_once('=')).in_directory(directory.path())).unwrap();
        assert_eq!(loaded.get::<ShopSettings>().port, port);
        assert_eq!(loaded.provenance("PORT"), Some(&provenance));
    }
}

#[test]
fn every_type_of_value_is_read_from_the_environment_and_from_the_file() {
    let environment = [
        ("COVET_SHOP__ORDER_TIMEOUT", "250ms"),
        ("COVET_SHOP__PICTURE_LIMIT", "1MB"),
        ("COVET_SHOP__SAMPLE", "0.25"),
        ("COVET_SHOP__OPEN", "false"),
        ("COVET_SHOP__PRICES", "with-currency"),
        ("COVET_SHOP__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("COVET_SHOP__PAYMENT_PAGE", "https://pay.example.com/"),
    ];
    let config = directory(&[(
        "covet.toml",
        "[shop]\norder_timeout = \"250ms\"\npicture_limit = 1_000_000\nsample = 0.25\nopen = false\nprices = \"with-currency\"\n\
         trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\npayment_page = \"https://pay.example.com/\"\n",
    )]);
    let no_variables: [(&str, &str); 0] = [];
    for sources in [Sources::of(environment), Sources::of(no_variables).in_directory(config.path())] {
        let loaded = load(sources).unwrap();
        let shop = loaded.get::<ShopSettings>();
        assert_eq!(shop.order_timeout, Duration::from_millis(250));
        assert_eq!((shop.picture_limit.bytes(), shop.sample, shop.open), (1_000_000, 0.25, false));
        assert_eq!(shop.prices, Prices::WithCurrency);
        assert_eq!(shop.trusted_proxies.len(), 2);
        assert_eq!(shop.payment_page.as_ref().map(Url::as_str), Some("https://pay.example.com/"));
    }
}

#[test]
fn a_wrong_value_is_answered_with_what_was_expected() {
    for (variable, value, reason) in [
        ("PORT", "http", "expected a whole number from 0 to 65535, got \"http\""),
        ("PORT", "0", "must be at least 1, got \"0\""),
        ("PORT", "", "expected a whole number from 0 to 65535, got \"\""),
        ("HOST", "localhost", "expected an IP address such as 127.0.0.1 or ::1, got \"localhost\""),
        ("COVET_SHOP__ORDER_TIMEOUT", "ten", "expected a duration such as 250ms, 10s, 5m, 24h or 30d, got \"ten\""),
        ("COVET_SHOP__ORDER_TIMEOUT", "10m", "must be at most 5m, got \"10m\""),
        ("COVET_SHOP__PICTURE_LIMIT", "big", "expected a size such as 512KiB, 50MiB or 1048576, got \"big\""),
        ("COVET_SHOP__SAMPLE", "1.5", "must be at most 1, got \"1.5\""),
        ("COVET_SHOP__OPEN", "maybe", "expected true or false, got \"maybe\""),
        ("COVET_SHOP__PRICES", "fancy", "expected plain or with-currency, got \"fancy\""),
        (
            "COVET_SHOP__TRUSTED_PROXIES",
            "10.0.0.0/8,x",
            "item 2: expected a network such as 10.0.0.0/8 or fd00::/8, got \"x\"",
        ),
        (
            "COVET_SHOP__PAYMENT_PAGE",
            "pay",
            "expected a URL such as https://example.com/path (relative URL without a base)",
        ),
        ("COVET_ENV", "prod", "expected development, staging or production, got \"prod\""),
        ("COVET_SHOP__CLERKS_MIN", "6", "must not be above COVET_SHOP__CLERKS_MAX (5), got 6"),
    ] {
        assert_eq!(problems(Sources::of([(variable, value)])), [format!("{variable}: {reason}")]);
    }
}

#[test]
fn six_mistakes_at_once_are_six_problems() {
    let directory = directory(&[("covet.toml", "[shop]\nprices = \"fancy\"\nprot = 1\n")]);
    let sources = Sources::of([
        ("PORT", "http"),
        ("COVET_SHOP__ORDER_TIMEOUT", "ten"),
        ("COVET_SHOP__ODER_TIMEOUT", "10s"),
        ("COVET_DATA_DIR", "/data"),
        ("SECRET_KEY", "x"),
        ("COVET_SHOP__TRUSTED_PROXIES_FILE", "/missing/proxies"),
    ]);
    let problems = load(sources.in_directory(directory.path())).unwrap_err();
    insta::assert_snapshot!(problems.to_string(), @r#"
6 problems in the settings:

  1. PORT (environment)
     expected a whole number from 0 to 65535, got "http"
     for example: PORT=8000

  2. COVET_SHOP__ORDER_TIMEOUT (environment)
     expected a duration such as 250ms, 10s, 5m, 24h or 30d, got "ten"
     for example: COVET_SHOP__ORDER_TIMEOUT=10s

  3. COVET_SHOP__PRICES (covet.toml line 2)
     expected plain or with-currency, got "fancy"
     for example: [shop] prices = "plain"

  4. COVET_SHOP__TRUSTED_PROXIES_FILE
     cannot read /missing/proxies: No such file or directory (os error 2)
     for example: COVET_SHOP__TRUSTED_PROXIES_FILE=/run/secrets/covet_shop__trusted_proxies

  5. COVET_SHOP__ODER_TIMEOUT (environment)
     is no setting of this service; did you mean COVET_SHOP__ORDER_TIMEOUT?

  6. [shop] prot (covet.toml line 3)
     is no setting of this service; did you mean port?
"#);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    for (name, hint) in [
        ("COVET_EVN", "did you mean COVET_ENV?"),
        ("COVET_SHOP_ORDER_TIMEOUT", "did you mean COVET_SHOP__ORDER_TIMEOUT?"),
        ("COVET_SHOP__PORT", "did you mean PORT?"),
        ("COVET_VAULT__SECRET_KEY_FILE", "did you mean SECRET_KEY?"),
        ("COVET_NOTHING_LIKE_THIS", "docs/reference/settings.md lists all of them"),
    ] {
        assert_eq!(problems(Sources::of([(name, "x")])), [format!("{name}: is no setting of this service; {hint}")]);
    }
    for (text, problem) in [
        ("[shpo]\nport = 1", "[shpo]: is no section of this service; did you mean [shop]?"),
        ("[shop]\nprot = 1", "[shop] prot: is no setting of this service; did you mean port?"),
        ("[vault]\nport = 1", "[vault] port: is no setting of this service; did you mean port in [shop]?"),
        ("port = 1", "port: stands outside a table, so it belongs to no section"),
        ("[shop.port]\nx = 1", "PORT: expected a value, got a table"),
        (
            "[service]\nconfig = \"x\"",
            "COVET_CONFIG: has no effect here: it decides which files are read, so it counts in the environment only",
        ),
    ] {
        let directory = directory(&[("covet.toml", text)]);
        let sources = Sources::of([("COVET_DATA_DIR", "data")]).in_directory(directory.path());
        assert_eq!(problems(sources), [problem], "{text}");
    }
}

#[test]
fn a_tool_that_reads_few_sections_may_let_the_others_pass() {
    let mut loader = Loader::new(Sources::of([("COVET_OTHER__KEY", "1"), ("PORT", "9")]));
    loader.allow_unknown();
    assert_eq!(loader.section::<ShopSettings>().unwrap().port, 9);
    loader.finish().unwrap();
}

#[test]
fn variables_that_kubernetes_adds_are_not_taken_for_settings() {
    let links = [
        ("COVET_SERVICE_HOST", "10.0.0.1"),
        ("COVET_PORT", "tcp://10.0.0.1:8000"),
        ("COVET_PORT_8000_TCP_PORT", "8000"),
    ];
    load(Sources::of(links)).unwrap();
}

#[test]
fn a_value_may_come_from_a_file_but_not_from_two_places_at_once() {
    let directory = directory(&[("key", &format!("{GOOD_KEY}\r\n")), ("empty", "")]);
    let file = directory.path().join("key").display().to_string();
    let loaded = load(Sources::of([("SECRET_KEY", ""), ("SECRET_KEY_FILE", &file)])).unwrap();
    assert_eq!(loaded.get::<VaultSettings>().secret_key.expose_secret(), GOOD_KEY);
    assert_eq!(loaded.provenance("SECRET_KEY"), Some(&Provenance::File { path: file.clone().into() }));

    assert_eq!(
        problems(Sources::of([("SECRET_KEY", GOOD_KEY), ("SECRET_KEY_FILE", &file)])),
        ["SECRET_KEY: SECRET_KEY and SECRET_KEY_FILE are both set, and only one can count"]
    );
    assert_eq!(
        problems(Sources::of([("SECRET_KEY_FILE", "/missing/key")])),
        ["SECRET_KEY_FILE: cannot read /missing/key: No such file or directory (os error 2)"]
    );
    let empty = directory.path().join("empty").display().to_string();
    assert_eq!(problems(Sources::of([("SECRET_KEY_FILE", &empty)])), ["SECRET_KEY: expected a secret, got nothing"]);
}

#[test]
fn the_configuration_file_can_be_named_and_must_then_exist() {
    let directory = directory(&[("covet.toml", "[shop]\nport = 1"), ("other.toml", "[shop]\nport = 2")]);
    let sources = |name: &str| Sources::of([("COVET_CONFIG", name)]).in_directory(directory.path());
    assert_eq!(load(sources("other.toml")).unwrap().get::<ShopSettings>().port, 2);
    assert_eq!(load(sources("")).unwrap().get::<ShopSettings>().port, 1);
    assert_eq!(
        problems(sources("missing.toml")),
        ["COVET_CONFIG: cannot read missing.toml: No such file or directory (os error 2)"]
    );
}

#[test]
fn dotenv_counts_in_development_only_and_cannot_change_the_environment() {
    let directory = directory(&[(".env", "PORT=3\nCOVET_ENV=development\n")]);
    let sources = |environment: &str| Sources::of([("COVET_ENV", environment)]).in_directory(directory.path());
    let port = |sources| ShopSettings::load(sources).unwrap().port;
    assert_eq!(port(sources("development")), 3);
    assert_eq!(port(sources("staging")), 8000);

    fs::write(directory.path().join(".env"), "COVET_ENV=production\nCOVET_CONFIG=x.toml\n").unwrap();
    let refused = problems(Sources::of([("COVET_DATA_DIR", "data")]).in_directory(directory.path()));
    assert!(refused.iter().any(|problem| problem.starts_with("COVET_ENV: has no effect here")), "{refused:?}");
    assert!(refused.iter().any(|problem| problem.starts_with("COVET_CONFIG: has no effect here")), "{refused:?}");
}

#[test]
fn an_empty_value_says_none_to_an_optional_setting() {
    let loaded = load(Sources::of([("COVET_SHOP__ORDER_LOG", ""), ("COVET_VAULT__MAIL_PASSWORD", "")])).unwrap();
    assert_eq!(loaded.get::<ShopSettings>().order_log, None);
    assert_eq!(loaded.get::<VaultSettings>().pin, 4711);
    assert!(loaded.get::<VaultSettings>().mail_password.is_none());
}

#[test]
fn a_missing_key_is_generated_once_in_development_and_required_elsewhere() {
    let directory = directory(&[]);
    let sources = |environment: &str| Sources::of([("COVET_ENV", environment)]).in_directory(directory.path());
    let key = || {
        let loaded = load(sources("development")).unwrap();
        let kept = PathBuf::from("data/secrets/secret_key");
        assert_eq!(loaded.provenance("SECRET_KEY"), Some(&Provenance::Generated { path: Some(kept) }));
        loaded.get::<VaultSettings>().secret_key.expose_secret().to_owned()
    };
    let barrier = Barrier::new(8);
    let keys: Vec<String> = thread::scope(|scope| {
        let start = || {
            barrier.wait();
            key()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|other| *other == keys[0] && other.len() == 64));
    let kept = fs::read_to_string(directory.path().join("data/secrets/secret_key")).unwrap();
    assert_eq!(kept.trim(), keys[0]);

    for environment in ["staging", "production"] {
        assert_eq!(
            problems(sources(environment)),
            [
                format!("SECRET_KEY: is not set, and {environment} needs it"),
                format!("DATABASE_URL: is not set, and {environment} needs it"),
            ]
        );
    }
}

#[test]
fn nothing_is_generated_when_the_environment_is_in_doubt() {
    let directory = directory(&[]);
    let sources = Sources::of([("COVET_ENV", "prod")]).in_directory(directory.path());
    assert_eq!(problems(sources), ["COVET_ENV: expected development, staging or production, got \"prod\""]);
    assert!(!Path::new(&directory.path().join("data")).exists());
}

#[test]
fn a_test_without_a_directory_leaves_nothing_behind() {
    let loaded = load(Sources::of([("COVET_ENV", "development")])).unwrap();
    assert_eq!(loaded.provenance("SECRET_KEY"), Some(&Provenance::Generated { path: None }));
    assert_eq!(loaded.get::<VaultSettings>().secret_key.expose_secret().len(), 64);
}

#[test]
fn production_refuses_placeholders_unless_it_is_a_demonstration() {
    let sources = |environment: &'static str, key: &'static str, more: &[(&'static str, &'static str)]| {
        let mut variables = vec![
            ("COVET_ENV", environment),
            ("SECRET_KEY", key),
            ("DATABASE_URL", "postgresql://covet:h8Jq2kQz@db/covet"),
        ];
        variables.extend(more);
        Sources::of(variables)
    };
    let hint = "(a demonstration may set COVET_ALLOW_PLACEHOLDER_SECRETS=true)";
    let loaded = load(sources("production", GOOD_KEY, &[])).unwrap();
    assert_eq!(loaded.get::<VaultSettings>().database_url.expose(), "postgresql://covet:h8Jq2kQz@db/covet");
    load(sources("staging", "your-secret-key", &[])).unwrap();
    load(sources("production", "your-secret-key", &[("COVET_ALLOW_PLACEHOLDER_SECRETS", "true")])).unwrap();
    assert_eq!(
        problems(sources("production", "your-secret-key", &[])),
        [format!("SECRET_KEY: is a placeholder, which production refuses {hint}")]
    );
    assert_eq!(
        problems(sources("production", "k8Jq2kQz", &[("COVET_VAULT__MAIL_PASSWORD", "changeme")])),
        [
            format!("SECRET_KEY: is shorter than the 32 bytes that production asks of a key {hint}"),
            format!("COVET_VAULT__MAIL_PASSWORD: is a placeholder, which production refuses {hint}"),
        ]
    );
    assert_eq!(
        problems(Sources::of([
            ("COVET_ENV", "production"),
            ("SECRET_KEY", GOOD_KEY),
            ("DATABASE_URL", "postgresql://user:pass@db:5432/covet"),
        ])),
        [format!("DATABASE_URL: is a placeholder, which production refuses {hint}")]
    );
}

#[test]
fn no_secret_is_in_the_text_of_a_problem() {
    let text = load(Sources::of([
        ("COVET_ENV", "production"),
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", "covet:hunter2@db"),
        ("COVET_VAULT__PIN", "hunter2"),
        ("COVET_SHOP__PAYMENT_PAGE", "https://u:hunter2@host:port/"),
    ]))
    .unwrap_err()
    .to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("expected a whole number (a secret: what was there is not shown)"), "{text}");
}

#[test]
fn what_is_in_effect_is_shown_with_its_source_and_without_secrets() {
    let loaded = load(Sources::of([
        ("PORT", "9000"),
        ("SECRET_KEY", GOOD_KEY),
        ("DATABASE_URL", "postgresql://covet:hunter2@db1:5432,db2:5432/covet"),
        ("COVET_SHOP__ORDER_LOG", ""),
    ]))
    .unwrap();
    let table = loaded.effective().to_string();
    insta::assert_snapshot!(table, @r"
[service]
  COVET_ENV                        development                                          default
  COVET_CONFIG                     (not set)                                            default
  COVET_DATA_DIR                   data                                                 default
  COVET_ALLOW_PLACEHOLDER_SECRETS  false                                                default

[shop]
  PORT                             9000                                                 environment
  HOST                             127.0.0.1                                            default
  COVET_SHOP__ORDER_TIMEOUT        10s                                                  default
  COVET_SHOP__PICTURE_LIMIT        50MiB                                                default
  COVET_SHOP__SAMPLE               0.5                                                  default
  COVET_SHOP__OPEN                 true                                                 default
  COVET_SHOP__PRICES               plain                                                default
  COVET_SHOP__TRUSTED_PROXIES      (empty)                                              default
  COVET_SHOP__PAYMENT_PAGE         (not set)                                            default
  COVET_SHOP__ORDER_LOG            (not set)                                            environment
  COVET_SHOP__CLERKS_MIN           1                                                    default
  COVET_SHOP__CLERKS_MAX           5                                                    default

[vault]
  SECRET_KEY                       ********                                             environment
  DATABASE_URL                     postgresql://covet:********@db1:5432,db2:5432/covet  environment
  COVET_VAULT__MAIL_PASSWORD       (not set)                                            default
  COVET_VAULT__PIN                 ********                                             default
");
    let json = serde_json::to_value(loaded.effective()).unwrap();
    assert_eq!(json["schema"], "covet.settings/1");
    let key = json["settings"].as_array().unwrap().iter().find(|setting| setting["variable"] == "SECRET_KEY").unwrap();
    let expected = r#"{"key":"secret_key","provenance":{"kind":"environment"},"secret":true,"section":"vault","value":"********","variable":"SECRET_KEY"}"#;
    assert_eq!(key.to_string(), expected);
    for shown in [table, json.to_string(), format!("{loaded:?}"), format!("{:?}", loaded.get::<VaultSettings>())] {
        assert!(!shown.contains("hunter2") && !shown.contains(GOOD_KEY), "{shown}");
    }
}

#[test]
fn the_page_lists_every_setting_with_what_the_declaration_says() {
    let page = reference::markdown(&[SectionDoc::of::<ShopSettings>(), SectionDoc::of::<VaultSettings>()]);
    let (introduction, sections) = page.split_once("## shop").unwrap();
    assert!(introduction.starts_with("# Settings\n"));
    insta::assert_snapshot!("reference_page", format!("## shop{sections}"));
}

/// Wants a name that another section has.
#[derive(Debug, Settings)]
#[settings(section = "rival")]
struct RivalSettings {
    /// The shop's port.
    #[setting(variable = "PORT", default = "1")]
    #[expect(dead_code, reason = "only the declaration is of interest")]
    port: u16,
}

#[test]
fn two_sections_cannot_want_the_same_variable() {
    let mut loader = Loader::new(Sources::of([("PORT", "1")]));
    loader.section::<ShopSettings>();
    loader.section::<ShopSettings>();
    loader.section::<RivalSettings>();
    let text = loader.finish().unwrap_err().to_string();
    assert!(text.contains("declared by two sections of the program, [shop] and [rival]"), "{text}");
    assert!(text.starts_with("1 problem"), "{text}");
}
