//! What both derives read from attributes: doc comments, and the texts and flags in `#[settings(…)]` and `#[setting(…)]`.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, Path, Result};

/// The doc comment as Markdown, one leading space taken from each line.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let text: Vec<String> = lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    text.join("\n").trim().to_owned()
}

/// The doc comment, or an error that says why there must be one.
pub(crate) fn required_doc(attributes: &[Attribute], span: Span, what: &str) -> Result<String> {
    let text = doc(attributes);
    if text.is_empty() {
        return Err(Error::new(
            span,
            format!("{what} needs a doc comment: it becomes the text in docs/reference/settings.md"),
        ));
    }
    Ok(text)
}

/// The text in `name = "text"`.
pub(crate) fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let name = meta.path.get_ident().map_or_else(|| "this attribute".to_owned(), ToString::to_string);
    let value: Expr = meta.value().map_err(|_| meta.error(format!("write {name} = \"…\"")))?.parse()?;
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
        other => Err(Error::new(
            other.span(),
            format!("{name} is text, read like a value from the environment: write {name} = \"…\""),
        )),
    }
}

/// Sets a flag, refusing `flag = …`.
pub(crate) fn flag(meta: &ParseNestedMeta<'_>, flag: &mut bool) -> Result<()> {
    if meta.input.peek(syn::Token![=]) || meta.input.peek(syn::token::Paren) {
        return Err(meta.error("this is a flag: write the name alone"));
    }
    *flag = true;
    Ok(())
}

/// Keeps a text, refusing a second one of the same name.
pub(crate) fn once(slot: &mut Option<LitStr>, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if slot.is_some() {
        return Err(meta.error("given twice"));
    }
    *slot = Some(text(meta)?);
    Ok(())
}

/// The path in `name = "path::to::item"`.
pub(crate) fn path(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let text = text(meta)?;
    text.parse_with(Path::parse_mod_style)
        .map_err(|_| Error::new(text.span(), "expected a path such as \"crate::settings::check\""))
}
