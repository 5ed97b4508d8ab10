//! Parses macros whose contents can be read as Rust: lists of expressions, and `lazy_static!`.
//!
//! Invariants: the contents of all other macros are not parsed and never changed.

use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, Macro, Token, Type, Visibility};

/// One static of a `lazy_static!`.
pub(super) struct Lazy {
    /// Its name.
    pub(super) name: Ident,
    /// Its type.
    pub(super) of: Type,
    /// Its initializer.
    pub(super) value: Expr,
    /// From its first attribute or word to its semicolon, in bytes of the parsed text.
    pub(super) range: std::ops::Range<usize>,
}

/// Returns the statics of a `lazy_static!`; none for any other macro.
pub(super) fn lazy_statics(mac: &Macro) -> Vec<Lazy> {
    if mac.path.segments.last().is_none_or(|last| last.ident != "lazy_static") {
        return Vec::new();
    }
    let parse = |input: ParseStream<'_>| {
        let mut all = Vec::new();
        while !input.is_empty() {
            let start = input.span().byte_range().start;
            input.call(syn::Attribute::parse_outer)?;
            input.parse::<Visibility>()?;
            input.parse::<Token![static]>()?;
            input.parse::<Token![ref]>()?;
            let name = input.parse()?;
            input.parse::<Token![:]>()?;
            let of = input.parse()?;
            input.parse::<Token![=]>()?;
            let value = input.parse()?;
            let end = input.parse::<Token![;]>()?.span.byte_range().end;
            all.push(Lazy {
                name,
                of,
                value,
                range: start..end,
            });
        }
        Ok(all)
    };
    parse.parse2(mac.tokens.clone()).unwrap_or_default()
}

/// Returns the arguments of a macro that takes expressions, for example `join!` and `assert_eq!`.
pub(super) fn expressions(mac: &Macro) -> Option<Vec<Expr>> {
    let all = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(mac.tokens.clone());
    all.ok().map(|all| all.into_iter().collect())
}
