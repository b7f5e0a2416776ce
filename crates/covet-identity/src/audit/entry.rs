//! What is recorded of something that has happened: [`Entry`].

use covet_telemetry::request;
use jiff::Timestamp;
use serde_json::{Map, json};
use uuid::Uuid;

use super::pseudonym::Forgotten;

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Nobody who is known.
    Anonymous,
    /// A user.
    User(Uuid),
    /// The service itself.
    Service,
}

impl Actor {
    /// The user of the request at hand, or nobody; outside a request the service.
    pub(super) fn here() -> Self {
        let user = request::current(|scope| scope.user().and_then(|user| user.parse().ok()));
        user.map_or(Self::Service, |user| user.map_or(Self::Anonymous, Self::User))
    }
}

/// What an entry may say of a change: numbers, truth values, ids, times, and words that stand in the program. Text that
/// somebody has typed is none of these: an entry outlives its user.
#[derive(Debug, Clone, PartialEq)]
pub struct Value(serde_json::Value);

impl Value {
    /// The hash of an entry.
    pub(super) fn hash(hash: &str) -> Self {
        Self(hash.into())
    }
}

macro_rules! value {
    ($($type:ty, $value:ident => $json:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                Self($json)
            }
        }
    )*};
}

value! {
    bool, value => value.into();
    i64, value => value.into();
    u64, value => value.into();
    u32, value => value.into();
    usize, value => value.into();
    &'static str, value => value.into();
    Uuid, value => value.to_string().into();
    Timestamp, value => value.to_string().into();
}

/// Something that has happened, to be recorded by [`Trail::commit`](super::Trail::commit). A success unless
/// [`failure`](Self::failure) says otherwise.
///
/// ```
/// use covet_identity::audit::Entry;
/// use uuid::Uuid;
///
/// let order = Uuid::from_u128(7);
/// Entry::new("order_paid", "order paid").target("order", order).before("status", "pending").after("status", "paid");
/// ```
///
/// Text of the program only; what a user has typed is not even accepted:
///
/// ```compile_fail
/// # use covet_identity::audit::Entry;
/// fn renamed(name: &str) -> Entry {
///     Entry::new("user_updated", "name changed").after("name", name)
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is recorded before `Trail::commit`"]
pub struct Entry {
    pub(super) event: &'static str,
    pub(super) message: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) actor: Option<Actor>,
    pub(super) target: Option<Target>,
    pub(super) changes: Map<String, serde_json::Value>,
    pub(super) forgotten: Option<Forgotten>,
}

/// What something was done to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    User(Option<Uuid>),
    Thing(&'static str, Uuid),
}

impl Entry {
    /// An entry: a word for the event, of [`vocabulary`](covet_telemetry::logging::vocabulary) or your own, and the same for people.
    pub fn new(event: &'static str, message: &'static str) -> Self {
        Self { event, message, reason: None, actor: None, target: None, changes: Map::new(), forgotten: None }
    }

    /// It failed or was refused, for this reason.
    pub fn failure(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Who did it. Without this: the user of the request at hand, anonymous when there is none; outside a request the service.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// The thing that it was done to: its kind, and which one. Not for users.
    pub fn target(mut self, kind: &'static str, id: Uuid) -> Self {
        self.target = Some(Target::Thing(kind, id));
        self
    }

    /// The user that it was done to.
    pub fn user(self, id: Uuid) -> Self {
        self.user_if_known(Some(id))
    }

    /// The user that it was done to, if there is one. Takes the database as long when there is none, so that how long it takes
    /// does not tell who is registered.
    pub fn user_if_known(mut self, id: Option<Uuid>) -> Self {
        self.target = Some(Target::User(id));
        self
    }

    /// What a field was.
    pub fn before(self, field: &'static str, value: impl Into<Value>) -> Self {
        self.change(field, "from", value.into())
    }

    /// What a field is now.
    pub fn after(self, field: &'static str, value: impl Into<Value>) -> Self {
        self.change(field, "to", value.into())
    }

    /// That a field was changed; not what it was nor what it is. For passwords, addresses, names.
    pub fn concealed(mut self, field: &'static str) -> Self {
        self.changes.insert(field.to_owned(), json!({ "concealed": true }));
        self
    }

    /// It is the end of this user: who did it and whom it was done to.
    pub fn forgotten(mut self, user: Forgotten) -> Self {
        self.forgotten = Some(user);
        self
    }

    fn change(mut self, field: &'static str, side: &'static str, value: Value) -> Self {
        let sides = self.changes.entry(field).or_insert_with(|| json!({}));
        sides[side] = value.0;
        self
    }

    /// The changes as they are stored.
    pub(super) fn changes_text(&self) -> Option<String> {
        (!self.changes.is_empty()).then(|| serde_json::Value::Object(self.changes.clone()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concealed_field_tells_only_that_it_was_changed() {
        let entry = Entry::new("e", "m").before("status", "pending").after("status", "paid").concealed("email");
        let changes = entry.changes_text().unwrap();
        assert_eq!(changes, r#"{"email":{"concealed":true},"status":{"from":"pending","to":"paid"}}"#);
        assert_eq!(Entry::new("e", "m").changes_text(), None);
    }

    #[test]
    fn outside_a_request_it_was_the_service() {
        assert_eq!(Actor::here(), Actor::Service);
    }
}
