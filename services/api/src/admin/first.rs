//! How a service gets its first admin: the operator names a user who has registered.
//!
//! By id, not by address: nobody has shown that an address is theirs, and whoever registered it first would be admin.

use covet::Context;
use covet::settings::{Settings, Value};
use jiff::Timestamp;
use uuid::Uuid;

use super::roles::UserRoles;
use crate::state::trail;

/// Admins.
#[derive(Debug, Clone, Settings)]
#[settings(section = "admin")]
pub struct AdminSettings {
    /// Id of the user who becomes admin while there is none: register, read the id from `GET /api/users/me`, set it here.
    /// It means nothing once there is an admin.
    pub first_admin: Option<UserId>,
}

/// The id of a user, as a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserId(pub Uuid);

impl Value for UserId {
    fn type_name() -> String {
        "id of a user".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        Uuid::try_parse(text).map(Self).map_err(|_| format!("expected the id of a user, got {text:?}"))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn example() -> Option<String> {
        Some("018f3f5e-0000-7000-8000-000000000000".to_owned())
    }
}

/// Makes the user admin whom the operator has named, if there is no admin: work for a periodic task.
///
/// # Errors
/// Of the database.
pub async fn appoint_first(context: Context) -> covet::Result<()> {
    let Some(UserId(user)) = context.settings::<AdminSettings>().first_admin else { return Ok(()) };
    let now: Timestamp = context.clock().now();
    if UserRoles(context.db()).appoint_first_admin(&trail(&context), user, now).await? {
        tracing::info!(%user, "the user named by COVET_ADMIN__FIRST_ADMIN is admin now");
    }
    Ok(())
}
