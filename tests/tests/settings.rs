//! Settings as an operator meets them: every mistake at once, before anything is bound; secrets never shown.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use covet_testkit::{Finished, Service, ServiceBuilder, free_port};
use serde_json::Value;

const SECRET: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

const PLACEHOLDER: &str = "your-secret-key-your-secret-key-your-secret-key";

/// Starts the service, which has to refuse.
async fn refusal(builder: ServiceBuilder) -> Result<Finished> {
    let finished = builder.prepare()?.command(&[]).await?;
    ensure!(finished.code() == Some(1), "{:?}: {}", finished.code(), finished.output());
    Ok(finished)
}

/// The effective value of a variable.
async fn effective(builder: ServiceBuilder, variable: &str) -> Result<Value> {
    let finished = builder.prepare()?.command(&["config", "--json"]).await?.success("config --json")?;
    let config: Value = serde_json::from_str(&finished.stdout)?;
    let settings = config["settings"].as_array().context("settings")?;
    settings.iter().find(|setting| setting["variable"] == variable).cloned().with_context(|| variable.to_owned())
}

#[tokio::test]
async fn five_mistakes_in_a_file_print_five_messages_before_a_port_is_bound() -> Result<()> {
    // Somebody else has the port: binding it would be a sixth problem, or the only one that is told.
    let port = free_port()?;
    let _occupied = TcpListener::bind(("127.0.0.1", port))?;
    let file = "
        [http]
        request_timeout = \"soon\"
        body_limit = \"a lot\"
        max_connections = 0
        bodylimit = \"1MiB\"

        [health]
        check_timeout = \"1h\"
    ";
    let finished = refusal(Service::builder().env("PORT", port.to_string()).file("covet.toml", file)).await?;
    let text = finished.output();
    for setting in ["request_timeout", "body_limit", "max_connections", "bodylimit", "check_timeout"] {
        assert!(text.contains(setting), "{setting} is not named in: {text}");
    }
    assert!(text.contains("5 problems"), "{text}");
    for value in ["soon", "a lot", "1h"] {
        assert!(text.contains(value), "{value:?} is not quoted in: {text}");
    }
    let helped = text.matches("for example").count() + text.matches("did you mean").count();
    assert_eq!(helped, 5, "each has an example that works, or the name that was meant: {text}");
    assert!(!text.contains("in use"), "{text}");
    Ok(())
}

#[tokio::test]
async fn mistakes_of_the_environment_and_of_files_are_told_together() -> Result<()> {
    let builder = Service::builder().env("PORT", "eighty").env("COVET_HTTP__BODY_LIMITT", "1MiB");
    let text = refusal(builder.file("covet.toml", "[http]\nrequest_timeout = \"soon\"\n")).await?.output();
    assert!(text.contains("3 problems"), "{text}");
    assert!(text.contains("PORT") && text.contains("eighty"), "{text}");
    assert!(text.contains("did you mean") && text.contains("COVET_HTTP__BODY_LIMIT"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_placeholder_secret_is_refused_in_production_only() -> Result<()> {
    // Long enough for a key, and copied from an example all the same.
    let with_placeholder = || Service::builder().env("JWT_SECRET_KEY", PLACEHOLDER);
    let text = refusal(with_placeholder().env("COVET_ENV", "production")).await?.output();
    assert!(text.contains("JWT_SECRET_KEY") && text.contains("placeholder"), "{text}");
    assert!(!text.contains(PLACEHOLDER), "not even a placeholder is printed: {text}");
    for environment in ["development", "staging"] {
        let service = with_placeholder().env("COVET_ENV", environment).start().await?;
        assert_eq!(service.client().get(service.url("/health/ready")).send().await?.status(), 200);
    }
    let demonstration =
        with_placeholder().env("COVET_ENV", "production").env("COVET_ALLOW_PLACEHOLDER_SECRETS", "true");
    demonstration.start().await?;
    Ok(())
}

#[tokio::test]
async fn the_documented_example_key_is_refused_in_production() -> Result<()> {
    let builder = Service::builder().env("COVET_ENV", "production").env("JWT_SECRET_KEY", "your-secret-key");
    let text = refusal(builder).await?.output();
    assert!(text.contains("1. JWT_SECRET_KEY"), "{text}");
    Ok(())
}

#[tokio::test]
async fn missing_keys_are_made_in_development_and_refused_in_production() -> Result<()> {
    let keyless = || Service::builder().without_env("SECRET_KEY").without_env("JWT_SECRET_KEY");
    keyless().start().await?;
    let text = refusal(keyless().env("COVET_ENV", "production")).await?.output();
    assert!(text.contains("JWT_SECRET_KEY"), "{text}");
    assert!(text.contains("openssl rand -hex 32"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_secret_is_read_from_the_file_that_name_file_names() -> Result<()> {
    let builder = || {
        let builder = Service::builder().env("COVET_ENV", "production").without_env("JWT_SECRET_KEY");
        builder.env("JWT_SECRET_KEY_FILE", "secret_key").file("secret_key", &format!("{SECRET}\n"))
    };
    builder().start().await?;
    let setting = effective(builder(), "JWT_SECRET_KEY").await?;
    assert!(setting.to_string().contains("secret_key"), "it says which file: {setting}");
    let text = refusal(builder().env("JWT_SECRET_KEY_FILE", "no/such/file")).await?.output();
    assert!(text.contains("JWT_SECRET_KEY") && text.contains("no/such/file"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_environment_wins_over_the_file_and_config_says_so() -> Result<()> {
    let builder = || Service::builder().file("covet.toml", "[http]\nbody_limit = \"1MiB\"\nrequest_timeout = \"7s\"\n");
    let from_file = effective(builder(), "COVET_HTTP__REQUEST_TIMEOUT").await?;
    assert_eq!(from_file["value"], "7s", "{from_file}");
    assert!(from_file["provenance"].to_string().contains("covet.toml"), "{from_file}");
    let from_env = effective(builder().env("COVET_HTTP__BODY_LIMIT", "2MiB"), "COVET_HTTP__BODY_LIMIT").await?;
    assert_eq!(from_env["value"], "2MiB", "{from_env}");
    let default = effective(builder(), "COVET_HTTP__MAX_CONNECTIONS").await?;
    assert_eq!(default["value"], "20000", "{default}");
    Ok(())
}

#[tokio::test]
async fn the_documented_defaults_are_in_effect() -> Result<()> {
    let defaults = [("COVET_HTTP__REQUEST_TIMEOUT", "60s"), ("COVET_HTTP__BODY_LIMIT", "50MiB")];
    for (variable, expected) in defaults {
        let setting = effective(Service::builder(), variable).await?;
        let value = setting["value"].as_str().unwrap_or_default();
        assert!(value == expected || (expected == "60s" && value == "1m"), "{setting}");
    }
    Ok(())
}

#[tokio::test]
async fn secrets_are_masked_wherever_settings_are_shown() -> Result<()> {
    let service = Service::builder().env("JWT_SECRET_KEY", SECRET).prepare()?;
    for arguments in [vec!["config"], vec!["config", "--json"]] {
        let output = service.command(&arguments).await?.output();
        assert!(output.contains("JWT_SECRET_KEY"), "{output}");
        assert!(!output.contains(SECRET), "{output}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_value_of_a_secret_is_not_printed() -> Result<()> {
    let weak = "only-this-short";
    let text = refusal(Service::builder().env("COVET_ENV", "production").env("JWT_SECRET_KEY", weak)).await?.output();
    assert!(text.contains("JWT_SECRET_KEY") && !text.contains(weak), "{text}");
    Ok(())
}
