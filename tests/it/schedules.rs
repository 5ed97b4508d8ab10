//! The schedule expressions that EventBridge Scheduler and AWS Backup accept. No linter of templates checks them, and
//! an invalid one would fail only at deployment.

use std::ops::RangeInclusive;

/// Returns the error in an expression: `rate(…)`, `cron(…)` or `at(…)`.
pub fn fault(expression: &str) -> Option<String> {
    let inside = |word: &str| expression.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')');
    let fault = if let Some(rate) = inside("rate") {
        rate_fault(rate)
    } else if let Some(cron) = inside("cron") {
        cron_fault(cron)
    } else if let Some(at) = inside("at") {
        let time = chrono::NaiveDateTime::parse_from_str(at, "%Y-%m-%dT%H:%M:%S");
        time.err().map(|_| "at(…) takes yyyy-mm-ddThh:mm:ss".to_owned())
    } else {
        Some("neither rate(…), cron(…) nor at(…)".to_owned())
    };
    fault.map(|fault| format!("{expression}: {fault}"))
}

fn rate_fault(rate: &str) -> Option<String> {
    let (number, unit) = rate.split_once(' ').unwrap_or((rate, ""));
    let Some(number) = number.parse().ok().filter(|number: &u32| *number > 0) else {
        return Some("the rate is a whole number above 0".to_owned());
    };
    // One is singular, more are plural: anything else is rejected.
    let units = if number == 1 {
        ["minute", "hour", "day"]
    } else {
        ["minutes", "hours", "days"]
    };
    (!units.contains(&unit)).then(|| format!("{unit:?} is no unit for {number}"))
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

fn cron_fault(cron: &str) -> Option<String> {
    let fields: Vec<_> = cron.split(' ').collect();
    let [minutes, hours, day, month, weekday, year] = fields[..] else {
        return Some(format!("{} fields instead of six", fields.len()));
    };
    if (day == "?") == (weekday == "?") {
        return Some("exactly one of day of month and day of week is ?".to_owned());
    }
    let plain = [
        ("minutes", minutes, 0..=59, &[][..]),
        ("hours", hours, 0..=23, &[]),
        ("month", month, 1..=12, &MONTHS),
        ("year", year, 1970..=2199, &[]),
    ];
    for (name, field, range, names) in plain {
        if !field.split(',').all(|part| is_part(part, &range, names)) {
            return Some(format!("{field:?} is not for the {name}"));
        }
    }
    let nearest = |part: &str| part.strip_suffix('W').is_some_and(|day| is_value(day, &(1..=31), &[]));
    let of_month = |part: &str| part == "L" || nearest(part) || is_part(part, &(1..=31), &[]);
    if day != "?" && !day.split(',').all(of_month) {
        return Some(format!("{day:?} is no day of the month"));
    }
    let nth = |part: &str| {
        let parts = part.split_once('#');
        parts.is_some_and(|(day, nth)| is_value(day, &(1..=7), &DAYS) && is_value(nth, &(1..=5), &[]))
    };
    let last = |part: &str| part.strip_suffix('L').is_some_and(|day| is_value(day, &(1..=7), &DAYS));
    let of_week = |part: &str| part == "L" || nth(part) || last(part) || is_part(part, &(1..=7), &DAYS);
    (weekday != "?" && !weekday.split(',').all(of_week)).then(|| format!("{weekday:?} is no day of the week"))
}

/// `*`, a value or a range of two, each with a step or without.
fn is_part(part: &str, range: &RangeInclusive<u32>, names: &[&str]) -> bool {
    let (part, step) = part
        .split_once('/')
        .map_or((part, None), |(part, step)| (part, Some(step)));
    let steps = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0 && step <= *range.end()));
    let from_to = part.split_once('-');
    let values = match from_to {
        Some((from, to)) => is_value(from, range, names) && is_value(to, range, names),
        None => part == "*" || is_value(part, range, names),
    };
    steps && values
}

fn is_value(text: &str, range: &RangeInclusive<u32>, names: &[&str]) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    names.contains(&text) || digits && text.parse().is_ok_and(|number| range.contains(&number))
}

#[test]
fn schedule_syntax_matches_scheduler() {
    for good in [
        "rate(1 minute)",
        "rate(5 minutes)",
        "rate(12 hours)",
        "cron(0 4 * * ? *)",
        "cron(0/15 8-17 ? * MON-FRI *)",
        "cron(0 0 L * ? 2030-2032)",
        "cron(30 9 ? JAN,JUL FRI#2 *)",
        "cron(0 10 15W * ? *)",
        "cron(0 0 ? * 5L *)",
        "at(2031-03-04T09:30:00)",
    ] {
        assert_eq!(fault(good), None);
    }
    for (bad, says) in [
        ("rate(1 minutes)", "no unit for 1"),
        ("rate(5 minute)", "no unit for 5"),
        ("rate(0 minutes)", "whole number above 0"),
        ("rate(1.5 hours)", "whole number above 0"),
        ("rate(10 seconds)", "no unit"),
        ("rate(1  minute)", "no unit"),
        ("every minute", "neither"),
        ("cron(0 4 * * *)", "5 fields"),
        ("cron(0 4 * * * *)", "exactly one"),
        ("cron(0 4 ? * ? *)", "exactly one"),
        ("cron(60 4 * * ? *)", "minutes"),
        ("cron(0 24 * * ? *)", "hours"),
        ("cron(0 4 32 * ? *)", "day of the month"),
        ("cron(0 4 * 13 ? *)", "month"),
        ("cron(0 4 ? * 8 *)", "day of the week"),
        ("cron(0 4 ? * MON#6 *)", "day of the week"),
        ("cron(0/0 4 * * ? *)", "minutes"),
        ("at(2031-02-30T09:30:00)", "yyyy-mm-dd"),
    ] {
        let fault = fault(bad).unwrap_or_else(|| panic!("{bad} is taken"));
        assert!(fault.contains(says), "{fault}");
    }
}
