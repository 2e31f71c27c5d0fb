//! Sizes in the forms that people write.

/// Bytes: a number, with a fraction if need be, and `k`, `m`, `g`, `t` or `p`, each 1024 times the one before
/// and each with `b`, `i` or `ib` after it if one likes. -1 lifts the limit.
pub fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (value, unit) = lower.split_at(split);
    let unit = unit.trim_start();
    let letter = ["ib", "b", "i"].iter().find_map(|end| unit.strip_suffix(end)).unwrap_or(unit);
    let power = match (letter, unit) {
        ("", "" | "b") => 0,
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        ("p", _) => 5,
        _ => return None,
    };
    let factor = 1_i64 << (10 * power);
    if let Ok(whole) = value.parse::<i64>() {
        return whole.checked_mul(factor);
    }
    let value: f64 = value.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "powers of two below 2^53")]
    let bytes = value * factor as f64;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range; the fraction of a byte is dropped")]
    (0.0..9.2e18).contains(&bytes).then_some(bytes as i64)
}
