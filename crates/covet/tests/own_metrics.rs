//! A service's own metrics, as its author writes them.

use covet::metrics::{Label, Registry, Text};
use tikv_jemalloc_ctl::thread;

covet::metrics! {
    /// Shop.
    ///
    /// What the shop counts.
    pub(crate) struct ShopMetrics {
        /// Orders
        /// paid.
        ///
        /// Moved by a payment.
        counter shop_orders_paid_total(plan: Plan, country: Text<2>);
        /// Oldest open cart, in seconds.
        gauge(largest) shop_oldest_cart_seconds();
        /// Items of an order.
        histogram shop_order_items(plan: Plan) [1.0, 5.0, 25.0];
        /// Time to pay, in seconds.
        histogram shop_payment_seconds();
    }
}

#[derive(Clone, Copy, Label)]
enum Plan {
    Free,
    SmallBusiness,
    #[label("enterprise+")]
    Enterprise,
}

#[track_caller]
fn assert_has(registry: &Registry, lines: &[&str]) {
    let text = registry.render();
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
    }
}

#[test]
fn doc_comments_are_help_and_labels_have_their_values() {
    let registry = Registry::new();
    let metrics = ShopMetrics::new(&registry);
    metrics.shop_orders_paid_total(Plan::SmallBusiness, "NL").increment(2);
    metrics.shop_orders_paid_total(Plan::Enterprise, "DE").increment(1);
    metrics.shop_oldest_cart_seconds().set(90.5);
    metrics.shop_order_items(Plan::Free).record(7);
    metrics.shop_payment_seconds().record(0.3);
    assert_has(
        &registry,
        &[
            "# HELP shop_orders_paid_total Orders paid.",
            "# TYPE shop_orders_paid_total counter",
            "shop_orders_paid_total{plan=\"small_business\",country=\"NL\"} 2.0",
            "shop_orders_paid_total{plan=\"enterprise+\",country=\"DE\"} 1.0",
            "shop_oldest_cart_seconds 90.5",
            "shop_order_items_bucket{plan=\"free\",le=\"5.0\"} 0.0",
            "shop_order_items_bucket{plan=\"free\",le=\"25.0\"} 1.0",
            "shop_order_items_count{plan=\"small_business\"} 0.0",
            // Those of request durations.
            "shop_payment_seconds_bucket{le=\"0.25\"} 0.0",
            "shop_payment_seconds_bucket{le=\"0.5\"} 1.0",
        ],
    );
    let group = registry.groups().last().copied().map(|group| (group.title(), group.introduction()));
    assert_eq!(group, Some(("Shop".to_owned(), "What the shop counts.".to_owned())));
}

#[test]
fn a_text_beyond_its_bound_is_other() {
    let registry = Registry::new();
    let metrics = ShopMetrics::new(&registry);
    for country in ["NL", "DE", "FR", "IT", "NL"] {
        metrics.shop_orders_paid_total(Plan::Free, country).increment(1);
    }
    assert_has(
        &registry,
        &[
            "shop_orders_paid_total{plan=\"free\",country=\"NL\"} 2.0",
            "shop_orders_paid_total{plan=\"free\",country=\"other\"} 2.0",
            "metrics_label_sets_dropped_total{metric=\"shop_orders_paid_total\"} 2.0",
        ],
    );
}

#[test]
fn counting_takes_no_memory() {
    let registry = Registry::new();
    let metrics = ShopMetrics::new(&registry);
    let count = || {
        metrics.shop_orders_paid_total(Plan::Free, "NL").increment(1);
        metrics.shop_order_items(Plan::Enterprise).record(3);
        metrics.shop_oldest_cart_seconds().set(1.0);
    };
    count();
    let allocated = thread::allocatedp::read().expect("jemalloc, which a service has for its allocator");
    let before = allocated.get();
    (0..1000).for_each(|_| count());
    assert_eq!(allocated.get() - before, 0);
    drop(std::hint::black_box(vec![1_u8; 100]));
    assert!(allocated.get() - before >= 100, "the allocator is not measured");
}
