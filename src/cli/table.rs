//! Tables of text: as wide as what is in them, without lines, so that they can be cut and searched.

use super::print::{Paint, Printer, Text};

/// Rows under headings.
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Text>>,
}

impl Table {
    /// An empty table.
    pub(super) fn new<const N: usize>(headings: [&'static str; N]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has a cell for each heading.
    pub(super) fn row<const N: usize>(&mut self, cells: [Text; N]) {
        debug_assert_eq!(N, self.headings.len(), "a cell for each heading");
        self.rows.push(cells.into());
    }

    /// Prints it; nothing if it has no rows.
    pub(super) fn print(self, printer: &Printer) {
        if self.rows.is_empty() {
            return;
        }
        let headings = self
            .headings
            .iter()
            .map(|name| Text::new().paint(Paint::Bold, name))
            .collect();
        let lines: Vec<Vec<Text>> = std::iter::once(headings).chain(self.rows).collect();
        let columns = self.headings.len();
        let widths: Vec<usize> = (0..columns)
            .map(|i| lines.iter().filter_map(|row| row.get(i)).map(Text::width).max().unwrap_or(0))
            .collect();
        for row in lines {
            let last = row.iter().rposition(|cell| cell.width() > 0).unwrap_or(0);
            let mut line = Text::new();
            for (i, cell) in row.into_iter().enumerate().take(last + 1) {
                let pad = if i < last { widths[i] - cell.width() + GAP } else { 0 };
                line = line.join(cell).then(" ".repeat(pad));
            }
            printer.line(line);
        }
    }
}

/// Spaces between columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::tests::printer;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut table = Table::new(["slot", "id", "why"]);
        table.row(["1".into(), "abcdef".into(), "".into()]);
        table.row(["12".into(), "f".into(), "because".into()]);
        let (printer, out, _) = printer(false, 0);
        table.print(&printer);
        assert_eq!(out.text(), "slot  id      why\n1     abcdef\n12    f       because\n");
        Table::new(["slot"]).print(&printer);
        assert_eq!(out.text().lines().count(), 3, "an empty table has no headings either");
    }
}
