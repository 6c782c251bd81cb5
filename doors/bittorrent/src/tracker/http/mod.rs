//! HTTP and HTTPS trackers (BEP 3, 7, 23, 24, 48).
//!
//! [`announce_url`] and [`scrape_url`] write the question, [`parse_announce`] and [`parse_scrape`] read the answer, all without IO.
//! [`HttpTrackers`] asks through one client a family.

mod driver;
mod query;
mod response;

pub use driver::HttpTrackers;
pub use query::{announce_url, scrape_url};
pub use response::{INTERVAL_DEFAULT, parse_announce, parse_scrape};
