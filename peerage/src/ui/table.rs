//! Rows and columns on stdout.

use super::shown::{padded, width};

/// A table without lines: a heading, columns as wide as their widest cell.
#[derive(Debug)]
pub struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

/// A heading; the first character `>` aligns its column to the right.
type Column = &'static str;

impl Table {
    /// An empty one.
    pub fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; its cells must be harmless already ([`super::Shown`]).
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// The lines, heading first; none when there are no rows.
    pub fn lines(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let heading: Vec<String> =
            self.columns.iter().map(|column| column.trim_start_matches('>').to_owned()).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&heading).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        rows.iter()
            .map(|row| {
                let cells = row.iter().zip(&widths).zip(self.columns).map(|((cell, &columns), heading)| {
                    if heading.starts_with('>') {
                        " ".repeat(columns.saturating_sub(width(cell))) + cell
                    } else {
                        padded(cell, columns)
                    }
                });
                cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_terminal_width() {
        let mut table = Table::new(&[">#", "name", ">size"]);
        assert!(table.lines().is_empty());
        table.row(["1".into(), "東京".into(), "5 B".into()]);
        table.row(["12".into(), "a".into(), "1.50 KiB".into()]);
        assert_eq!(table.lines(), [" #  name      size", " 1  東京       5 B", "12  a     1.50 KiB"]);
    }
}
