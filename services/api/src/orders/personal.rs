//! What is kept of a user here: their orders. They are accounts, which the law says to keep, so they stay and only whose they
//! were goes.

use covet::data::{Transaction, params};
use uuid::Uuid;

use super::store::Orders;
use crate::privacy::{Document, PersonalData, Work};
use crate::state::Api;
use crate::web::page::PageQuery;

/// The member `orders`.
pub(crate) struct PersonalOrders;

impl PersonalData for PersonalOrders {
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str] {
        &["orders", "order_items"]
    }

    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a> {
        Box::pin(async move {
            document.begin_list("orders")?;
            let mut query = PageQuery { limit: 100, cursor: None };
            loop {
                let orders = Orders(&api.db).list(user, None, &query).await?;
                query.cursor = document.page(query.page(orders, |order| order.id)).await?;
                if query.cursor.is_none() {
                    break;
                }
            }
            document.end_list();
            Ok(())
        })
    }

    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            transaction.execute("UPDATE orders SET owner_id = NULL WHERE owner_id = $1", params![user]).await?;
            Ok(())
        })
    }
}
