//! What the business wants to know: counted by the handlers when what they did is done.
//!
//! Beside these, `app_api_calls_per_user` and `app_auth_attempts_total` come from Covet. On the operator's port they are
//! at `/metrics` with all others, and alone at `/metrics/business`.

use covet::metrics::{Label, Text};

covet::metrics! {
    /// Business of the reference service.
    pub struct Business {
        /// Users registered.
        counter business_user_registrations_total();
        /// Logins that are open now.
        ///
        /// Those by token are counted in the database, those by cookie (`app_active_sessions`) in Redis, every ten seconds: every
        /// instance shows the number of all, so take the largest, not the sum. It stands still while one of the two does not
        /// answer. A login counts from `POST /api/auth/login` or `POST /api/auth/sessions` until its user ends it, its tokens are
        /// used twice, its password is changed elsewhere, its user is deleted, or it expires.
        gauge(largest) business_active_sessions();
        /// Uses of a feature that did what was asked.
        counter business_feature_usage_total(feature: Feature);
        /// Money taken, in minor units of its currency: cents, yen, fils.
        ///
        /// Moved by the first payment of an order. Divide by the currency's minor units for a dashboard: 100 for EUR, 1 for JPY.
        counter business_revenue_minor_units_total(currency: Text<200>);
    }
}

/// What users do with the service.
#[derive(Debug, Clone, Copy, Label)]
pub enum Feature {
    /// Somebody logged in.
    LogIn,
    /// A note was written.
    WriteNote,
    /// A note was changed or deleted.
    ChangeNote,
    /// A list of notes was read with a filter.
    SearchNotes,
    /// Something was ordered.
    Order,
    /// An order was paid.
    Pay,
    /// Somebody listens to their live feed.
    Listen,
}
