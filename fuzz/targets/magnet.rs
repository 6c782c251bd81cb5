//! Any text is a link or a refusal; a link that is printed reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peerage_bittorrent::magnet::Magnet;

fuzz_target!(|text: &str| {
    let Ok(magnet) = text.parse::<Magnet>() else { return };
    assert_eq!(magnet.to_string().parse::<Magnet>().as_ref(), Ok(&magnet));
});
