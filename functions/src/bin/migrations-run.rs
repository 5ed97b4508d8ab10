//! No route: invoked by who deploys, it brings the schema up to date and grants the functions' roles what they need.
//! Safe to repeat: what is applied already is left alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    functions::SERVICE.run_migrations()
}
