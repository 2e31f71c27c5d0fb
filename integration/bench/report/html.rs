//! One HTML file that needs nothing else: style and plots are inside.

use super::svg::escape;
use super::{Head, chart, text};
use crate::result::Run;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2em auto;padding:0 1em;color:#1f2937;background:#fff}
h1{font-size:1.5em}.first{font-size:1.15em}h2{font-size:1.1em;margin:2em 0 .3em}pre{background:#f3f4f6;padding:.8em;overflow-x:auto;font-size:12.5px;border-radius:4px}
svg{width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:#374151}.grid{stroke:#e5e7eb}.failed{color:#b91c1c}
@media(prefers-color-scheme:dark){body{background:#111827;color:#e5e7eb}pre{background:#1f2937}svg text{fill:#d1d5db}.grid{stroke:#374151}}";

/// The whole page.
pub fn render(head: &Head<'_>, run: &Run) -> String {
    let mut page = String::from(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>\
         <title>brisk: bench</title>",
    );
    page += &format!("<style>{STYLE}</style><h1>brisk: bench</h1>");
    page.extend(head.summary.iter().map(|summary| format!("<p class='first'>{}</p>", escape(summary))));
    page.extend(head.machine.warning().map(|warning| format!("<p class='failed'>{}</p>", escape(&warning))));
    page.extend(run.cut.iter().map(|cut| format!("<p class='failed'>incomplete: {}</p>", escape(cut))));
    page += &format!("<p>{}</p><ul>", escape(&head.machine.line()));
    for (name, version) in head.runtimes {
        page += &format!("<li>{}: {}</li>", escape(name), escape(version));
    }
    page += "</ul>";
    for outcome in super::in_order(run) {
        let table = text::table(outcome);
        let (heading, table) = table.split_once('\n').unwrap_or((&table, ""));
        page += &format!("<h2>{}</h2>{}<pre>{}</pre>", escape(heading), chart::of(outcome), escape(table));
    }
    for failure in &run.failures {
        page += &format!("<p class='failed'>failed: {}</p>", escape(failure));
    }
    page
}
