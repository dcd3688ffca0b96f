//! Quantities such as `100m`, `1.5`, `64Mi`: how much of a resource.

use serde_json::Value;

/// A quantity in billionths of its unit, so that they can be compared. Rounded up, as Kubernetes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// Kubernetes' words for a text that is none.
pub const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const BILLION: i128 = 1_000_000_000;

impl Quantity {
    pub const ZERO: Quantity = Quantity(0);

    /// The value of a quantity's text. `None` if it is malformed or beyond all measure.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || fraction.contains('.') {
            return None;
        }
        let mantissa: i128 = digits.parse().ok()?;
        let (base, exponent) = suffix_scale(suffix)?;
        // mantissa * base^exponent * 10^(9 - digits after the dot)
        let tens = 9i32.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let (scale, tens) = if base == 10 { (1, tens.checked_add(exponent)?) } else { (power(base, exponent)?, tens) };
        let scaled = mantissa.checked_mul(scale)?;
        let magnitude = if tens >= 0 {
            scaled.checked_mul(power(10, tens)?)?
        } else {
            let divisor = power(10, tens.checked_neg()?).unwrap_or(i128::MAX);
            scaled.checked_add(divisor - 1)?.checked_div(divisor)?
        };
        Some(Quantity(if negative { -magnitude } else { magnitude }))
    }

    /// The quantity of a JSON value: a text or a number.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// In whole units, rounded up: bytes, CPUs.
    pub fn whole(self) -> i128 {
        let down = self.0.div_euclid(BILLION);
        if self.0.rem_euclid(BILLION) == 0 { down } else { down + 1 }
    }
}

fn power(base: i128, exponent: i32) -> Option<i128> {
    base.checked_pow(u32::try_from(exponent).ok()?)
}

fn suffix_scale(suffix: &str) -> Option<(i128, i32)> {
    let scale = match suffix {
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "" => (10, 0),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (1024, 1),
        "Mi" => (1024, 2),
        "Gi" => (1024, 3),
        "Ti" => (1024, 4),
        "Pi" => (1024, 5),
        "Ei" => (1024, 6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            (10, exponent.parse().ok().filter(|_| is_number)?)
        }
    };
    Some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_compare_by_what_they_mean() {
        let quantity = |text| Quantity::parse(text).unwrap_or_else(|| panic!("{text}"));
        for (a, b) in [
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            (".5", "500m"),
            ("1e3", "1k"),
            ("12E2", "1200"),
            ("1E", "1e18"),
            ("-1", "-1000m"),
            ("+1", "1."),
        ] {
            assert_eq!(quantity(a), quantity(b), "{a} {b}");
        }
        assert!(quantity("64Mi") > quantity("64M"));
        assert!(quantity("-1") < Quantity::ZERO);
        assert_eq!(quantity("20Gi").whole(), 20 << 30);
        assert_eq!((quantity("1m").whole(), quantity("1.5").whole()), (1, 2));
    }

    #[test]
    fn what_is_no_quantity() {
        for text in
            ["", "x", "1 Gi", "1gb", "1KB", ".", "1.2.3", "--1", "1e", "1e1.5", "1mi", "9".repeat(60).as_str(), "1e99"]
        {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }
}
