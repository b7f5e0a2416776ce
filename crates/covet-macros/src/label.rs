//! `#[derive(Label)]`: an enum without fields as the label of a metric.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Path, Result, Variant};

#[expect(clippy::needless_pass_by_value, reason = "all expansions have one signature")]
pub(crate) fn expand(input: &DeriveInput, root: Path) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "Label is for enums: their variants are the label's values. For other values use covet::metrics::Text",
        ));
    };
    if data.variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, "a label needs at least one value"));
    }
    let mut values: Vec<String> = Vec::new();
    let mut arms = Vec::new();
    for (place, variant) in data.variants.iter().enumerate() {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(variant, "a value of a label carries no fields"));
        }
        let value = value_of(variant)?;
        if values.contains(&value) {
            return Err(Error::new_spanned(variant, format!("two values are {value:?}")));
        }
        let ident = &variant.ident;
        arms.push(quote!(Self::#ident => #place));
        values.push(value);
    }
    let ident = &input.ident;
    let typed = quote!(#root::telemetry::metrics::typed);
    Ok(quote! {
        #[automatically_derived]
        impl #typed::Label for #ident {
            const BOUND: usize = Self::KNOWN.len();
            const KNOWN: &'static [&'static str] = &[#(#values),*];
            type Given<'a> = Self;
            type Seen = ();

            fn place(given: Self, _: &()) -> #typed::Place {
                #typed::Place::At(match given { #(#arms),* })
            }

            fn text(place: usize, _: &()) -> ::std::sync::Arc<str> {
                ::std::sync::Arc::from(Self::KNOWN[place])
            }
        }
    })
}

/// `#[label("…")]`, or the variant's name in snake case.
fn value_of(variant: &Variant) -> Result<String> {
    let mut given = None;
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("label")) {
        let value: LitStr =
            attribute.parse_args().map_err(|error| Error::new(error.span(), "write #[label(\"…\")]"))?;
        given = Some(value.value());
    }
    Ok(given.unwrap_or_else(|| snake(&variant.ident.to_string())))
}

/// `CreditCard` as `credit_card`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn error_of(input: &DeriveInput) -> String {
        expand(input, parse_quote!(::covet)).unwrap_err().to_string()
    }

    #[test]
    fn values_are_in_snake_case_unless_said_otherwise() {
        assert_eq!(snake("CreditCard"), "credit_card");
        let named: Variant = parse_quote!(
            #[label("2xx")]
            Success
        );
        assert_eq!(value_of(&named).unwrap(), "2xx");
    }

    #[test]
    fn wrong_labels_are_refused_with_the_reason() {
        assert!(
            error_of(&parse_quote!(
                struct Plan;
            ))
            .contains("is for enums")
        );
        assert!(
            error_of(&parse_quote!(
                enum Plan {}
            ))
            .contains("at least one value")
        );
        assert!(
            error_of(&parse_quote!(
                enum Plan {
                    Free(u8),
                }
            ))
            .contains("carries no fields")
        );
        assert!(
            error_of(&parse_quote!(
                enum Plan {
                    Free,
                    #[label("free")]
                    Gratis,
                }
            ))
            .contains("two values are \"free\"")
        );
        assert!(
            error_of(&parse_quote!(
                enum Plan {
                    #[label = "x"]
                    Free,
                }
            ))
            .contains("#[label(\"…\")]")
        );
    }
}
