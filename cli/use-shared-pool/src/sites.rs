//! Recognizes code that opens its own connections, or takes its pool out of a static, and how the result is used.
//!
//! Examines one expression at a time, from the outside in. Invariants: changes nothing.

use syn::Expr;
use syn::spanned::Spanned as _;

use super::carriers::{Carriers, owner};
use super::inventory::Cell;
use super::names::{Absolute, Kind, segments};

/// The expression that opens a connection or provides the pool.
pub(super) struct Base<'e> {
    /// What it opens or provides.
    pub(super) origin: Origin,
    /// Whether its value has to be awaited.
    pub(super) is_async: bool,
    /// The wrapper of the value.
    pub(super) wrapped: Wrapped,
    /// The expression itself.
    pub(super) expr: &'e Expr,
    /// Its arguments.
    pub(super) arguments: Vec<&'e Expr>,
    /// The methods called on the pool's options before it is opened.
    pub(super) settings: Vec<&'e syn::ExprMethodCall>,
    /// The path written for the type, if any.
    pub(super) path: Option<&'e syn::Path>,
}

/// See [`Base`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Creates a pool.
    Pool,
    /// Opens a connection.
    Connection,
    /// Takes a pool out of its static, or creates it for the static.
    Static(Absolute),
    /// Puts a pool into its static.
    Set(Absolute),
}

/// The wrapper of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapped {
    /// None.
    Bare,
    /// `Result`.
    Result,
    /// `Option`.
    Option,
}

/// A base and the operations that extract its value.
pub(super) struct Peeled<'e> {
    /// The base.
    pub(super) base: Base<'e>,
    /// The value is awaited, or is not a future.
    pub(super) ready: bool,
    /// The value is no longer wrapped.
    pub(super) bare: bool,
    /// The error was converted on the way.
    pub(super) adapted: bool,
}

const CONNECTING: [&str; 4] = ["connect", "connect_with", "connect_lazy", "connect_lazy_with"];

/// Methods that end the process, or the function, if the operation failed.
const UNWRAPPING: [&str; 3] = ["expect", "unwrap", "unwrap_or_else"];

/// Methods that only change the error.
const ADAPTING: [&str; 10] = [
    "change_context",
    "context",
    "inspect_err",
    "map_err",
    "ok_or",
    "ok_or_else",
    "with_context",
    "wrap_err",
    "wrap_err_with",
    "ok_or_eyre",
];

/// Takes an expression apart down to a base, if there is one.
pub(super) fn peel<'e>(carriers: &Carriers<'_>, expr: &'e Expr) -> Option<Peeled<'e>> {
    match expr {
        Expr::Paren(inner) => peel(carriers, &inner.expr),
        Expr::Group(inner) => peel(carriers, &inner.expr),
        Expr::Await(inner) => {
            let mut peeled = peel(carriers, &inner.base).filter(|peeled| !peeled.ready)?;
            peeled.ready = true;
            Some(peeled)
        }
        Expr::Try(inner) => unwrapped(peel(carriers, &inner.expr)?),
        Expr::MethodCall(call) => {
            if let Some(base) = base_of_method(carriers, expr, call) {
                return Some(fresh(base));
            }
            let mut peeled = peel(carriers, &call.receiver)?;
            let method = call.method.to_string();
            if UNWRAPPING.contains(&method.as_str()) {
                return unwrapped(peeled);
            }
            if ADAPTING.contains(&method.as_str()) && peeled.ready && !peeled.bare {
                peeled.adapted = true;
                return Some(peeled);
            }
            None
        }
        Expr::Call(call) => base_of_call(carriers, expr, call).map(fresh),
        _ => None,
    }
}

fn fresh(base: Base<'_>) -> Peeled<'_> {
    Peeled {
        ready: !base.is_async,
        bare: base.wrapped == Wrapped::Bare,
        adapted: false,
        base,
    }
}

fn unwrapped(mut peeled: Peeled<'_>) -> Option<Peeled<'_>> {
    if !peeled.ready || peeled.bare {
        return None;
    }
    peeled.bare = true;
    Some(peeled)
}

fn base_of_call<'e>(carriers: &Carriers<'_>, expr: &'e Expr, call: &'e syn::ExprCall) -> Option<Base<'e>> {
    let Expr::Path(function) = &*call.func else { return None };
    let arguments: Vec<&Expr> = call.args.iter().collect();
    if let Some((kind, method)) = owner(carriers.names, &carriers.at, &function.path, function.qself.as_ref()) {
        let origin = match kind {
            Kind::Pool => Origin::Pool,
            Kind::Connection => Origin::Connection,
            Kind::PoolOptions | Kind::Lent | Kind::Transaction | Kind::ConnectOptions => return None,
        };
        let known = match origin {
            Origin::Pool => &CONNECTING[..],
            Origin::Connection | Origin::Static(_) | Origin::Set(_) => &CONNECTING[..2],
        };
        let lazily = method.starts_with("connect_lazy");
        return known.contains(&method.as_str()).then(|| Base {
            origin,
            is_async: !lazily,
            wrapped: if method == "connect_lazy_with" {
                Wrapped::Bare
            } else {
                Wrapped::Result
            },
            expr,
            arguments,
            settings: Vec::new(),
            path: function.qself.is_none().then_some(&function.path),
        });
    }
    // `LazyLock::force(&POOL)`.
    let forced = function.path.segments.last().is_some_and(|last| last.ident == "force");
    let Some(Expr::Reference(argument)) = call.args.first().filter(|_| forced) else {
        return None;
    };
    let Expr::Path(holder) = &*argument.expr else {
        return None;
    };
    let holder = cell(carriers, &holder.path, Cell::Lazy)?;
    Some(Base {
        origin: Origin::Static(holder),
        is_async: false,
        wrapped: Wrapped::Bare,
        expr,
        arguments: Vec::new(),
        settings: Vec::new(),
        path: None,
    })
}

fn base_of_method<'e>(carriers: &Carriers<'_>, expr: &'e Expr, call: &'e syn::ExprMethodCall) -> Option<Base<'e>> {
    let method = call.method.to_string();
    let arguments: Vec<&Expr> = call.args.iter().collect();
    let made = |origin, is_async, wrapped, arguments, settings| {
        Some(Base {
            origin,
            is_async,
            wrapped,
            expr,
            arguments,
            settings,
            path: None,
        })
    };
    if let Expr::Path(holder) = &*call.receiver
        && let Some(meant) = carriers.holder(&holder.path)
        && let Some(&held) = carriers.inventory.statics.get(&meant)
    {
        let is_async = held == Cell::AsyncOnce;
        return match (held, method.as_str()) {
            (Cell::Lazy, _) => None,
            (_, "get_or_init") => made(Origin::Static(meant), is_async, Wrapped::Bare, arguments, Vec::new()),
            (_, "get_or_try_init") => made(Origin::Static(meant), is_async, Wrapped::Result, arguments, Vec::new()),
            (_, "get") => made(Origin::Static(meant), false, Wrapped::Option, arguments, Vec::new()),
            (_, "wait") => made(Origin::Static(meant), false, Wrapped::Bare, arguments, Vec::new()),
            (_, "set") => made(Origin::Set(meant), false, Wrapped::Result, arguments, Vec::new()),
            _ => None,
        };
    }
    if !CONNECTING.contains(&method.as_str()) {
        return None;
    }
    let lazily = method.starts_with("connect_lazy");
    let wrapped = if method == "connect_lazy_with" {
        Wrapped::Bare
    } else {
        Wrapped::Result
    };
    match carriers.carried(&call.receiver)? {
        Kind::PoolOptions => {
            let mut settings = Vec::new();
            let mut at = &*call.receiver;
            while let Expr::MethodCall(setting) = at {
                settings.push(setting);
                at = &setting.receiver;
            }
            made(Origin::Pool, !lazily, wrapped, arguments, settings)
        }
        Kind::ConnectOptions if method == "connect" => made(
            Origin::Connection,
            true,
            Wrapped::Result,
            vec![&*call.receiver],
            Vec::new(),
        ),
        Kind::ConnectOptions | Kind::Pool | Kind::Connection | Kind::Lent | Kind::Transaction => None,
    }
}

fn cell(carriers: &Carriers<'_>, path: &syn::Path, wanted: Cell) -> Option<Absolute> {
    let meant = carriers.holder(path)?;
    (carriers.inventory.statics.get(&meant) == Some(&wanted)).then_some(meant)
}

/// Returns the lazily initialized static that an expression names, directly or dereferenced.
pub(super) fn lazy<'e>(carriers: &Carriers<'_>, expr: &'e Expr) -> Option<(Absolute, &'e syn::ExprPath)> {
    let named = |expr: &'e Expr| {
        let Expr::Path(path) = expr else { return None };
        cell(carriers, &path.path, Cell::Lazy).map(|meant| (meant, path))
    };
    if let Expr::Unary(inner) = expr
        && matches!(inner.op, syn::UnOp::Deref(_))
    {
        return named(&inner.expr);
    }
    named(expr)
}

/// Returns the reason why another PostgreSQL client than sqlx cannot be moved.
pub(super) fn foreign(carriers: &Carriers<'_>, path: &syn::Path) -> Option<String> {
    let meant = carriers.names.resolve(&carriers.at, &segments(path));
    let parts: Vec<&str> = meant.iter().map(String::as_str).collect();
    // An operation on a description of a connection, such as parsing it, serves to open the connection.
    let opens = matches!(
        parts.as_slice(),
        ["tokio_postgres", "connect"]
            | ["postgres", "Client", "connect"]
            | ["tokio_postgres" | "postgres", "Config", ..]
            | ["tokio_postgres" | "postgres", "config", "Config", ..]
            | ["deadpool_postgres", "Config" | "Manager", ..]
            | ["bb8_postgres" | "r2d2_postgres", "PostgresConnectionManager", ..]
    );
    opens.then(|| {
        format!(
            "`{}` sets up connections of {}, whose queries and rows are other types than sqlx's: \
             docs/USE_SHARED_POOL.md says what each call becomes",
            path.segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect::<Vec<_>>()
                .join("::"),
            parts.first().unwrap_or(&"it").replace('_', "-"),
        )
    })
}

/// Returns the first line of an expression, in its file's parsed text.
pub(super) fn line(expr: &Expr) -> usize {
    expr.span().start().line
}
