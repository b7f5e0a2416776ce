//! What the operator set: where each value comes from, whether it is right, and what is in effect.
//!
//! A section is a struct with [`macro@Settings`]; [`Loader`] reads sections from [`Sources`] and hands back either every
//! value or **every** problem at once. Nothing else in the code base reads the process environment.
//!
//! A value is looked for in this order; the first place that has it wins, and [`Provenance`] remembers which it was:
//!
//! 1. the environment: `COVET_<SECTION>__<KEY>`, or the fixed name the setting declares (`PORT`);
//! 2. the file named by `<VARIABLE>_FILE` (one line end at the end is cut off), as container secrets want it;
//! 3. `.env` in the working directory, in development only;
//! 4. `covet.toml` in the working directory, or the file named by `COVET_CONFIG`: `[section]` tables with `key = value`;
//! 5. the default in the declaration.
//!
//! An empty value says "none" to an optional setting (and beats a default), is "not set" for key material, and is read
//! like any other text elsewhere: an empty list, an empty string, a problem for a number.
//!
//! ```
//! use std::time::Duration;
//! use covet_core::environment::Environment;
//! use covet_core::secret::SecretString;
//! use covet_core::settings::{Invalid, Loader, SettingValue, Settings, Sources};
//!
//! /// How the shop takes orders.
//! #[derive(Debug, Settings)]
//! #[settings(section = "shop", validate = "check")]
//! struct ShopSettings {
//!     /// Longest time an order may wait for its payment.
//!     #[setting(default = "15m", min = "1m", max = "24h")]
//!     payment_timeout: Duration,
//!     /// Who is asked first.
//!     #[setting(default = "nearest")]
//!     carrier: Carrier,
//!     /// Key of the payment provider.
//!     #[setting(variable = "PAYMENT_KEY", key_material, example = "openssl rand -hex 32")]
//!     payment_key: SecretString,
//! }
//!
//! /// Ways to choose a carrier.
//! #[derive(Debug, Clone, Copy, PartialEq, SettingValue)]
//! enum Carrier {
//!     /// The one with the nearest depot.
//!     Nearest,
//!     /// The one with the lowest price.
//!     Cheapest,
//! }
//!
//! fn check(settings: &ShopSettings, environment: Environment) -> Vec<Invalid> {
//!     if environment.is_production() && settings.carrier == Carrier::Nearest {
//!         return vec![Invalid::new("carrier", "the nearest carrier is for trials").example("cheapest")];
//!     }
//!     Vec::new()
//! }
//!
//! let mut loader = Loader::new(Sources::of([("COVET_SHOP__PAYMENT_TIMEOUT", "30m")]));
//! loader.section::<ShopSettings>();
//! let loaded = loader.finish()?;
//! assert_eq!(loaded.get::<ShopSettings>().payment_timeout, Duration::from_secs(1800));
//! # Ok::<(), covet_core::settings::Problems>(())
//! ```
//!
//! | you want | look in |
//! |---|---|
//! | a new type of value | [`value`] |
//! | what a declaration can say | `section.rs`, and [`macro@Settings`] for the attributes |
//! | the places values come from | `sources.rs` |
//! | how one setting is looked up and checked | `reader.rs` |
//! | the rules for secrets | `placeholder.rs`, `generated.rs`, `masking.rs` |
//! | what `config` prints | `effective.rs` |
//! | the page `docs/reference/settings.md` | [`reference`](mod@reference) |

mod effective;
mod generated;
mod loader;
mod masking;
mod placeholder;
mod problems;
mod provenance;
mod reader;
pub mod reference;
mod section;
mod service;
mod sources;
#[cfg(test)]
mod tests;
mod unknown;
pub mod value;

pub use covet_macros::{SettingValue, Settings};

pub use effective::{Effective, EffectiveSetting};
pub use loader::{Loaded, Loader};
pub use masking::mask_passwords;
pub use problems::{Problems, SettingProblem};
pub use provenance::Provenance;
pub use reader::Reader;
pub use section::{Field, Invalid, Section, SectionDoc};
pub use service::ServiceSettings;
pub use sources::Sources;
pub use value::{ByteSize, Choice, ConnectionUrl, Value, not_a_choice};
