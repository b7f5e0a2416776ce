//! `#[derive(SettingValue)]`: an enum without fields as the value of a setting. Sections are in `settings.rs`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Path, Result, Variant};

use crate::attributes::{once, path, required_doc};

pub(crate) fn expand(input: &DeriveInput, mut root: Path) -> Result<TokenStream> {
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("settings")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                root = path(&meta)?;
                return Ok(());
            }
            Err(meta.error("an enum of choices knows only `crate`"))
        })?;
    }
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "SettingValue is for enums; a struct of settings derives Settings",
        ));
    };
    if data.variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, "an enum of choices needs at least one variant"));
    }

    let mut choices = Vec::new();
    let mut parse = Vec::new();
    let mut show = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(variant, "a choice carries no fields; implement settings::Value by hand"));
        }
        let name = name_of(variant)?;
        if taken.contains(&name) {
            return Err(Error::new_spanned(variant, format!("two choices are named {name:?}")));
        }
        let doc = required_doc(&variant.attrs, variant.ident.span(), "a choice")?;
        let ident = &variant.ident;
        choices.push(quote!(#root::settings::Choice { name: #name, doc: #doc }));
        parse.push(quote!(if text.eq_ignore_ascii_case(#name) {
            return ::core::result::Result::Ok(Self::#ident);
        }));
        show.push(quote!(Self::#ident => #name));
        taken.push(name);
    }

    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #root::settings::Value for #ident #type_generics #where_clause {
            fn type_name() -> ::std::string::String {
                ::std::string::String::from("choice")
            }
            fn choices() -> &'static [#root::settings::Choice] {
                &[#(#choices),*]
            }
            fn parse(text: &str) -> ::core::result::Result<Self, ::std::string::String> {
                #(#parse)*
                ::core::result::Result::Err(#root::settings::not_a_choice::<Self>(text))
            }
            fn show(&self) -> ::std::string::String {
                ::std::string::String::from(match self { #(#show),* })
            }
        }
    })
}

/// `#[setting(name = "…")]`, or the variant's name in kebab case.
fn name_of(variant: &Variant) -> Result<String> {
    let mut given: Option<LitStr> = None;
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("setting")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                return once(&mut given, &meta);
            }
            Err(meta.error("a choice knows only `name`"))
        })?;
    }
    match given {
        Some(name) if name.value().trim().is_empty() => Err(Error::new(name.span(), "a choice needs a name")),
        Some(name) => Ok(name.value()),
        None => Ok(kebab(&variant.ident.to_string())),
    }
}

/// `SlowStart` as `slow-start`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{expand, kebab};
    use syn::{DeriveInput, parse_quote};

    fn error_of(input: &DeriveInput) -> String {
        expand(input, parse_quote!(::covet_core)).unwrap_err().to_string()
    }

    #[test]
    fn a_variant_is_named_in_kebab_case() {
        assert_eq!(kebab("Json"), "json");
        assert_eq!(kebab("SlowStart"), "slow-start");
    }

    #[test]
    fn wrong_enums_are_refused_with_the_reason() {
        let fields: DeriveInput = parse_quote!(
            enum Format {
                /** a */
                Json(u8),
            }
        );
        assert!(error_of(&fields).contains("carries no fields"));
        let undocumented: DeriveInput = parse_quote!(
            enum Format {
                Json,
            }
        );
        assert!(error_of(&undocumented).contains("needs a doc comment"));
        let twice: DeriveInput = parse_quote!(
            enum Format {
                /** a */
                Json,
                /** b */
                #[setting(name = "json")]
                Other,
            }
        );
        assert!(error_of(&twice).contains("two choices are named \"json\""));
        let structure: DeriveInput = parse_quote!(
            struct Format;
        );
        assert!(error_of(&structure).contains("derives Settings"));
        let unknown: DeriveInput = parse_quote!(
            enum Format {
                /** a */
                #[setting(nmae = "x")]
                Json,
            }
        );
        assert!(error_of(&unknown).contains("knows only `name`"));
    }
}
