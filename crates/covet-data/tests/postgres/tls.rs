//! TLS: what each `sslmode` believes.

use covet_core::clock::Clock;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, Error, params};
use covet_testkit::{Certificate, Postgres};

async fn connect(url: &str) -> Result<Db, Error> {
    Db::connect(&DatabaseSettings::at(url), Clock::system()).await
}

#[tokio::test]
async fn each_mode_trusts_whom_it_should() {
    let certificate = Certificate::self_signed("the database").await.unwrap();
    let stranger = Certificate::self_signed("a stranger").await.unwrap();
    let server = Postgres::builder().tls(&certificate).start().await.unwrap();
    let url = |host: &str, query: String| format!("{}?{query}", server.url().replace("127.0.0.1", host));
    let authority = |certificate: &Certificate| format!("sslrootcert={}", certificate.certificate_path().display());
    let (own, other) = (authority(&certificate), authority(&stranger));

    for good in [
        url("127.0.0.1", "sslmode=prefer".into()),
        url("127.0.0.1", "sslmode=require".into()),
        url("127.0.0.1", format!("sslmode=verify-ca&{own}")),
        url("127.0.0.1", format!("sslmode=verify-full&{own}")),
        url("localhost", format!("sslmode=verify-full&{own}")),
        url("127.0.0.1", own.clone()),
        // The certificate is not for this name, which only verify-full minds.
        url("127.0.0.2", format!("sslmode=verify-ca&{own}&hostaddr=127.0.0.1")),
    ] {
        let db = connect(&good).await.unwrap_or_else(|error| panic!("{good}: {error}"));
        let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert!(db.read().one::<bool>(encrypted, params![]).await.unwrap(), "{good}");
        // A cancellation goes the same way.
        let reader = db.read();
        let slow = reader.one::<()>("SELECT pg_sleep(60)", params![]);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), slow).await.is_err());
        super::support::eventually("it is cancelled", async || {
            server.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()")
                .await.unwrap() == "0"
        })
        .await;
        db.close().await;
    }
    for (bad, told) in [
        (url("127.0.0.1", "sslmode=disable".into()), "no pg_hba.conf entry"),
        (url("127.0.0.1", format!("sslmode=verify-ca&{other}")), "UnknownIssuer"),
        (url("127.0.0.1", format!("sslmode=verify-full&{other}")), "UnknownIssuer"),
        (url("127.0.0.2", format!("sslmode=verify-full&{own}&hostaddr=127.0.0.1")), "not valid for name"),
        (url("127.0.0.1", "sslmode=verify-full".into()), "certificate"),
        (url("127.0.0.1", "sslmode=verify-full&sslrootcert=/nowhere.pem".into()), "/nowhere.pem"),
    ] {
        match connect(&bad).await {
            Err(Error::Connection(why)) => {
                assert!(why.contains(told) && !why.contains("only-for-tests"), "{bad}: {why}");
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
}
