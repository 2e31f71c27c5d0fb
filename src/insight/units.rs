//! Numbers for people.

/// Bytes in five characters at most: `999`, `9.9K`, `123M`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if bytes < 1000 {
        return bytes.to_string();
    }
    // In tenths, rounded, so that 1023.96K is 1.0M.
    let mut tenths = (u128::from(bytes) * 10 + 512) / 1024;
    for unit in UNITS {
        if tenths < 100 {
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
        if tenths < 10_000 {
            return format!("{}{unit}", (tenths + 5) / 10);
        }
        tenths = (tenths + 512) / 1024;
    }
    "-".to_owned()
}

/// [`bytes`] of a rate.
pub fn rate(per_second: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no rate is below zero, and none near 2^64"
    )]
    bytes(per_second.round() as u64)
}

/// A share with a digit behind the point, up to a thousand.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 999.95 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

/// A time that has gone by: `0.02s`, `12.3s`, `4m05s`, `3h12m`, `5d07h`.
pub fn time(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..10 => format!("{}.{:02}s", seconds, ns / 10_000_000 % 100),
        10..60 => format!("{}.{}s", seconds, ns / 100_000_000 % 10),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_characters_hold_any_number_of_bytes() {
        let shown = [0, 999, 1000, 1024, 10_188, 10_189, 1_048_575, 67_108_864, 1 << 40, u64::MAX];
        assert_eq!(shown.map(bytes), ["0", "999", "1.0K", "1.0K", "9.9K", "10K", "1.0M", "64M", "1.0T", "16E"]);
        for shift in 0..64 {
            for near in 0..12 {
                let number = (1u64 << shift) + (1u64 << shift >> near) / 2;
                assert!(bytes(number).len() <= 5, "{number}: {}", bytes(number));
                assert!(bytes(number - 1).len() <= 5, "{number}: {}", bytes(number - 1));
            }
        }
    }

    #[test]
    fn times_and_shares() {
        let shown =
            [0, 25_000_000, 9_999_999_999, 12_340_000_000, 245_000_000_000, 11_520_000_000_000, 457_200_000_000_000];
        assert_eq!(shown.map(time), ["0.00s", "0.02s", "9.99s", "12.3s", "4m05s", "3h12m", "5d07h"]);
        assert_eq!([0.0, 0.005, 1.0, 12.5].map(percent), ["0.0", "0.5", "100.0", "1250"]);
    }
}
