//! A link as a picture that a phone can read.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The QR code of `text`, two rows a line, quiet zone included; `None` when the text is too long for one (about 2,900 bytes).
pub fn qr_code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    // Terminals are mostly dark: light modules are drawn with the foreground colour.
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_fits_and_a_book_does_not() {
        let code = qr_code("magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567").unwrap();
        let lines: Vec<&str> = code.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        assert!(qr_code(&"x".repeat(4_000)).is_none());
    }
}
