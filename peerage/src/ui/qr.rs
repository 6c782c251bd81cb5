//! A link as a picture that a phone can read.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Modules around a code that must be light.
const QUIET_ZONE: usize = 4;

/// The QR code of `text`, two rows a line, quiet zone included.
///
/// # Errors
/// In words: the text is too long for one (about 2,900 bytes), or the terminal too narrow: folded lines cannot be read.
///
/// Scanners want dark on light. With `colour` that is said outright; without, the light parts are drawn, as terminals are mostly dark.
pub fn qr_code(text: &str, colour: bool, columns: Option<usize>) -> Result<String, String> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L)
        .map_err(|_| "The link is too long for a QR code.".to_owned())?;
    let needed = code.width() + 2 * QUIET_ZONE;
    if let Some(columns) = columns.filter(|columns| *columns < needed) {
        return Err(format!("The QR code needs {needed} columns, the terminal has {columns}."));
    }
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    if !colour {
        return Ok(picture);
    }
    // White on black, whatever the terminal's own colours are.
    let lines: Vec<String> =
        picture.lines().map(|line| format!("\x1b[38;5;231;48;5;16m{line}\x1b[0m")).collect();
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_quiet_zone_is_light() {
        let code = qr_code(LINK, false, None).unwrap();
        let lines: Vec<&str> = code.lines().collect();
        assert!(lines[0].chars().all(|c| c == '█'));
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        assert!(
            lines.iter().all(|line| line.starts_with("██") && line.ends_with("██") || line.starts_with('▀'))
        );
    }

    #[test]
    fn colours_are_ended_on_every_line() {
        assert!(qr_code(LINK, true, None).unwrap().lines().all(|line| line.ends_with("\x1b[0m")));
    }

    #[test]
    fn a_book_does_not_fit() {
        assert!(qr_code(&"x".repeat(4_000), false, None).is_err());
    }

    #[test]
    fn it_is_refused_where_its_lines_would_be_folded() {
        let width = qr_code(LINK, false, None).unwrap().lines().next().unwrap().chars().count();
        assert!(qr_code(LINK, false, Some(width)).is_ok());
        assert!(qr_code(LINK, false, Some(width - 1)).is_err());
    }
}
