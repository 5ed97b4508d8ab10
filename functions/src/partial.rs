//! Partial updates: distinguishes an omitted field from one that is null.
//!
//! A field of type `Option<T>` deserialized with [`given`] and `default` is `None` if it was omitted; null is
//! deserialized as `T`: `Some(None)` for a field that can be cleared, an error for others. Serialized with
//! `skip_serializing_if`, only the given fields reach `jsonb_populate_record`, which keeps all others.

use serde::{Deserialize, Deserializer};

/// The rule in the error for a body without fields.
pub(crate) const NOTHING: &str = "must name at least one field to change";

/// For `deserialize_with`: a field that was given.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
