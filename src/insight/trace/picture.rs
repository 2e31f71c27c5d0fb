//! `trace --svg` and `--html`: both sides beside each other, and who handed over to whom.

use super::compare::{self, ComparedStep};
use super::tables::{signed, us, wrapped};
use super::timeline::{Emphasis, Timeline, TraceSide, TracedStep, ms};
use crate::looks::Looks;
use crate::svg::{Svg, WIDTH, escaped};
use crate::table::cut;
use crate::units;

const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const LANE: f64 = 26.0;
/// Between the two lanes, where the arrows are.
const GAP: f64 = 34.0;
/// What is listed below the lanes.
const LISTED: usize = 12;
const LINE: f64 = 18.0;
const UNICODE: Looks = Looks { unicode: true, ..Looks::PLAIN };

/// One timeline, or two on one scale, with the sentence above them.
pub fn svg(lines: &[(&str, &Timeline)], sentence: &str) -> String {
    let mut picture = Svg::default();
    picture.y = 28.0;
    for line in wrapped(sentence, Looks { width: Some(120), ..UNICODE }) {
        picture.text((16.0, picture.y), "strong", &line);
        picture.y += LINE;
    }
    picture.y += 4.0;
    draw(picture, lines).finish(sentence)
}

/// The picture of a page, which has the sentence itself.
fn svg_of_page(lines: &[(&str, &Timeline)], sentence: &str) -> String {
    let mut picture = Svg::default();
    picture.y = 20.0;
    draw(picture, lines).finish(sentence)
}

fn draw(mut picture: Svg, lines: &[(&str, &Timeline)]) -> Svg {
    let mut x = 16.0;
    for (class, said) in [("a", "the parent works"), ("b", "the child works"), ("c", "waits"), ("mark", "the slowest")]
    {
        picture.bar((x, picture.y - 10.0), (12.0, 12.0), class, "");
        picture.text((x + 18.0, picture.y), "faint", said);
        x += 140.0;
    }
    let total = lines.iter().map(|(_, line)| line.total).fold(0.0, f64::max);
    for (name, line) in lines {
        picture.y += 26.0;
        if lines.len() > 1 {
            picture.text((16.0, picture.y), "title", &cut(name, 60, UNICODE));
            picture.text((WIDTH - RIGHT, picture.y), "faint end", &ms(line.total));
            picture.y += 10.0;
        }
        lanes(&mut picture, line, total);
    }
    if let [(_, line)] = lines {
        slowest(&mut picture, line);
    }
    picture
}

/// Where on a line a time is.
fn at(time: f64, total: f64) -> f64 {
    LEFT + if total > 0.0 { (WIDTH - LEFT - RIGHT) * time / total } else { 0.0 }
}

fn said(line: &Timeline, step: &TracedStep) -> String {
    format!("{}: {}, {}%, at {}", step.what, ms(step.took), units::percent(line.share(step.took)), ms(step.start))
}

fn lanes(picture: &mut Svg, line: &Timeline, total: f64) {
    let top = picture.y;
    let sides: &[TraceSide] =
        if line.has(TraceSide::Child) { &[TraceSide::Parent, TraceSide::Child] } else { &[TraceSide::Parent] };
    let y = |side: TraceSide| if side == TraceSide::Parent { top } else { top + LANE + GAP };
    for side in sides {
        picture.text((16.0, y(*side) + 17.0), "", side.name());
        picture.bar((LEFT, y(*side) + LANE), (WIDTH - LEFT - RIGHT, 0.5), "rule", "");
    }
    let slowest = line.slowest();
    for (position, step) in line.steps.iter().enumerate() {
        let (from, to) = (at(step.start, total), at(step.end(), total));
        let class = match (step.waits, step.side) {
            (true, _) => "c",
            (false, TraceSide::Parent) => "a",
            (false, TraceSide::Child) => "b",
        };
        // What takes no time to speak of is there, too.
        let width = (to - from).max(0.6);
        picture.bar((from, y(step.side)), (width, LANE), class, &said(line, step));
        if slowest == Some(position) {
            picture.bar((from, y(step.side)), (width.max(2.0), LANE), "mark", &said(line, step));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a width in a picture")]
        let room = ((to - from - 8.0).max(0.0) / 7.2) as usize;
        if room >= 4 {
            picture.text((from + 4.0, y(step.side) + 17.0), "on", &cut(&step.what, room, UNICODE));
        }
    }
    for (from, to) in hand_overs(line) {
        // From edge to edge of the gap between the lanes.
        let edge =
            |(side, time): LaneTime| (at(time, total), y(side) + if side == TraceSide::Parent { LANE } else { 0.0 });
        picture.arrow(edge(from), edge(to));
    }
    let bottom = y(sides[sides.len() - 1]) + LANE;
    ticks(picture, total, bottom);
    picture.y = bottom + 22.0;
}

/// A side at a time.
type LaneTime = (TraceSide, f64);

/// The clone, and the end of each wait, which the other side has brought about.
fn hand_overs(line: &Timeline) -> Vec<(LaneTime, LaneTime)> {
    let mut found = Vec::new();
    let born = line.steps.iter().find(|step| step.side == TraceSide::Child);
    let clone = line.steps.iter().find(|step| step.side == TraceSide::Parent && step.what.starts_with("clone3"));
    let Some(born) = born else { return found };
    if let Some(clone) = clone {
        found.push(((TraceSide::Parent, clone.start), (TraceSide::Child, born.start)));
    }
    for step in line.steps.iter().filter(|step| step.waits) {
        let other = if step.side == TraceSide::Parent { TraceSide::Child } else { TraceSide::Parent };
        found.push(((other, step.end()), (step.side, step.end())));
    }
    found
}

/// Times at whole steps of one, two or five.
fn ticks(picture: &mut Svg, total: f64, y: f64) {
    if total <= 0.0 {
        return;
    }
    let rough = total / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    for number in 0..=12 {
        let time = f64::from(number) * step;
        if time <= total {
            picture.bar((at(time, total), y), (0.5, 5.0), "tick", "");
            let text = format!("{} ms", (time / 1000.0 * 1e6).round() / 1e6);
            picture.text((at(time, total), y + 17.0), if number == 0 { "faint" } else { "faint mid" }, &text);
        }
    }
}

fn slowest(picture: &mut Svg, line: &Timeline) {
    picture.y += 14.0;
    picture.text((16.0, picture.y), "title", "What took longest");
    picture.y += 6.0;
    let mut steps: Vec<&TracedStep> = line.steps.iter().collect();
    steps.sort_by(|one, other| other.took.total_cmp(&one.took));
    let longest = steps.first().map_or(0.0, |step| step.took);
    for step in steps.into_iter().filter(|step| step.took > 0.0).take(LISTED) {
        picture.y += LINE;
        let y = picture.y;
        picture.text((88.0, y), "end", &ms(step.took));
        picture.text((140.0, y), "faint end", &(units::percent(line.share(step.took)) + "%"));
        let class = if step.waits {
            "c"
        } else if step.side == TraceSide::Parent {
            "a"
        } else {
            "b"
        };
        picture.bar((150.0, y - 9.0), ((step.took / longest * 200.0).max(0.6), 10.0), class, &said(line, step));
        picture.text((364.0, y), "faint", step.side.name());
        picture.text((410.0, y), "", &cut(&step.what, 78, UNICODE));
    }
}

const PAGE: &str = "\
body{font:14px system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1f2328;background:#fff}\
h1{font-size:1.1em;line-height:1.5}svg{max-width:100%;height:auto}table{border-collapse:collapse;width:100%}\
td,th{padding:2px 8px;text-align:right;border-bottom:1px solid #d1d9e0;font-variant-numeric:tabular-nums}\
td:not(:last-child){white-space:nowrap}td:last-child,th:last-child{text-align:left;overflow-wrap:anywhere}tr.waits{color:#59636e}tr.most{font-weight:600;color:#cf222e}\
meter{width:8em}@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#3d444d}\
tr.waits{color:#9198a1}tr.most{color:#f85149}}";

/// A page of its own: the sentence, the picture, and each step.
pub fn html(sentence: &str, picture: &str, titles: &[&str], rows: &[HtmlRow]) -> String {
    let row = |row: &HtmlRow| {
        let cells: String = row.cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        let part = format!("<td><meter value=\"{:.4}\">{:.1}%</meter></td>", row.part, row.part * 100.0);
        let what = escaped(&row.what);
        format!("<tr class=\"{}\">{cells}{part}<td>{}</td><td>{what}</td></tr>\n", row.class, row.side)
    };
    let titles: String = titles.iter().map(|title| format!("<th>{title}</th>")).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'none'; object-src 'none'; img-src 'none'; connect-src 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>brisk trace</title>\n<style>{PAGE}</style>\n\
         <h1>{}</h1>\n{picture}<table>\n<tr>{titles}</tr>\n{}</table>\n</html>\n",
        escaped(sentence),
        rows.iter().map(row).collect::<String>()
    )
}

/// A line of the page's table.
#[derive(Debug)]
pub struct HtmlRow {
    class: &'static str,
    /// Numbers as text.
    cells: Vec<String>,
    /// How long its bar is, of 1.
    part: f64,
    side: &'static str,
    what: String,
}

fn class(emphasis: Emphasis) -> &'static str {
    match emphasis {
        Emphasis::Most => "most",
        Emphasis::Waits => "waits",
        Emphasis::Plain => "",
    }
}

/// The page of one timeline.
pub fn page(line: &Timeline) -> String {
    let longest = line.steps.iter().map(|step| step.took).fold(0.0, f64::max);
    let most = line.slowest();
    let row = |(at, step): (usize, &TracedStep)| HtmlRow {
        class: class(step.emphasis(at, most)),
        cells: vec![us(step.start), us(step.took), units::percent(line.share(step.took)) + "%"],
        part: if longest > 0.0 { step.took / longest } else { 0.0 },
        side: step.side.name(),
        what: step.what.clone(),
    };
    let rows: Vec<HtmlRow> = line.steps.iter().enumerate().map(row).collect();
    let sentence = line.sentence();
    let titles = ["start µs", "took µs", "share", "", "side", "what"];
    html(&sentence, &svg_of_page(&[("", line)], &sentence), &titles, &rows)
}

/// The page of two.
pub fn page_of_two(lines: &[(&str, &Timeline); 2], steps: &[ComparedStep]) -> String {
    let [(_, first), (_, second)] = lines;
    let longest = steps.iter().map(|step| step.change().abs()).fold(0.0, f64::max);
    let most = compare::largest(steps);
    let known = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), us);
    let row = |(at, step): (usize, &ComparedStep)| HtmlRow {
        class: class(step.emphasis(at, most)),
        cells: vec![known(step.first), known(step.second), signed(step.change())],
        part: if longest > 0.0 { step.change().abs() / longest } else { 0.0 },
        side: step.side.name(),
        what: step.what.clone(),
    };
    let rows: Vec<HtmlRow> = steps.iter().enumerate().map(row).collect();
    let sentence = compare::sentence(first, second, steps);
    let titles = ["first µs", "second µs", "change µs", "", "side", "what"];
    html(&sentence, &svg_of_page(lines, &sentence), &titles, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tests::view;

    #[test]
    fn a_trace_as_pictures() {
        let (first, second) = compare::tests::two();
        view("trace.svg", &svg(&[("", &first)], &first.sentence()));
        view("trace.html", &page(&first));
        let steps = compare::compare(&first, &second);
        let page = page_of_two(&[("a<b>", &first), ("c", &second)], &steps);
        view("trace-compared.html", &page);
        assert!(
            !page.contains("<b>") && !page.contains("<a>") && !page.contains('\u{1b}') && !page.contains("<script")
        );
    }

    #[test]
    fn an_empty_trace_is_a_picture_too() {
        let none = Timeline { steps: vec![], total: 0.0 };
        let text = page(&none);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
