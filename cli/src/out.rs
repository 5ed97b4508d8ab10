//! Lines on standard output and standard error.
//!
//! If the reader has gone, as after `| head`, the line is dropped and the command continues; `println!` would panic. If
//! a line cannot be written for another reason, such as a full disk, the command ends with exit code 1.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _, stdout};

/// Prints a line on standard output.
macro_rules! outln {
    ($($text:tt)*) => { crate::out::print(format_args!($($text)*)) };
}

/// Prints a line on standard error.
macro_rules! errln {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// Prints a line; for [`outln`].
pub(crate) fn print(line: Arguments<'_>) {
    let printed = writeln!(stdout(), "{line}");
    if let Some(error) = printed.err().filter(|error| error.kind() != ErrorKind::BrokenPipe) {
        errln!("error: cannot print: {error}");
        std::process::exit(1);
    }
}
