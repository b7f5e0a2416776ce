//! A registered user of `covet-api`.

use anyhow::{Context, Result, ensure};
use covet_testkit::Service;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

/// A user with an access token.
#[derive(Debug, Clone)]
pub struct Account {
    client: Client,
    base: String,
    /// What the user logs in with.
    pub email: String,
    /// For `Authorization: Bearer …`.
    pub access_token: String,
    /// For `POST /api/auth/refresh`.
    pub refresh_token: String,
}

/// The password of every account of the tests.
pub const PASSWORD: &str = "violet kettle under the canyon";

impl Account {
    /// Registers a user and logs in.
    ///
    /// # Errors
    ///
    /// What the service answered instead of 201 and 200.
    pub async fn register(service: &Service, name: &str) -> Result<Self> {
        Self::register_at(service.client().clone(), service.url(""), name).await
    }

    /// The same at a base address, for example NGINX's.
    ///
    /// # Errors
    ///
    /// As [`Account::register`].
    pub async fn register_at(client: Client, base: String, name: &str) -> Result<Self> {
        let email = format!("{name}@covet.example");
        let body = json!({"email": email, "password": PASSWORD, "name": name});
        let response = client.post(format!("{base}/api/auth/register")).json(&body).send().await?;
        ensure!(response.status() == 201, "register: {} {}", response.status(), response.text().await?);
        let mut account = Self { client, base, email, access_token: String::new(), refresh_token: String::new() };
        account.log_in().await?;
        Ok(account)
    }

    /// Takes new tokens.
    ///
    /// # Errors
    ///
    /// What the service answered instead of 200.
    pub async fn log_in(&mut self) -> Result<()> {
        let body = json!({"email": self.email, "password": PASSWORD});
        let response = self.client.post(format!("{}/api/auth/login", self.base)).json(&body).send().await?;
        ensure!(response.status() == 200, "log in: {} {}", response.status(), response.text().await?);
        let tokens: Value = response.json().await?;
        self.access_token = tokens["access_token"].as_str().context("access_token")?.to_owned();
        self.refresh_token = tokens["refresh_token"].as_str().context("refresh_token")?.to_owned();
        Ok(())
    }

    /// A GET request with the token.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.access_token)
    }

    /// A POST request with the token.
    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.access_token).json(body)
    }

    /// Writes a note.
    ///
    /// # Errors
    ///
    /// What the service answered instead of 201.
    pub async fn write_note(&self, title: &str) -> Result<Value> {
        let response = self.post("/api/notes", &json!({"title": title, "body": "text"})).send().await?;
        ensure!(response.status() == 201, "write a note: {} {}", response.status(), response.text().await?);
        Ok(response.json().await?)
    }

    /// The titles of the notes on the first page.
    ///
    /// # Errors
    ///
    /// What the service answered instead of 200.
    pub async fn note_titles(&self) -> Result<Vec<String>> {
        let response = self.get("/api/notes").send().await?;
        ensure!(response.status() == 200, "list notes: {} {}", response.status(), response.text().await?);
        let page: Value = response.json().await?;
        let notes = page["items"].as_array().context("items")?;
        Ok(notes.iter().filter_map(|note| note["title"].as_str()).map(str::to_owned).collect())
    }
}
