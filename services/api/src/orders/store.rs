//! The tables `orders` and `order_items`. Every statement names the owner.

use covet::data::{Db, Error, Transaction, params};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::currency::Currency;
use super::order::{CheckedOrder, Order, OrderItem, OrderStatus};
use crate::web::page::PageQuery;

/// Reads orders. Writing goes through a transaction, which also keeps the answer for a repeated request.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'a>(pub &'a Db);

/// An order with one of its items; an order with several comes in as many rows.
#[derive(Debug, Deserialize)]
struct Row {
    id: Uuid,
    status: OrderStatus,
    currency: Currency,
    total_minor: i64,
    created_at: Timestamp,
    paid_at: Option<Timestamp>,
    description: String,
    quantity: u32,
    unit_price_minor: i64,
}

const FIND: &str = "SELECT o.id, o.status, o.currency, o.total_minor, o.created_at, o.paid_at,
                           i.description, i.quantity, i.unit_price_minor
                    FROM orders o JOIN order_items i ON i.order_id = o.id
                    WHERE o.id = $1 AND o.owner_id = $2
                    ORDER BY i.position";

impl Orders<'_> {
    /// One of the owner's orders.
    ///
    /// # Errors
    /// Of the database.
    pub async fn find(self, id: Uuid, owner: Uuid) -> Result<Option<Order>, Error> {
        Ok(fold(self.0.read().all::<Row>(FIND, params![id, owner]).await?).pop())
    }

    /// A page of the owner's orders, newest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn list(self, owner: Uuid, status: Option<OrderStatus>, page: &PageQuery) -> Result<Vec<Order>, Error> {
        let mut values = params![owner, page.before(), page.rows()];
        let condition = match status {
            Some(status) => format!("AND status = ${}", values.push(status.as_str())),
            None => String::new(),
        };
        // The page is cut before the items are joined, so that an order counts as one however many it has.
        let sql = format!(
            "SELECT o.id, o.status, o.currency, o.total_minor, o.created_at, o.paid_at,
                    i.description, i.quantity, i.unit_price_minor
             FROM (SELECT id, status, currency, total_minor, created_at, paid_at FROM orders
                   WHERE owner_id = $1 AND id < $2 {condition}
                   ORDER BY id DESC LIMIT $3) o
             JOIN order_items i ON i.order_id = o.id
             ORDER BY o.id DESC, i.position"
        );
        Ok(fold(self.0.read().all::<Row>(&sql, values).await?))
    }
}

/// Stores a new order.
///
/// # Errors
/// Of the database; a foreign key's when the owner is gone.
pub(super) async fn insert(
    transaction: &Transaction,
    id: Uuid,
    owner: Uuid,
    new: CheckedOrder,
    now: Timestamp,
) -> Result<Order, Error> {
    let CheckedOrder { currency, total, items } = new;
    let sql = "INSERT INTO orders (id, owner_id, status, currency, total_minor, created_at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let status = OrderStatus::Pending;
    let values = params![id, owner, status.as_str(), currency.code(), total.minor(), now];
    transaction.execute(sql, values).await?;

    let mut values = params![id];
    let mut rows = Vec::with_capacity(items.len());
    for (position, item) in (0_i64..).zip(&items) {
        rows.push(format!(
            "($1, ${}, ${}, ${}, ${})",
            values.push(&position),
            values.push(&item.description),
            values.push(&item.quantity),
            values.push(&item.unit_price_minor),
        ));
    }
    let columns = "order_id, position, description, quantity, unit_price_minor";
    let sql = format!("INSERT INTO order_items ({columns}) VALUES {}", rows.join(", "));
    transaction.execute(&sql, values).await?;
    Ok(Order { id, status, currency, total_minor: total.minor(), items, created_at: now, paid_at: None })
}

/// One of the owner's orders, as it is for the transaction.
///
/// # Errors
/// Of the database.
pub(super) async fn find(transaction: &Transaction, id: Uuid, owner: Uuid) -> Result<Option<Order>, Error> {
    Ok(fold(transaction.all::<Row>(FIND, params![id, owner]).await?).pop())
}

/// Marks a pending order paid; false when it is not pending any more.
///
/// # Errors
/// Of the database.
pub(super) async fn mark_paid(transaction: &Transaction, id: Uuid, now: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE orders SET status = $2, paid_at = $3 WHERE id = $1 AND status = $4";
    let values = params![id, OrderStatus::Paid.as_str(), now, OrderStatus::Pending.as_str()];
    Ok(transaction.execute(sql, values).await? == 1)
}

/// Puts the rows of each order together; they follow one another.
fn fold(rows: Vec<Row>) -> Vec<Order> {
    let mut orders: Vec<Order> = Vec::new();
    for row in rows {
        let item = OrderItem {
            description: row.description,
            quantity: row.quantity,
            unit_price_minor: row.unit_price_minor,
            // Checked when the order was made.
            line_total_minor: row.unit_price_minor.saturating_mul(i64::from(row.quantity)),
        };
        match orders.last_mut() {
            Some(last) if last.id == row.id => last.items.push(item),
            _ => orders.push(Order {
                id: row.id,
                status: row.status,
                currency: row.currency,
                total_minor: row.total_minor,
                items: vec![item],
                created_at: row.created_at,
                paid_at: row.paid_at,
            }),
        }
    }
    orders
}
