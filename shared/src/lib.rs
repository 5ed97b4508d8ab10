#![doc = include_str!("../README.md")]
//!
//! ## Layers
//!
//! Each knows only those before it: `service`, `config` and `telemetry`; `db`; `http`; `health`. This crate knows no
//! product. `docs/ARCHITECTURE.md` is the map.

pub mod config;
pub mod db;
pub mod diagnostics;
pub mod health;
pub mod http;
mod migrations;
mod service;
mod shared_pool;
pub mod stored;
pub mod telemetry;
pub mod text;

pub use service::Service;
pub use shared_pool::SharedPool;
