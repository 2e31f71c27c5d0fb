//! Tables in plain text.

use super::Head;
use crate::result::{Figure, Outcome, Run, Series, Table};
use crate::stats::{median, quantile};

/// All tables, one below the other.
pub fn render(head: &Head<'_>, run: &Run) -> String {
    let mut page = head.summary.iter().map(|summary| format!("{summary}\n")).collect::<String>();
    page += &format!("{}\n", head.machine.line());
    for (name, version) in head.runtimes {
        page += &format!("  {name}: {version}\n");
    }
    page.extend(head.machine.warning().map(|warning| format!("{warning}\n")));
    page.extend(run.cut.iter().map(|cut| format!("INCOMPLETE: {cut}\n")));
    for outcome in super::in_order(run) {
        page += &format!("\n{}", table(outcome));
    }
    page.extend(run.failures.iter().map(|failure| format!("\nFAILED {failure}\n")));
    let whole: f64 = run.seconds.iter().map(|(_, seconds)| seconds).sum();
    let each: Vec<String> = run.seconds.iter().map(|(name, seconds)| format!("{name} {seconds:.0}")).collect();
    page + &format!("\nIt took {whole:.0} s: {}\n", each.join(", "))
}

/// One outcome with its heading.
pub fn table(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Latency(table) => heading(table) + &latency(table),
        Outcome::Phases(table) => heading(table) + &phases(table),
        Outcome::Curve(table) => heading(table) + &curve(table),
        Outcome::Figures(table) => heading(table) + &figures(table),
        Outcome::Absent { id, reason } => format!("{id} — not measured: {reason}\n"),
    }
}

fn heading<T>(table: &Table<T>) -> String {
    format!("{} — {} ({})\n", table.id, table.title, table.note)
}

fn latency(table: &Table<Vec<f64>>) -> String {
    let base = table.series.first().map_or(f64::NAN, |series| median(&series.data));
    let first = table.series.first().map_or("", |series| series.name.as_str());
    let mut text =
        format!("  {:<18}{:>9}{:>9}{:>9}{:>9}{:>9}  median / {first}\n", "ms", "min", "p50", "p90", "p99", "max");
    for Series { name, data } in &table.series {
        let [min, p50, p90, p99, max] = [0.0, 0.5, 0.9, 0.99, 1.0].map(|q| quantile(data, q));
        text += &format!("  {name:<18}{min:>9.2}{p50:>9.2}{p90:>9.2}{p99:>9.2}{max:>9.2}  {:.2}\n", p50 / base);
    }
    text
}

fn phases(table: &Table<Vec<(String, f64)>>) -> String {
    let mut text = String::new();
    for Series { name, data } in &table.series {
        let parts: Vec<String> = data.iter().map(|(part, ms)| format!("{part} {ms:.2}")).collect();
        text += &format!("  {name:<18}{}\n", parts.join("  "));
    }
    text
}

fn curve(table: &Table<Vec<f64>>) -> String {
    let mut text = String::new();
    for Series { name, data } in &table.series {
        let picks = [0, data.len() / 4, data.len() / 2, data.len() * 3 / 4, data.len().saturating_sub(1)];
        let around = |index: usize| median(&data[index.saturating_sub(5)..(index + 5).min(data.len())]);
        let cells: Vec<String> = picks.iter().map(|&index| format!("#{} {:.2}", index + 1, around(index))).collect();
        text += &format!("  {name:<18}{}  (ms, medians of ten)\n", cells.join("  "));
    }
    text
}

fn figures(table: &Table<Vec<Figure>>) -> String {
    let Some(first) = table.series.first() else { return String::new() };
    let mut text = format!("  {:<34}", "");
    for series in &table.series {
        text += &format!("{:>12}", series.name);
    }
    text.push('\n');
    for (row, figure) in first.data.iter().enumerate() {
        text += &format!("  {:<34}", format!("{} {}", figure.what, figure.unit));
        for series in &table.series {
            let value = series.data.get(row).map_or(f64::NAN, |figure| figure.value);
            text += &format!("{value:>12.2}");
        }
        text.push('\n');
    }
    text
}
