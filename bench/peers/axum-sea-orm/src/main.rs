//! Peer: axum and SeaORM, as SeaORM's own pages show it.
//!
//! A pool of as many connections as Covet may open, and no line in the log for each statement, which SeaORM writes by default;
//! everything else as it is. A partial model leaves out the column that is not asked for, as the other peers do. Twenty
//! statements share a transaction: it keeps one connection, which costs two statements and spares twenty questions whether a
//! connection is alive.

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::Arguments;
use contract::database::{self, Kept, Updated, last_of_hundred, nothing_kept, twenty, url};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, ConnectOptions, Database, DatabaseConnection, DbErr, DerivePartialModel, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, TransactionTrait as _,
};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::users::{Column, Entity as Users};

/// `COVET_DATABASE__POOL_MAX` is the same by default.
const CONNECTIONS: u32 = 20;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Answer<T> = Result<Json<T>, StatusCode>;

mod users {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub(crate) id: i64,
        pub(crate) name: String,
        pub(crate) visits: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[derive(Serialize, DerivePartialModel)]
#[sea_orm(entity = "Users")]
struct User {
    id: i64,
    name: String,
}

#[derive(Clone)]
struct Peer {
    database: DatabaseConnection,
    kept: Kept<User>,
}

impl FromRef<Peer> for DatabaseConnection {
    fn from_ref(peer: &Peer) -> Self {
        peer.database.clone()
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.workers).enable_all().build()?;
    runtime.block_on(async {
        let mut options = ConnectOptions::new(url()?);
        options.max_connections(CONNECTIONS).sqlx_logging(false);
        let database = Database::connect(options).await.context("connecting to PostgreSQL")?;
        let router = Router::new()
            .route("/users/{id}", get(one))
            .route("/twenty/{first}", get(many))
            .route("/hundred/{first}", get(hundred))
            .route("/cached/{id}", get(cached))
            .route("/plain/{id}", get(plain))
            .route("/visits/{id}", post(visit))
            .with_state(Peer { database, kept: nothing_kept() });
        let listener = TcpListener::bind(arguments.address()).await?;
        Ok(axum::serve(listener, router).await?)
    })
}

async fn one(State(database): State<DatabaseConnection>, Path(id): Path<i64>) -> Answer<User> {
    let found = Users::find_by_id(id).into_partial_model::<User>().one(&database).await;
    answer(found)?.0.map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn cached(State(peer): State<Peer>, Path(id): Path<i64>) -> Answer<Arc<User>> {
    let read = async {
        let found = Users::find_by_id(id).into_partial_model::<User>().one(&peer.database).await?;
        found.map(Arc::new).ok_or(DbErr::RecordNotFound(String::new()))
    };
    answer(peer.kept.try_get_with(id, read).await)
}

async fn plain(Path(id): Path<i64>) -> Json<database::User> {
    Json(database::User::numbered(id))
}

async fn many(State(database): State<DatabaseConnection>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    answer(many_of(&database, first).await)
}

async fn many_of(database: &DatabaseConnection, first: i64) -> Result<Vec<User>, DbErr> {
    let transaction = database.begin().await?;
    let mut users = Vec::new();
    for id in twenty(first) {
        users.extend(Users::find_by_id(id).into_partial_model::<User>().one(&transaction).await?);
    }
    transaction.commit().await?;
    Ok(users)
}

async fn hundred(State(database): State<DatabaseConnection>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    let wanted = Users::find().filter(Column::Id.between(first, last_of_hundred(first))).order_by_asc(Column::Id);
    answer(wanted.into_partial_model::<User>().all(&database).await)
}

async fn visit(State(database): State<DatabaseConnection>, Path(id): Path<i64>) -> Answer<Updated> {
    let update = Users::update_many().col_expr(Column::Visits, Expr::col(Column::Visits).add(1));
    let done = update.filter(Column::Id.eq(id)).exec(&database).await;
    answer(done.map(|done| Updated { updated: done.rows_affected }))
}

fn answer<T, E>(outcome: Result<T, E>) -> Answer<T> {
    outcome.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
