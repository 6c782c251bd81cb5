//! A link as a picture that a phone can read.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The QR code of `text`, two rows a line, quiet zone included; `None` when the text is too long for one (about 2,900 bytes).
///
/// Scanners want dark on light. With `colour` that is said outright; without, the light parts are drawn, as terminals are mostly dark.
pub fn qr_code(text: &str, colour: bool) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    if !colour {
        return Some(picture);
    }
    // White on black, whatever the terminal's own colours are.
    let lines: Vec<String> =
        picture.lines().map(|line| format!("\x1b[38;5;231;48;5;16m{line}\x1b[0m")).collect();
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_quiet_zone_is_light() {
        let code = qr_code(LINK, false).unwrap();
        let lines: Vec<&str> = code.lines().collect();
        assert!(lines[0].chars().all(|c| c == '█'));
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        assert!(
            lines.iter().all(|line| line.starts_with("██") && line.ends_with("██") || line.starts_with('▀'))
        );
    }

    #[test]
    fn colours_are_ended_on_every_line() {
        assert!(qr_code(LINK, true).unwrap().lines().all(|line| line.ends_with("\x1b[0m")));
    }

    #[test]
    fn a_book_does_not_fit() {
        assert!(qr_code(&"x".repeat(4_000), false).is_none());
    }
}
