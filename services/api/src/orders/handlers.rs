//! `/api/orders`.

use covet::axum::extract::State;
use covet::axum::response::Response;
use covet::identity::audit::Entry;
use covet::identity::caller::Caller;
use covet::ids::new_id;
use covet::{Error, Json, Path, Query, Result};
use http::StatusCode;
use uuid::Uuid;

use super::order::{NewOrder, Order, OrderQuery, OrderStatus, Payment};
use super::store::{self, Orders};
use crate::auth::or_user_is_gone;
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::metrics::Feature;
use crate::state::Api;
use crate::web::page::{Page, PageQuery};
use crate::web::problems;

/// Lists your orders, newest first.
#[utoipa::path(
    get, path = "/api/orders", operation_id = "list_orders", tag = "orders",
    params(OrderQuery, PageQuery),
    responses(
        (status = 200, description = "A page of your orders.", body = Page<Order>),
        problems::BadRequest, problems::Unauthorized,
        problems::Other,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(page): Query<PageQuery>,
    Query(filter): Query<OrderQuery>,
) -> Result<Json<Page<Order>>> {
    let orders = Orders(&api.db).list(caller.user_id, filter.status, &page).await?;
    Ok(Json(page.page(orders, |order| order.id)))
}

/// Orders something. The server computes the sums.
#[utoipa::path(
    post, path = "/api/orders", operation_id = "create_order", tag = "orders",
    request_body = NewOrder,
    params(("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
            description = "Makes it safe to repeat the request.")),
    responses(
        (status = 201, description = "Ordered; or ordered by the first request with this key.", body = Order, headers(
            ("location" = String, description = "The order."),
            ("idempotency-replayed" = bool, description = "`true` when this is the answer to an earlier request."),
        )),
        problems::BadRequest, problems::Unauthorized, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable,
        problems::Other,
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    key: Option<IdempotencyKey>,
    Json(body): Json<NewOrder>,
) -> Result<Response> {
    let new = body.check()?;
    let transaction = api.db.begin().await?;
    let once = Once { user: caller.user_id, key, path: "/api/orders", now: api.now() };
    if let Some(before) = once.claim::<_, Order>(&transaction, &body).await? {
        let location = location(&before.body);
        return Ok(before.into_response(Some(location)));
    }
    let order = store::insert(&transaction, new_id(&api.clock), caller.user_id, new, once.now).await;
    let order = order.map_err(or_user_is_gone)?;
    let location = location(&order);
    let answer = Answer::new(StatusCode::CREATED, order);
    once.keep(&transaction, &answer).await?;
    api.feed.publish_after(&transaction, caller.user_id, "order.created", answer.body.clone());
    api.used(&transaction, Feature::Order);
    let entry = Entry::new("order_created", "ordered").target("order", answer.body.id);
    let entry = entry.after("status", answer.body.status.as_str()).after("total_minor", answer.body.total_minor);
    api.trail.commit(transaction, entry.after("currency", answer.body.currency.code())).await?;
    Ok(answer.into_response(Some(location)))
}

/// Shows one of your orders.
#[utoipa::path(
    get, path = "/api/orders/{id}", operation_id = "read_order", tag = "orders",
    params(("id" = Uuid, Path, description = "The order.")),
    responses(
        (status = 200, description = "The order.", body = Order),
        problems::Unauthorized, problems::NotFound,
        problems::Other,
    )
)]
pub(super) async fn read(State(api): State<Api>, caller: Caller, Path(id): Path<Uuid>) -> Result<Json<Order>> {
    let order = Orders(&api.db).find(id, caller.user_id).await?;
    order.map(Json).ok_or_else(no_such_order)
}

/// Pays an order. Paying a paid order changes nothing and shows it.
#[utoipa::path(
    post, path = "/api/orders/{id}/pay", operation_id = "pay_order", tag = "orders",
    request_body = Payment,
    params(
        ("id" = Uuid, Path, description = "The order."),
        ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
            description = "Makes it safe to repeat the request."),
    ),
    responses(
        (status = 200, description = "Paid.", body = Order, headers(
            ("idempotency-replayed" = bool, description = "`true` when this is the answer to an earlier request."),
        )),
        problems::BadRequest, problems::Unauthorized, problems::NotFound, problems::Conflict,
        problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable,
        problems::Other,
    )
)]
pub(super) async fn pay(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<Uuid>,
    key: Option<IdempotencyKey>,
    Json(payment): Json<Payment>,
) -> Result<Response> {
    let transaction = api.db.begin().await?;
    let path = format!("/api/orders/{id}/pay");
    let once = Once { user: caller.user_id, key, path: &path, now: api.now() };
    if let Some(before) = once.claim::<_, Order>(&transaction, &payment).await? {
        return Ok(before.into_response(None));
    }
    let order = store::find(&transaction, id, caller.user_id).await?.ok_or_else(no_such_order)?;
    if (payment.amount_minor, payment.currency) != (order.total_minor, order.currency) {
        return Err(Error::conflict(format!(
            "The order comes to {} minor units of {}. Nothing was paid.",
            order.total_minor, order.currency
        )));
    }
    let paid_now = order.status == OrderStatus::Pending && store::mark_paid(&transaction, id, once.now).await?;
    let order = store::find(&transaction, id, caller.user_id).await?.ok_or_else(no_such_order)?;
    let answer = Answer::new(StatusCode::OK, order);
    once.keep(&transaction, &answer).await?;
    if paid_now {
        api.feed.publish_after(&transaction, caller.user_id, "order.paid", answer.body.clone());
        api.used(&transaction, Feature::Pay);
        let revenue = api.business.business_revenue_minor_units_total(answer.body.currency.code()).clone();
        let amount = answer.body.total_minor.unsigned_abs();
        transaction.after_commit(move || revenue.increment(amount));
        let entry = Entry::new("order_paid", "order paid").target("order", id);
        let entry = entry.before("status", OrderStatus::Pending.as_str()).after("status", OrderStatus::Paid.as_str());
        api.trail.commit(transaction, entry).await?;
    } else {
        transaction.commit().await?;
    }
    Ok(answer.into_response(None))
}

fn location(order: &Order) -> String {
    format!("/api/orders/{}", order.id)
}

fn no_such_order() -> Error {
    Error::not_found().detail("There is no such order of yours.")
}
