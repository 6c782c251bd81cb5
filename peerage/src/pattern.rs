//! Patterns for files of a content: `*` and `?` stop at `/`, `**` does not.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

/// A checked pattern.
#[derive(Clone, Debug)]
pub struct Pattern(GlobMatcher);

impl Pattern {
    /// Checks `glob`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(glob: &str) -> Result<Self, globset::Error> {
        let built = GlobBuilder::new(glob).literal_separator(true).build()?;
        Ok(Self(built.compile_matcher()))
    }

    /// Whether it means this file: by its path below the top folder, or by its bare name.
    pub fn matches(&self, path: &Path) -> bool {
        self.0.is_match(path) || path.file_name().is_some_and(|name| self.0.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stops_at_a_folder_and_bare_names_count() {
        let matches = |glob: &str, path: &str| Pattern::new(glob).unwrap().matches(Path::new(path));
        assert!(matches("*.mkv", "a/b.mkv") && matches("**", "a/b") && matches("a/*", "a/b"));
        assert!(!matches("a/*", "a/b/c") && !matches("*.txt", "a/b.mkv"));
        assert!(Pattern::new("[a").is_err());
    }
}
