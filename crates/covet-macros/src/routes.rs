//! `routes!`: handlers joined with what `#[utoipa::path]` says of them.
//!
//! That attribute makes a type `__path_NAME` beside the handler `NAME`; a declarative macro cannot build that name.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Path, Token};

/// `PATH_OF_COVET_HTTP; handler, module::handler`
pub(super) struct Handlers {
    root: Path,
    handlers: Punctuated<Path, Token![,]>,
}

impl Parse for Handlers {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let root = input.call(Path::parse_mod_style)?;
        input.parse::<Token![;]>()?;
        Ok(Self { root, handlers: Punctuated::parse_terminated(input)? })
    }
}

pub(super) fn expand(Handlers { root, handlers }: &Handlers) -> syn::Result<TokenStream> {
    let documented = handlers.iter().map(|handler| {
        let mut description = handler.clone();
        let Some(last) = description.segments.last_mut() else {
            return Err(syn::Error::new(Span::call_site(), "expected the path of a handler"));
        };
        last.ident = format_ident!("__path_{}", last.ident);
        Ok(quote! { #root::__private::documented::<#description, _, _, _>(#handler) })
    });
    let documented = documented.collect::<syn::Result<Vec<_>>>()?;
    Ok(quote! { [#(#documented),*] })
}
