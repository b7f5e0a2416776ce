//! `#[derive(Settings)]`: a struct as a section of settings. Enums of choices are in `choices.rs`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, LitStr, Path, Result};

use crate::attributes::{flag, once, path, required_doc};

pub(crate) fn expand(input: &DeriveInput, root: Path) -> Result<TokenStream> {
    let section = SectionAttributes::read(input, root)?;
    let doc = required_doc(&input.attrs, input.ident.span(), "a section of settings")?;
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "Settings is for structs; an enum of choices derives SettingValue",
        ));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, "a section of settings has named fields"));
    };

    let root = &section.root;
    let mut declarations = Vec::new();
    let mut reads = Vec::new();
    let mut moves = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    for (index, field) in named.named.iter().enumerate() {
        let Some(ident) = &field.ident else { continue };
        let attributes = FieldAttributes::read(field)?;
        if let Some(variable) = &attributes.variable {
            if taken.contains(&variable.value()) {
                return Err(Error::new(variable.span(), "another field has this variable"));
            }
            taken.push(variable.value());
        }
        let key = ident.to_string().trim_start_matches("r#").to_owned();
        let doc = required_doc(&field.attrs, ident.span(), "a setting")?;
        let kind = &field.ty;
        let details = attributes.builder_calls(kind);
        declarations.push(
            quote!(#root::settings::Field::new::<#kind>(<Self as #root::settings::Section>::NAME, #key, #doc) #details),
        );
        // A local of its own name: a field may be called `reader` or `fields`.
        let local = format_ident!("setting_{index}");
        reads.push(quote!(let #local = reader.value::<#kind>(&fields[#index]);));
        moves.push(quote!(#ident: #local?));
    }

    let ident = &input.ident;
    let name = &section.name;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let validate = section.validate.as_ref().map(|function| {
        quote! {
            let invalid = #function(&section, reader.environment());
            if reader.refuse(&fields, invalid) {
                return ::core::option::Option::None;
            }
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #root::settings::Section for #ident #type_generics #where_clause {
            const NAME: &'static str = #name;
            const DOC: &'static str = #doc;
            fn fields() -> ::std::vec::Vec<#root::settings::Field> {
                ::std::vec![#(#declarations),*]
            }
            fn read(reader: &mut #root::settings::Reader<'_>) -> ::core::option::Option<Self> {
                let fields = <Self as #root::settings::Section>::fields();
                #(#reads)*
                let section = Self { #(#moves),* };
                #validate
                ::core::option::Option::Some(section)
            }
        }
    })
}

/// `#[settings(section = "…", validate = "…", crate = "…")]`.
struct SectionAttributes {
    name: String,
    validate: Option<Path>,
    root: Path,
}

impl SectionAttributes {
    fn read(input: &DeriveInput, mut root: Path) -> Result<Self> {
        let mut section = None;
        let mut validate = None;
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("settings")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("section") {
                    once(&mut section, &meta)
                } else if meta.path.is_ident("validate") {
                    validate = Some(path(&meta)?);
                    Ok(())
                } else if meta.path.is_ident("crate") {
                    root = path(&meta)?;
                    Ok(())
                } else {
                    Err(meta.error("expected `section`, `validate` or `crate`"))
                }
            })?;
        }
        let Some(section) = section else {
            return Err(Error::new_spanned(
                &input.ident,
                "say which section this is: #[settings(section = \"shop\")] is read from COVET_SHOP__… and [shop]",
            ));
        };
        let name = section.value();
        if !is_snake_case(&name) {
            return Err(Error::new(section.span(), "a section's name is in snake case, such as \"rate_limit\""));
        }
        Ok(Self { name, validate, root })
    }
}

/// `#[setting(…)]` on a field.
#[derive(Default)]
struct FieldAttributes {
    variable: Option<LitStr>,
    default: Option<LitStr>,
    default_outside_development: Option<LitStr>,
    min: Option<LitStr>,
    max: Option<LitStr>,
    example: Option<LitStr>,
    secret: bool,
    key_material: bool,
    placeholder_check: bool,
    required_outside_development: bool,
}

impl FieldAttributes {
    fn read(field: &syn::Field) -> Result<Self> {
        let mut read = Self::default();
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("setting")) {
            attribute.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                match name.as_str() {
                    "variable" => once(&mut read.variable, &meta),
                    "default" => once(&mut read.default, &meta),
                    "default_outside_development" => once(&mut read.default_outside_development, &meta),
                    "min" => once(&mut read.min, &meta),
                    "max" => once(&mut read.max, &meta),
                    "example" => once(&mut read.example, &meta),
                    "secret" => flag(&meta, &mut read.secret),
                    "key_material" => flag(&meta, &mut read.key_material),
                    "placeholder_check" => flag(&meta, &mut read.placeholder_check),
                    "required_outside_development" => flag(&meta, &mut read.required_outside_development),
                    _ => Err(meta.error(
                        "expected `variable`, `default`, `default_outside_development`, `min`, `max`, `example`, `secret`, \
                         `key_material`, `placeholder_check` or `required_outside_development`",
                    )),
                }
            })?;
        }
        read.refuse_contradictions()?;
        Ok(read)
    }

    fn refuse_contradictions(&self) -> Result<()> {
        if let Some(variable) = &self.variable
            && !is_variable(&variable.value())
        {
            return Err(Error::new(variable.span(), "a variable is in capitals, such as \"DATABASE_URL\""));
        }
        if let (Some(default), true) = (&self.default, self.key_material) {
            return Err(Error::new(
                default.span(),
                "key material has no default: it is generated in development and required elsewhere",
            ));
        }
        if let (Some(default), true) = (&self.default_outside_development, self.required_outside_development) {
            return Err(Error::new(default.span(), "required outside development, so there is no default there"));
        }
        Ok(())
    }

    /// The calls on `Field::new(…)` that say what the attributes said.
    fn builder_calls(&self, kind: &syn::Type) -> TokenStream {
        let texts = [
            ("variable", &self.variable),
            ("default", &self.default),
            ("default_outside_development", &self.default_outside_development),
            ("example", &self.example),
        ];
        let texts = texts.iter().filter_map(|(name, text)| {
            let (name, text) = (format_ident!("{name}"), text.as_ref()?);
            Some(quote!(.#name(#text)))
        });
        let flags = [
            ("secret", self.secret),
            ("key_material", self.key_material),
            ("placeholder_check", self.placeholder_check),
            ("required_outside_development", self.required_outside_development),
        ];
        let flags = flags.iter().filter(|(_, set)| *set).map(|(name, _)| {
            let name = format_ident!("{name}");
            quote!(.#name())
        });
        // Bounds need an ordered type, so they are asked for only where they are written.
        let bounds = (self.min.is_some() || self.max.is_some()).then(|| {
            let (min, max) = (option(self.min.as_ref()), option(self.max.as_ref()));
            quote!(.bounds::<#kind>(#min, #max))
        });
        quote!(#(#texts)* #(#flags)* #bounds)
    }
}

fn option(text: Option<&LitStr>) -> TokenStream {
    match text {
        Some(text) => quote!(::core::option::Option::Some(#text)),
        None => quote!(::core::option::Option::None),
    }
}

fn is_snake_case(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
        && !name.contains("__")
        && !name.ends_with('_')
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::expand;
    use syn::{DeriveInput, parse_quote};

    fn error_of(input: &DeriveInput) -> String {
        expand(input, parse_quote!(::covet_core)).unwrap_err().to_string()
    }

    #[test]
    fn a_section_needs_a_name_a_doc_comment_and_named_fields() {
        assert!(
            error_of(&parse_quote!(
                struct Shop {
                    a: u8,
                }
            ))
            .contains("#[settings(section = \"shop\")]")
        );
        assert!(
            error_of(&parse_quote!(
                #[settings(section = "shop")]
                struct Shop {}
            ))
            .contains("needs a doc comment")
        );
        assert!(
            error_of(&parse_quote!(
                /** x */
                #[settings(section = "Shop")]
                struct Shop {}
            ))
            .contains("snake case")
        );
        assert!(
            error_of(&parse_quote!(
                /** x */
                #[settings(section = "shop")]
                struct Shop(u8);
            ))
            .contains("named fields")
        );
        assert!(
            error_of(&parse_quote!(
                /** x */
                #[settings(section = "shop")]
                enum Shop {
                    A,
                }
            ))
            .contains("SettingValue")
        );
        assert!(
            error_of(&parse_quote!(
                /** x */
                #[settings(sektion = "shop")]
                struct Shop {}
            ))
            .contains("expected `section`")
        );
    }

    #[test]
    fn wrong_field_attributes_are_refused_with_the_reason() {
        let cases: [(DeriveInput, &str); 9] = [
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(variable = "A")]
                        a: u8,
                        /** b */
                        #[setting(variable = "A")]
                        b: u8,
                    }
                ),
                "another field has this variable",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        a: u8,
                    }
                ),
                "a setting needs a doc comment",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(default = 8)]
                        a: u8,
                    }
                ),
                "default = \"…\"",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(defualt = "8")]
                        a: u8,
                    }
                ),
                "expected `variable`",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(secret = "yes")]
                        a: u8,
                    }
                ),
                "is a flag",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(min = "1", min = "2")]
                        a: u8,
                    }
                ),
                "given twice",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(variable = "port")]
                        a: u8,
                    }
                ),
                "in capitals",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(default = "x", key_material)]
                        a: u8,
                    }
                ),
                "no default",
            ),
            (
                parse_quote!(
                    /** x */
                    #[settings(section = "s")]
                    struct S {
                        /** a */
                        #[setting(default_outside_development = "x", required_outside_development)]
                        a: u8,
                    }
                ),
                "there is no default there",
            ),
        ];
        for (input, expected) in cases {
            let error = error_of(&input);
            assert!(error.contains(expected), "{error:?} should contain {expected:?}");
        }
    }
}
