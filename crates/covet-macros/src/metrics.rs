//! `metrics!`: a struct whose methods are a service's own metrics. Labels that are enums are in `label.rs`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, ExprArray, Ident, LitStr, Result, Token, Type, Visibility, braced, parenthesized};

use crate::attributes::doc;

/// ```text
/// /// Doc comment.
/// pub struct Name {
///     /// Doc comment.
///     counter name(label: Type, …);
///     …
/// }
/// ```
pub(super) struct Declaration {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
    metrics: Vec<Metric>,
}

struct Metric {
    attributes: Vec<Attribute>,
    kind: Kind,
    merge: Option<Ident>,
    name: Ident,
    labels: Vec<Label>,
    buckets: Option<ExprArray>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

struct Label {
    name: Ident,
    kind: Type,
}

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Token![struct]>()?;
        let name = input.parse()?;
        let body;
        braced!(body in input);
        let mut metrics = Vec::new();
        while !body.is_empty() {
            metrics.push(body.parse()?);
        }
        Ok(Self { attributes, visibility, name, metrics })
    }
}

impl Parse for Metric {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let kind: Ident = input.parse()?;
        let kind = match kind.to_string().as_str() {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            _ => return Err(Error::new(kind.span(), "a metric is a counter, a gauge or a histogram")),
        };
        let mut merge = None;
        // `gauge(largest) name(…)`: brackets before the name say how processes are merged.
        if input.peek(syn::token::Paren) {
            let inner;
            parenthesized!(inner in input);
            merge = Some(inner.parse()?);
        }
        let name = input.parse()?;
        let inner;
        parenthesized!(inner in input);
        let labels = Punctuated::<Label, Token![,]>::parse_terminated(&inner)?.into_iter().collect();
        let buckets = if input.peek(syn::token::Bracket) { Some(input.parse()?) } else { None };
        input.parse::<Token![;]>()?;
        Ok(Self { attributes, kind, merge, name, labels, buckets })
    }
}

impl Parse for Label {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Self { name, kind: input.parse()? })
    }
}

pub(super) fn expand(Declaration { attributes, visibility, name, metrics }: &Declaration) -> Result<TokenStream> {
    let group_doc = required_doc(attributes, name, "the struct", "the title of its metrics on the reference page")?;
    if metrics.is_empty() {
        return Err(Error::new(name.span(), "there is no metric in it"));
    }
    for (index, metric) in metrics.iter().enumerate() {
        metric.check()?;
        if metrics[..index].iter().any(|earlier| earlier.name == metric.name) {
            return Err(Error::new(metric.name.span(), "there is another metric of this name"));
        }
    }
    let root = quote!(::covet::telemetry::metrics);
    let declarations = metrics.iter().map(|metric| metric.declaration(&root)).collect::<Result<Vec<_>>>()?;
    let fields = metrics.iter().map(|metric| metric.field(&root));
    let methods = metrics.iter().map(|metric| metric.method(&root, visibility));
    let names = metrics.iter().map(|metric| &metric.name);
    let places = 0..metrics.len();
    Ok(quote! {
        #(#attributes)*
        #[derive(Debug, Clone)]
        #visibility struct #name {
            #(#fields),*
        }

        impl #name {
            const METRICS: &'static #root::Group = &#root::Group { doc: #group_doc, metrics: &[#(&#declarations),*] };

            /// The metrics, shown by `registry` from now on.
            #[must_use]
            #visibility fn new(registry: &#root::Registry) -> Self {
                registry.declare_all(Self::METRICS);
                Self { #(#names: #root::typed::Family::new(registry, Self::METRICS.metrics[#places])),* }
            }

            #(#methods)*
        }
    })
}

impl Metric {
    fn check(&self) -> Result<()> {
        let name = self.name.to_string();
        let refuse = |why: &str| Err(Error::new(self.name.span(), why));
        match self.kind {
            Kind::Counter if !name.ends_with("_total") => return refuse("the name of a counter ends in _total"),
            Kind::Counter => {}
            Kind::Gauge | Kind::Histogram => {
                let reserved = ["_total", "_count", "_sum", "_bucket", "_info", "_created"];
                if reserved.iter().any(|suffix| name.ends_with(suffix)) {
                    return refuse(
                        "_total is for counters; _count, _sum, _bucket, _created and _info mean something else",
                    );
                }
            }
        }
        if self.buckets.is_some() && self.kind != Kind::Histogram {
            return refuse("only a histogram has buckets");
        }
        if self.labels.len() > 4 {
            return refuse("a metric has at most four labels: each multiplies the number of series");
        }
        if let Some(merge) = &self.merge
            && !["sum", "largest", "smallest", "own"].iter().any(|known| merge == known)
        {
            return Err(Error::new(merge.span(), "processes are merged by sum, largest, smallest or own"));
        }
        for (index, label) in self.labels.iter().enumerate() {
            if label.name == "le" || label.name.to_string().starts_with("__") {
                return Err(Error::new(label.name.span(), "Prometheus keeps this label name for itself"));
            }
            if self.labels[..index].iter().any(|earlier| earlier.name == label.name) {
                return Err(Error::new(label.name.span(), "there is another label of this name"));
            }
        }
        Ok(())
    }

    fn declaration(&self, root: &TokenStream) -> Result<TokenStream> {
        let doc = required_doc(&self.attributes, &self.name, "a metric", "its HELP text")?;
        let name = self.name.to_string();
        let kind = match (self.kind, &self.buckets) {
            (Kind::Counter, _) => quote!(#root::Kind::Counter),
            (Kind::Gauge, _) => quote!(#root::Kind::Gauge),
            (Kind::Histogram, Some(buckets)) => {
                quote!(#root::Kind::Histogram(const { #root::typed::ascending(&#buckets) }))
            }
            (Kind::Histogram, None) => quote!(#root::Kind::Histogram(&#root::catalog::DEFAULT_SECONDS)),
        };
        let labels = self.labels.iter().map(|label| label.name.to_string());
        let merge = match self.merge.as_ref().map(ToString::to_string).as_deref() {
            Some("largest") => quote!(Largest),
            Some("smallest") => quote!(Smallest),
            Some("own") => quote!(Own),
            _ => quote!(Sum),
        };
        Ok(quote! {
            #root::Metric {
                name: #name,
                doc: #doc,
                kind: #kind,
                labels: &[#(#labels),*],
                merge: #root::Merge::#merge,
                origin: #root::Origin::Business,
            }
        })
    }

    fn field(&self, root: &TokenStream) -> TokenStream {
        let (name, handle) = (&self.name, self.handle(root));
        let kinds = self.labels.iter().map(|label| &label.kind);
        quote!(#name: #root::typed::Family<#handle, (#(#kinds,)*)>)
    }

    fn method(&self, root: &TokenStream, visibility: &Visibility) -> TokenStream {
        let (name, handle) = (&self.name, self.handle(root));
        let docs = self.attributes.iter();
        let names: Vec<_> = self.labels.iter().map(|label| &label.name).collect();
        let given = self.labels.iter().map(Label::given);
        quote! {
            #(#docs)*
            #visibility fn #name(&self, #(#names: #given),*) -> &#handle {
                self.#name.with((#(#names,)*))
            }
        }
    }

    fn handle(&self, root: &TokenStream) -> TokenStream {
        match self.kind {
            Kind::Counter => quote!(#root::Counter),
            Kind::Gauge => quote!(#root::Gauge),
            Kind::Histogram => quote!(#root::Histogram),
        }
    }
}

impl Label {
    /// What a caller gives: a text for `Text<N>`, else a value of the label's type.
    fn given(&self) -> TokenStream {
        let kind = &self.kind;
        let is_text =
            matches!(kind, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Text"));
        if is_text { quote!(&str) } else { quote!(#kind) }
    }
}

/// The doc comment, as the declarations of Covet itself keep it.
fn required_doc(attributes: &[Attribute], name: &Ident, what: &str, becomes: &str) -> Result<LitStr> {
    let text = doc(attributes);
    if text.is_empty() {
        return Err(Error::new(name.span(), format!("{what} needs a doc comment: it becomes {becomes}")));
    }
    Ok(LitStr::new(&text, name.span()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(source: &str) -> String {
        let declaration = syn::parse_str::<Declaration>(source);
        declaration.and_then(|declaration| expand(&declaration)).unwrap_err().to_string()
    }

    #[test]
    fn wrong_metrics_are_refused_with_the_reason() {
        for (metric, reason) in [
            ("counter orders_total();", "needs a doc comment"),
            ("/** A. */ counter orders();", "ends in _total"),
            ("/** A. */ gauge orders_total();", "_total is for counters"),
            ("/** A. */ histogram pay_seconds_sum();", "mean something else"),
            ("/** A. */ summary orders();", "a counter, a gauge or a histogram"),
            ("/** A. */ counter orders_total() [1.0];", "only a histogram has buckets"),
            ("/** A. */ gauge(highest) orders();", "sum, largest, smallest or own"),
            ("/** A. */ gauge orders(le: Plan);", "keeps this label name for itself"),
            ("/** A. */ gauge orders(a: Plan, a: Plan);", "another label of this name"),
            ("/** A. */ gauge orders(a: A, b: B, c: C, d: D, e: E);", "at most four labels"),
            ("/** A. */ gauge orders(); /** A. */ gauge orders();", "another metric of this name"),
            ("", "no metric in it"),
        ] {
            let error = error_of(&format!("/** Shop. */ struct Shop {{ {metric} }}"));
            assert!(error.contains(reason), "{metric}: {error}");
        }
        assert!(error_of("struct Shop { /** A. */ gauge orders(); }").contains("the struct needs a doc comment"));
    }
}
