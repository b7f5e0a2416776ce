//! Background work that takes as long as it is told to.

use std::time::Duration;

use covet::Context;
use covet::settings::Settings;

/// What the service does beside answering.
#[derive(Debug, Clone, Settings)]
#[settings(section = "drill")]
pub struct DrillSettings {
    /// How long its periodic task works.
    #[setting(default = "0s")]
    pub task: Duration,
}

/// The periodic task.
///
/// # Errors
///
/// None.
pub async fn work(context: Context) -> covet::Result<()> {
    tokio::time::sleep(context.settings::<DrillSettings>().task).await;
    Ok(())
}
