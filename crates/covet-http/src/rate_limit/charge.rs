//! Which limits a request has to pass.

use super::client::By;
use super::declared::{RouteRules, Rule};

/// One limit that a request has to pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge<'a> {
    pub(super) rule: &'a Rule,
    /// The client's cell.
    pub(super) cell: u64,
    pub(super) cost: u32,
}

/// The limits of all requests, as the settings give them.
#[derive(Debug)]
pub(super) struct OfAll {
    pub(super) address: Rule,
    pub(super) user: Option<Rule>,
    pub(super) api_key: Option<Rule>,
}

impl OfAll {
    /// What a request of this client has to pass: the limits of all, unless its route says otherwise, and those of the route.
    /// `number` is the client's.
    #[inline]
    pub(super) fn charges(
        &self,
        by: By,
        route: Option<&'static RouteRules>,
        number: u64,
    ) -> impl Iterator<Item = Charge<'_>> + Clone + Send {
        let (of_all, own) = match by {
            By::Address => (Some(&self.address), route.map_or(&[][..], |route| &route.address)),
            By::User => (self.user.as_ref(), route.map_or(&[][..], |route| &route.callers)),
            By::ApiKey => (self.api_key.as_ref(), route.map_or(&[][..], |route| &route.callers)),
        };
        let of_all = of_all.zip(route.map_or(Some(1), |route| route.cost));
        let own = own.iter().filter(move |rule| rule.by == by).map(|rule| (rule, 1));
        // The salt keeps a client's cells apart; the number is as random as before.
        of_all.into_iter().chain(own).map(move |(rule, cost)| Charge { rule, cell: number ^ rule.salt, cost })
    }

    /// Whether a request may still be refused when its caller becomes known.
    #[inline]
    pub(super) fn ask_for_callers(&self, route: Option<&'static RouteRules>) -> bool {
        self.user.is_some() || self.api_key.is_some() || route.is_some_and(|route| !route.callers.is_empty())
    }
}
