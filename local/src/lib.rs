//! Local
pub mod lambda;
pub mod postgres;
