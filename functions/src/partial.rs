//! Partial updates: telling a field that was left out from one that is null.
//!
//! A field of type `Option<T>` read with [`given`] and `default` is `None` when it was left out; given as null it is
//! what `T` makes of null: `Some(None)` for a field that can be cleared, an error for one that cannot. Written with
//! `skip_serializing_if`, only what was given reaches `jsonb_populate_record`, which leaves everything else as it is.

use serde::{Deserialize, Deserializer};

/// What to say of a body that names no field.
pub(crate) const NOTHING: &str = "must name at least one field to change";

/// For `deserialize_with`: a field that was given.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
