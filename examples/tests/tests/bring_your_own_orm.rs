//! The services of the guide on bringing an ORM, as processes, on PostgreSQL.

use std::time::Duration;

use covet_testkit::{Database, Postgres, Service, cargo_binary, wait_until};
use serde_json::{Value, json};

type Tested = Result<(), Box<dyn std::error::Error>>;

const DEADLINE: Duration = Duration::from_secs(60);

async fn start(example: &str, url: &str) -> covet_testkit::Result<Service> {
    let service = Service::builder().binary(cargo_binary(example, example)?).env("DATABASE_URL", url);
    // So long sqlx tries to connect before it gives up.
    service.env("COVET_DATABASE__ACQUIRE_TIMEOUT", "2s").start().await
}

async fn ask(service: &Service, path: &str) -> Result<Value, reqwest::Error> {
    service.client().get(service.url(path)).send().await?.json().await
}

/// What the metrics say about a gauge.
async fn gauge(service: &Service, name: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let metrics = service.metrics().await?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or_else(|| format!("{name} is not in\n{metrics}"))?.parse()?)
}

/// Uses a service and ends it.
async fn serves(example: &str) -> Tested {
    let database = Database::create().await?;
    let mut service = start(example, &database.url()).await?;
    let add = async |title: &str, pages: i64| {
        let book = json!({"title": title, "pages": pages});
        service.client().post(service.url("/books")).json(&book).send().await
    };
    for (title, pages) in [("Middlemarch", 904), ("Dune", 612)] {
        let added = add(title, pages).await?;
        assert_eq!(added.status(), 200);
        assert_eq!(added.json::<Value>().await?, json!({"title": title, "pages": pages}));
    }
    let books = json!([{"title": "Dune", "pages": 612}, {"title": "Middlemarch", "pages": 904}]);
    assert_eq!(ask(&service, "/books").await?, books);

    let twice = add("Dune", 1).await?;
    assert_eq!(twice.status(), 409);
    assert_eq!(twice.json::<Value>().await?["detail"], "The same exists already.");
    let refused = add("Nothing", 0).await?;
    assert_eq!(refused.status(), 500);
    assert!(!refused.text().await?.contains("pages"), "the caller is told of the schema");
    // The log has the cause.
    service.process()?.wait_for_line("violates check constraint", DEADLINE).await?;

    let health = ask(&service, "/health").await?;
    for check in ["database", "pool"] {
        assert_eq!(health["checks"][check]["status"], "healthy", "{health}");
    }
    assert_eq!(gauge(&service, "orm_connections_active").await?, 0.0);
    assert!(gauge(&service, "orm_connections_idle").await? >= 1.0);

    let migrations = service.command(&["migrate", "status"]).await?.success("migrate status")?;
    assert!(migrations.stdout.contains("0001 books"), "{}", migrations.stdout);
    assert!(service.stop().await?.success());
    Ok(())
}

/// Only looks: connects nowhere.
async fn look(example: &str) -> Tested {
    let nowhere = Service::builder().binary(cargo_binary(example, example)?);
    let service = nowhere.env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing").prepare()?;
    let routes = service.command(&["routes"]).await?.success("routes")?;
    assert!(routes.stdout.contains("/books"), "{}", routes.stdout);
    Ok(())
}

/// Covet itself would take this URL.
async fn refuses_sqlite(example: &str) -> Tested {
    let service = Service::builder().binary(cargo_binary(example, example)?).spawn()?;
    let status = service.process()?.wait_exit(DEADLINE).await?;
    let told = service.process()?.lines().join("\n");
    assert!(!status.success() && told.contains("cannot use DATABASE_URL=sqlite://"), "{status}: {told}");
    Ok(())
}

/// The server goes away and comes back.
async fn loses_its_database(example: &str) -> Tested {
    let mut postgres = Postgres::start().await?;
    let service = start(example, &postgres.url()).await?;
    assert_eq!(ask(&service, "/books").await?, json!([]));

    postgres.stop().await?;
    wait_until("the instance to be taken out", DEADLINE, async || {
        let ready =
            service.client().get(service.url("/health/ready")).send().await.map_err(|error| error.to_string())?;
        let (status, text) = (ready.status(), ready.text().await.map_err(|error| error.to_string())?);
        if status == 503 && text.contains("pool") { Ok(()) } else { Err(format!("{status}: {text}")) }
    })
    .await?;
    let refused = service.client().get(service.url("/books")).send().await?;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");

    postgres.start_again().await?;
    service.wait_ready().await?;
    assert_eq!(ask(&service, "/books").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn sqlx_answers_and_is_watched() -> Tested {
    serves("books-sqlx").await
}

#[tokio::test]
async fn sea_orm_answers_and_is_watched() -> Tested {
    serves("books-sea-orm").await
}

#[tokio::test]
async fn readiness_follows_the_database_with_sqlx() -> Tested {
    loses_its_database("books-sqlx").await
}

#[tokio::test]
async fn readiness_follows_the_database_with_sea_orm() -> Tested {
    loses_its_database("books-sea-orm").await
}

#[tokio::test]
async fn commands_that_only_look_connect_nowhere() -> Tested {
    look("books-sqlx").await?;
    look("books-sea-orm").await
}

#[tokio::test]
async fn a_database_that_the_library_cannot_use_is_told_at_start() -> Tested {
    refuses_sqlite("books-sqlx").await?;
    refuses_sqlite("books-sea-orm").await
}
