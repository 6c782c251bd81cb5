//! Rows and columns on stdout.

use super::shown::{Shown, padded, width};

/// Between columns.
const GAP: &str = "  ";
/// A name is not cut below this, however narrow the terminal.
const LAST_COLUMNS_MIN: usize = 16;

/// A table without lines: a heading, columns as wide as their widest cell.
#[derive(Debug)]
pub struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

/// A heading. `>` before it aligns its column to the right; `~` before that says that a narrow terminal does without.
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

    /// The lines, heading first; none when there are no rows. To fit `columns`, columns that can be done without are left out from the
    /// right, and the last one, where foreign names stand, is cut.
    pub fn lines(&self, columns: Option<usize>) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let heading: Vec<String> =
            self.columns.iter().map(|column| column.trim_start_matches(['~', '>']).to_owned()).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&heading).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let fixed = |shown: &[usize]| -> usize {
            let before_last = shown.iter().rev().skip(1);
            before_last.filter_map(|column| widths.get(*column)).map(|columns| columns + GAP.len()).sum()
        };
        while columns.is_some_and(|columns| fixed(&shown) + LAST_COLUMNS_MIN > columns)
            && let Some(least) = shown.iter().rposition(|column| self.columns[*column].starts_with('~'))
        {
            shown.remove(least);
        }
        let fixed = fixed(&shown);
        let last = columns.map(|columns| columns.saturating_sub(fixed).max(LAST_COLUMNS_MIN));
        rows.iter()
            .map(|row| {
                let mut row = (*row).clone();
                if let (Some(cell), Some(last)) = (row.last_mut(), last) {
                    *cell = Shown::text(cell).within(last);
                }
                let all: Vec<_> = row.iter().zip(&widths).zip(self.columns).collect();
                let cells =
                    shown.iter().filter_map(|column| all.get(*column)).map(|((cell, columns), heading)| {
                        let columns = **columns;
                        if heading.trim_start_matches('~').starts_with('>') {
                            " ".repeat(columns.saturating_sub(width(cell))) + cell
                        } else {
                            padded(cell, columns)
                        }
                    });
                cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
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
        assert!(table.lines(None).is_empty());
        table.row(["1".into(), "東京".into(), "5 B".into()]);
        table.row(["12".into(), "a".into(), "1.50 KiB".into()]);
        assert_eq!(table.lines(None), [" #  name      size", " 1  東京       5 B", "12  a     1.50 KiB"]);
    }

    #[test]
    fn a_narrow_terminal_does_without_some_columns() {
        let mut table = Table::new(&[">#", "~>size", "~>rate", "name"]);
        table.row(["1".into(), "1.50 KiB".into(), "2.00 MiB/s".into(), "holiday".into()]);
        assert_eq!(table.lines(Some(60))[1], "1  1.50 KiB  2.00 MiB/s  holiday");
        assert_eq!(table.lines(Some(30))[1], "1  1.50 KiB  holiday");
        assert_eq!(table.lines(Some(20))[1], "1  holiday");
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal() {
        let mut table = Table::new(&["#", "name"]);
        table.row(["1".into(), "a name that is rather too long for it".into()]);
        assert_eq!(table.lines(Some(23)), ["#  name", "1  a name tha…ng for it"]);
        assert!(table.lines(Some(5)).iter().all(|line| width(line) <= 3 + LAST_COLUMNS_MIN));
    }
}
