//! Orders: items at a price, paid once. The server computes every sum; money is whole minor units.
//!
//! Creating and paying honour `Idempotency-Key` (see [`crate::idempotency`]). Paying is safe to repeat without one
//! as well: an order is paid once, and a second payment answers with the paid order.

mod currency;
mod handlers;
mod money;
mod order;
mod personal;
mod store;

use covet::{Router, routes};

pub use self::currency::{Currency, UnknownCurrency};
pub use self::money::{Amount, AmountOutOfRange, MAX_AMOUNT_MINOR};
pub use self::order::{NewItem, NewOrder, Order, OrderItem, OrderStatus};
pub(crate) use self::personal::PersonalOrders;
pub use self::store::Orders;
use crate::access::{ORDERS_READ, ORDERS_WRITE};
use crate::state::Api;

/// `/api/orders`.
pub fn routes() -> Router<Api> {
    Router::new()
        .routes(routes![handlers::list, handlers::read])
        .access(ORDERS_READ)
        .routes(routes![handlers::create, handlers::pay])
        .access(ORDERS_WRITE)
}
