//! Local
pub mod faults;
pub mod gateway;
pub mod lambda;
pub mod postgres;
pub mod proxy;
pub mod secrets;
pub mod template;
