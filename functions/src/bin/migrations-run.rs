//! No route: a deployment invokes it to migrate the schema and to grant the functions' roles the privileges they need.
//! Safe to repeat: applied migrations are skipped.

use std::process::ExitCode;

fn main() -> ExitCode {
    functions::SERVICE.run_migrations()
}
