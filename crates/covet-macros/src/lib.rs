//! Macros of Covet: [`macro@Settings`] for a section of settings, [`macro@SettingValue`] for an enum of choices,
//! [`metrics!`] for a service's own metrics and [`macro@Label`] for an enum that is one of their labels.
//!
//! What the generated code means is documented where it is used: `covet_core::settings`. Each macro exists twice, because a
//! derive cannot see which crate its user depends on: the first writes paths into `covet_core`, the second (re-exported by
//! the `covet` crate under the same name) writes paths into `covet`.
//!
//! `settings.rs` is the section derive, `choices.rs` the enum derive, `attributes.rs` what both read from the source,
//! `metrics.rs` and `label.rs` the service's metrics, `routes.rs` the macro behind `covet_http::routes!`.

mod attributes;
mod choices;
mod label;
mod metrics;
mod routes;
mod settings;

use proc_macro::TokenStream;
use syn::{DeriveInput, Path, parse_macro_input, parse_quote};

/// Makes a struct a section of settings, for crates that depend on `covet_core`.
///
/// On the struct: `#[settings(section = "http")]`, and optionally `validate = "path::to::fn"` (a
/// `fn(&Self, Environment) -> Vec<Invalid>` run when every field is right) and `crate = "path"` (where the module
/// `settings` is to be found).
///
/// On a field: `#[setting(…)]` with `variable`, `default`, `default_outside_development`, `min`, `max`, `example` (all
/// text, read like a value from the environment) and the flags `secret`, `key_material`, `placeholder_check`,
/// `required_outside_development`.
///
/// The doc comments of the struct and of each field are required: they are the text of `docs/reference/settings.md`.
#[proc_macro_derive(Settings, attributes(settings, setting))]
pub fn settings(input: TokenStream) -> TokenStream {
    expand(&parse_macro_input!(input as DeriveInput), parse_quote!(::covet_core), settings::expand)
}

/// [`macro@Settings`] for crates that depend on `covet`, which re-exports it as `covet::settings::Settings`.
#[proc_macro_derive(CovetSettings, attributes(settings, setting))]
pub fn covet_settings(input: TokenStream) -> TokenStream {
    expand(&parse_macro_input!(input as DeriveInput), parse_quote!(::covet), settings::expand)
}

/// Makes an enum without fields the value of a setting, for crates that depend on `covet_core`.
///
/// A variant `SlowStart` is written `slow-start`; `#[setting(name = "…")]` says otherwise. Case does not matter when read.
/// The doc comment of each variant is required: it explains the choice in `docs/reference/settings.md`.
#[proc_macro_derive(SettingValue, attributes(settings, setting))]
pub fn setting_value(input: TokenStream) -> TokenStream {
    expand(&parse_macro_input!(input as DeriveInput), parse_quote!(::covet_core), choices::expand)
}

/// [`macro@SettingValue`] for crates that depend on `covet`, which re-exports it as `covet::settings::SettingValue`.
#[proc_macro_derive(CovetSettingValue, attributes(settings, setting))]
pub fn covet_setting_value(input: TokenStream) -> TokenStream {
    expand(&parse_macro_input!(input as DeriveInput), parse_quote!(::covet), choices::expand)
}

/// A service's own metrics; documented as `covet::metrics!`, where it is used.
#[proc_macro]
pub fn metrics(input: TokenStream) -> TokenStream {
    let declaration = parse_macro_input!(input as metrics::Declaration);
    metrics::expand(&declaration).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum without fields the type of a label of `covet::metrics!`.
///
/// A variant `CreditCard` is the value `credit_card`; `#[label("…")]` says otherwise.
#[proc_macro_derive(Label, attributes(label))]
pub fn label(input: TokenStream) -> TokenStream {
    expand(&parse_macro_input!(input as DeriveInput), parse_quote!(::covet), label::expand)
}

/// What `covet_http::routes!` hands its handlers to. Not for direct use.
#[doc(hidden)]
#[proc_macro]
pub fn routes(input: TokenStream) -> TokenStream {
    let handlers = parse_macro_input!(input as routes::Handlers);
    routes::expand(&handlers).unwrap_or_else(syn::Error::into_compile_error).into()
}

type Expansion = fn(&DeriveInput, Path) -> syn::Result<proc_macro2::TokenStream>;

fn expand(input: &DeriveInput, root: Path, expansion: Expansion) -> TokenStream {
    expansion(input, root).unwrap_or_else(syn::Error::into_compile_error).into()
}
