//! Amounts as PostgreSQL writes them: `15min`, `2GB`, `0.9`.

use super::Row;

/// Parses milliseconds, bytes or a plain number; returns `None` if the text is no amount.
pub(super) fn amount(text: &str) -> Option<f64> {
    let end = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some(number.trim().parse::<f64>().ok()? * factor(unit)?)
}

/// Returns the factor of a unit.
fn factor(unit: &str) -> Option<f64> {
    Some(match unit {
        "" | "ms" | "B" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "kB" => 1_024.0,
        "8kB" => 8_192.0,
        "MB" => 1_048_576.0,
        "GB" => 1_073_741_824.0,
        "TB" => 1_099_511_627_776.0,
        _ => return None,
    })
}

/// Returns a row's value in milliseconds, bytes, or as a plain number.
pub(super) fn of(row: &Row) -> Option<f64> {
    let unit = row.unit.as_deref().unwrap_or_default();
    Some(row.setting.parse::<f64>().ok()? * factor(unit)?)
}

/// Returns whether a row's value lies between two amounts.
pub(super) fn matches(row: &Row, least: &str, most: &str) -> bool {
    match (of(row), amount(least), amount(most)) {
        (Some(value), Some(least), Some(most)) => (least..=most).contains(&value),
        _ => false,
    }
}

/// Converts `value` to the unit that pg_settings gives for the row, which is the unit of parameter groups.
pub(super) fn in_units_of(row: &Row, value: &str) -> String {
    let unit = row.unit.as_deref().and_then(factor);
    match (amount(value), unit) {
        (Some(value), Some(unit)) => (value / unit).round().to_string(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_converts_between_units() {
        assert_eq!(amount("15min"), Some(900_000.0));
        assert_eq!(amount("0.05"), Some(0.05));
        assert_eq!(amount("-1"), Some(-1.0));
        assert_eq!(amount("on"), None);
        let row = Row {
            name: String::new(),
            setting: "16384".to_owned(),
            unit: Some("8kB".to_owned()),
            context: String::new(),
            source: String::new(),
            pending_restart: false,
            shown: String::new(),
        };
        assert!(matches(&row, "128MB", "1GB") && !matches(&row, "129MB", "1GB"));
        assert_eq!(in_units_of(&row, "1GB"), "131072");
    }
}
