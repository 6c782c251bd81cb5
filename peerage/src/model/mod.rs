//! What the program says about itself: the types of `--json`, of the daemon's API and of the progress display.
//!
//! They are plain data: no handles, no locks, no behaviour beyond reading and writing themselves. The node fills them
//! in, the command line and the API show them. Rates are bytes a second, sizes are bytes, times are seconds since
//! 1970 or, where the name says so, seconds to go. A field that is not known yet is `null`.

mod event;
mod path;
mod request;
mod transfer;

pub use event::*;
pub use path::*;
pub use request::*;
pub use transfer::*;
