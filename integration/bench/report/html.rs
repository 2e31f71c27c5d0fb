//! One HTML file that needs nothing else: style and plots are inside.

use super::svg::escape;
use super::{Machine, chart, text};
use crate::result::Outcome;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2em auto;padding:0 1em;color:#1f2937;background:#fff}
h1{font-size:1.5em}h2{font-size:1.1em;margin:2em 0 .3em}pre{background:#f3f4f6;padding:.8em;overflow-x:auto;font-size:12.5px;border-radius:4px}
svg{width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:#374151}.grid{stroke:#e5e7eb}.failed{color:#b91c1c}
@media(prefers-color-scheme:dark){body{background:#111827;color:#e5e7eb}pre{background:#1f2937}svg text{fill:#d1d5db}.grid{stroke:#374151}}";

/// The whole page.
pub fn render(machine: &Machine, runtimes: &[(&str, String)], results: &[Outcome], failures: &[String]) -> String {
    let mut page = format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>\
         <title>brisk: bench</title><style>{STYLE}</style><h1>brisk: bench</h1><p>{}</p><ul>",
        escape(&machine.line())
    );
    for (name, version) in runtimes {
        page += &format!("<li>{}: {}</li>", escape(name), escape(version));
    }
    page += "</ul>";
    for result in results {
        page += &format!("<h2>{}</h2>{}", escape(title(result)), chart::of(result));
        let table = text::render(machine, std::slice::from_ref(result));
        let table = table.split_once("\n\n").map_or("", |(_, table)| table);
        page += &format!("<pre>{}</pre>", escape(table));
    }
    for failure in failures {
        page += &format!("<p class='failed'>failed: {}</p>", escape(failure));
    }
    page
}

fn title(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Latency(table) | Outcome::Curve(table) => &table.title,
        Outcome::Phases(table) => &table.title,
        Outcome::Figures(table) => &table.title,
    }
}
