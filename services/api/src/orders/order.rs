//! An order, and what a caller may say about one.

use covet::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::currency::Currency;
use super::money::Amount;
use crate::web::fields::{self, Fields};

/// Most items of one order.
const MAX_ITEMS: usize = 100;
/// Largest quantity of one item.
const MAX_QUANTITY: u32 = 10_000;
/// Longest description, in characters.
const MAX_DESCRIPTION_LENGTH: usize = 200;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// Where it stands.
    pub status: OrderStatus,
    /// ISO 4217 code of all its amounts.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// The sum, in minor units.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 2598)]
    pub total_minor: i64,
    /// What is ordered.
    pub items: Vec<OrderItem>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was paid; null until then.
    #[schema(required)]
    pub paid_at: Option<Timestamp>,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Waits for its payment.
    Pending,
    /// Paid, for good.
    Paid,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderItem {
    /// What it is.
    #[schema(example = "Notebook")]
    pub description: String,
    /// How many.
    #[schema(minimum = 1, maximum = 10_000, example = 2)]
    pub quantity: u32,
    /// Price of one, in minor units.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1299)]
    pub unit_price_minor: i64,
    /// Price of all, in minor units.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 2598)]
    pub line_total_minor: i64,
}

/// A new order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// ISO 4217 code, in capitals.
    #[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
    pub currency: String,
    /// 1 to 100 items.
    #[schema(min_items = 1, max_items = 100)]
    pub items: Vec<NewItem>,
}

/// One line of a new order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItem {
    /// What it is.
    #[schema(min_length = 1, max_length = 200, example = "Notebook")]
    pub description: String,
    /// How many.
    #[schema(minimum = 1, maximum = 10_000, example = 2)]
    pub quantity: i64,
    /// Price of one, in minor units.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1299)]
    pub unit_price_minor: i64,
}

/// A payment: what the payer believes to owe. It must be what the order says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Payment {
    /// The sum, in minor units.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 2598)]
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$", example = "EUR")]
    pub currency: Currency,
}

/// Which orders to list.
#[derive(Debug, Default, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OrderQuery {
    /// Only those that stand so.
    #[param(nullable = false)]
    pub status: Option<OrderStatus>,
}

/// A new order, checked and summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckedOrder {
    pub(super) currency: Currency,
    pub(super) total: Amount,
    pub(super) items: Vec<OrderItem>,
}

impl OrderStatus {
    /// The name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
        }
    }
}

impl NewOrder {
    /// Checks every field and computes the sums.
    pub(super) fn check(&self) -> Result<CheckedOrder> {
        let mut fields = Fields::new();
        let currency = fields.take("currency", self.currency.parse::<Currency>());
        if self.items.is_empty() || self.items.len() > MAX_ITEMS {
            fields.refuse("items", format!("must be 1 to {MAX_ITEMS}"));
        }
        let items: Vec<OrderItem> = self
            .items
            .iter()
            .take(MAX_ITEMS)
            .enumerate()
            .filter_map(|(index, item)| item.check(&format!("items[{index}]"), &mut fields))
            .collect();
        let total = items.iter().try_fold(Amount::ZERO, |sum, item| Amount::new(item.line_total_minor)?.plus(sum));
        let total = fields.take("items", total.map_err(|error| format!("come to a sum that {error}")));
        fields.finish()?;
        match (currency, total) {
            (Some(currency), Some(total)) => Ok(CheckedOrder { currency, total, items }),
            _ => Err(covet::Error::invalid()),
        }
    }
}

impl NewItem {
    fn check(&self, path: &str, fields: &mut Fields) -> Option<OrderItem> {
        let description =
            fields.take(format!("{path}.description"), fields::text(&self.description, 1, MAX_DESCRIPTION_LENGTH));
        let quantity = u32::try_from(self.quantity).ok().filter(|quantity| (1..=MAX_QUANTITY).contains(quantity));
        if quantity.is_none() {
            fields.refuse(format!("{path}.quantity"), format!("must be from 1 to {MAX_QUANTITY}"));
        }
        let price = fields.take(format!("{path}.unit_price_minor"), Amount::new(self.unit_price_minor));
        let (description, quantity, price) = (description?, quantity?, price?);
        let line = price.times(quantity).map_err(|error| format!("times the quantity {error}"));
        let line = fields.take(format!("{path}.unit_price_minor"), line)?;
        Some(OrderItem { description, quantity, unit_price_minor: price.minor(), line_total_minor: line.minor() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::money::MAX_AMOUNT_MINOR;
    use super::*;

    fn check(order: Value) -> Result<CheckedOrder> {
        serde_json::from_value::<NewOrder>(order).unwrap().check()
    }

    fn refused(order: Value) -> Vec<String> {
        let error = check(order).unwrap_err();
        error.problem().errors.iter().map(|field| field.field.to_string()).collect()
    }

    fn item(quantity: i64, price: i64) -> Value {
        json!({"description": "Notebook", "quantity": quantity, "unit_price_minor": price})
    }

    #[test]
    fn the_sums_are_the_servers() {
        let order = check(json!({"currency": "EUR", "items": [item(2, 1299), item(3, 0), item(1, 5)]})).unwrap();
        assert_eq!(order.total.minor(), 2603);
        let lines: Vec<_> = order.items.iter().map(|item| item.line_total_minor).collect();
        assert_eq!(lines, [2598, 0, 5]);
    }

    #[test]
    fn every_bad_field_is_named_by_its_path() {
        let order = json!({"currency": "eur", "items": [
            item(1, 1),
            {"description": " ", "quantity": 0, "unit_price_minor": -1},
            item(10_001, 1),
        ]});
        let expected =
            ["currency", "items[1].description", "items[1].quantity", "items[1].unit_price_minor", "items[2].quantity"];
        assert_eq!(refused(order), expected);
        assert_eq!(refused(json!({"currency": "EUR", "items": []})), ["items"]);
        assert_eq!(refused(json!({"currency": "EUR", "items": vec![item(1, 1); 101]})), ["items"]);
    }

    #[test]
    fn a_sum_that_is_too_large_is_refused_not_wrapped() {
        let most = MAX_AMOUNT_MINOR;
        assert_eq!(refused(json!({"currency": "EUR", "items": [item(2, most)]})), ["items[0].unit_price_minor"]);
        assert_eq!(
            refused(json!({"currency": "EUR", "items": [item(10_000, i64::MAX)]})),
            ["items[0].unit_price_minor"]
        );
        assert_eq!(refused(json!({"currency": "EUR", "items": [item(1, most), item(1, 1)]})), ["items"]);
        assert!(check(json!({"currency": "EUR", "items": [item(1, most)]})).is_ok());
    }
}
