//! Text in columns that are as wide as what stands in them: Go's `text/tabwriter`, whose layout kubectl's output has.

/// Lays out lines whose cells end in a TAB. A column goes on for as long as the lines below it have a cell there, and
/// is `padding` wider than its widest cell, at least `min_width`. What stands behind the last TAB of a line belongs to
/// no column.
pub fn align(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> =
        text.split_inclusive('\n').map(|l| l.trim_end_matches('\n').split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    let mut layout = Layout { min_width, padding, widths: Vec::new(), out: &mut out };
    layout.block(&lines);
    out
}

struct Layout<'a> {
    min_width: usize,
    padding: usize,
    /// Of the columns to the left of the one being looked at.
    widths: Vec<usize>,
    out: &'a mut String,
}

impl Layout<'_> {
    fn block(&mut self, lines: &[Vec<&str>]) {
        let column = self.widths.len();
        let has_column = |line: &Vec<&str>| line.len() > column + 1;
        let mut rest = lines;
        while let Some(start) = rest.iter().position(has_column) {
            let (before, from) = rest.split_at(start);
            self.write(before);
            let end = from.iter().position(|line| !has_column(line)).unwrap_or(from.len());
            let (together, after) = from.split_at(end);
            let cells = together.iter().filter_map(|line| line.get(column));
            let widest = cells.map(|cell| width(cell) + self.padding).max().unwrap_or(0);
            self.widths.push(widest.max(self.min_width));
            self.block(together);
            self.widths.pop();
            rest = after;
        }
        self.write(rest);
    }

    fn write(&mut self, lines: &[Vec<&str>]) {
        for line in lines {
            for (at, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(wanted) = self.widths.get(at).filter(|_| at + 1 < line.len()) {
                    pad(self.out, wanted.saturating_sub(width(cell)));
                }
            }
            self.out.push('\n');
        }
    }
}

/// In characters, as Go counts it.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

pub fn pad(out: &mut String, spaces: usize) {
    out.extend(std::iter::repeat_n(' ', spaces));
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns_end_where_a_line_has_no_cell() {
        let text = "Name:\tweb\nNamespace:\tdefault\nLabels:\ta=b\n\tcc=d\nEvents:\n  Type\tReason\tAge\n  ----\t------\t---\n";
        let expected = "\
Name:       web
Namespace:  default
Labels:     a=b
            cc=d
Events:
  Type  Reason  Age
  ----  ------  ---
";
        assert_eq!(align(text, 0, 2), expected);
    }

    #[test]
    fn narrow_columns_keep_the_least_width() {
        assert_eq!(align("A\tB\n1\t2\n", 6, 3), "A     B\n1     2\n");
    }
}
