//! Which plot shows which outcome.

use super::svg::Plot;
use crate::result::{Outcome, Series, Table};
use crate::stats::quantile;

/// The colours of phases, in their order.
const PARTS: [&str; 6] = ["#d9480f", "#f59f00", "#868e96", "#9c36b5", "#0b7285", "#c2255c"];

/// The plot of an outcome; figures have none.
pub fn of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Latency(table) => distribution(table),
        Outcome::Phases(table) => stacked(table),
        Outcome::Curve(table) => curve(table),
        Outcome::Figures(_) | Outcome::Absent { .. } => String::new(),
    }
}

fn names<T>(table: &Table<T>) -> Vec<&str> {
    table.series.iter().map(|series| series.name.as_str()).collect()
}

/// Cumulative: which share of the runs took at most so long. Shows the median, the spread and the tail at once.
fn distribution(table: &Table<Vec<f64>>) -> String {
    let widest = table.series.iter().map(|series| visible(&series.data)).fold(0.0, f64::max);
    let mut plot = Plot::new(widest * 1.1, 100.0, "ms", "% of runs");
    for Series { name, data } in &table.series {
        let points: Vec<(f64, f64)> = (0..=100)
            .map(|percent| (quantile(data, f64::from(percent) / 100.0).min(widest * 1.1), f64::from(percent)))
            .collect();
        plot.line(name, &points);
    }
    plot.legend(&names(table));
    plot.finish()
}

/// How far the axis must reach for one series: to its slowest hundredth, unless those are so slow that nothing else could
/// be told apart beside them.
fn visible(sample: &[f64]) -> f64 {
    quantile(sample, 0.99).min(3.0 * quantile(sample, 0.5))
}

fn stacked(table: &Table<Vec<(String, f64)>>) -> String {
    let widest = table.series.iter().map(|series| series.data.iter().map(|(_, ms)| ms).sum()).fold(0.0, f64::max);
    let rows = table.series.len();
    let mut plot = Plot::new(widest * 1.05, 1.0, "ms", "");
    for (row, Series { name, data }) in table.series.iter().enumerate() {
        let mut from = 0.0;
        for (index, (part, ms)) in data.iter().enumerate() {
            plot.bar(PARTS[index % PARTS.len()], (row, rows), (from, from + ms), &format!("{name} {part}: {ms:.2} ms"));
            from += ms;
        }
        plot.row_label((row, rows), name);
    }
    let parts = table.series.first().into_iter().flat_map(|series| series.data.iter().map(|(part, _)| part.as_str()));
    plot.legend_of(&PARTS.iter().copied().cycle().zip(parts).collect::<Vec<_>>());
    plot.finish()
}

fn curve(table: &Table<Vec<f64>>) -> String {
    let longest = table.series.iter().map(|series| series.data.len()).max().unwrap_or(1);
    let highest = table.series.iter().map(|series| visible(&series.data)).fold(0.0, f64::max);
    let mut plot = Plot::new(longest as f64, highest * 1.2, "containers alive", "ms");
    for Series { name, data } in &table.series {
        let points: Vec<(f64, f64)> = data.iter().enumerate().map(|(number, ms)| (number as f64, *ms)).collect();
        plot.line(name, &points);
    }
    plot.legend(&names(table));
    plot.finish()
}
