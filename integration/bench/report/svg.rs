//! A little SVG: a frame with axes, and the shapes the charts need.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 140.0;
/// The colours of series without a colour of their own.
const OTHERS: [&str; 5] = ["#9c36b5", "#e8a400", "#0b7285", "#c2255c", "#5c940d"];

/// The colour of a series: the same runtime has the same one in every plot, whoever else is in it. `name+variant` and
/// `name@number` are of the runtime `name`.
fn colour(name: &str) -> &'static str {
    match name.split(['+', '@']).next().unwrap_or_default() {
        "floor" => "#6b7280",
        "brisk" | "create" => "#d9480f",
        "crun" | "delete" => "#1971c2",
        "runc" => "#2f9e44",
        other => OTHERS[other.bytes().map(usize::from).sum::<usize>() % OTHERS.len()],
    }
}

/// A variant of a series is dashed.
fn dashes(name: &str) -> &'static str {
    if name.contains(['+', '@']) { " stroke-dasharray='5 3'" } else { "" }
}

/// The next of 1, 1.5, 2, 3, 5, 7.5, 10 × a power of ten: fifths of it are readable numbers.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= value * 0.999).unwrap_or(value)
}

/// A drawing with linear axes from zero to the given maxima.
pub struct Plot {
    x_max: f64,
    y_max: f64,
    body: String,
}

impl Plot {
    pub fn new(x_max: f64, y_max: f64, x_label: &str, y_label: &str) -> Self {
        let mut plot = Self { x_max: round_up(x_max), y_max: round_up(y_max), body: String::new() };
        plot.axes(x_label, y_label);
        plot
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.x_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.y_max * (HEIGHT - BOTTOM - TOP)
    }

    fn axes(&mut self, x_label: &str, y_label: &str) {
        for tick in 0..=5 {
            let share = f64::from(tick) / 5.0;
            let (x, y) = (self.x(share * self.x_max), self.y(share * self.y_max));
            let (left, right, base) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM);
            self.body += &format!("<path d='M{left} {y:.1}H{right}' class='grid'/>");
            if !y_label.is_empty() {
                self.label(left - 6.0, y + 4.0, "end", &short(share * self.y_max));
            }
            self.label(x, base + 16.0, "middle", &short(share * self.x_max));
        }
        self.label((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0, "middle", x_label);
        let middle = (HEIGHT - BOTTOM) / 2.0;
        self.body += &format!(
            "<text x='14' y='{middle}' transform='rotate(-90 14 {middle})' text-anchor='middle'>{y_label}</text>"
        );
    }

    fn label(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.body += &format!("<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{}</text>", escape(text));
    }

    /// A polyline through points.
    pub fn line(&mut self, name: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            let verb = if number == 0 { 'M' } else { 'L' };
            if write!(path, "{verb}{:.1} {:.1}", self.x(*x), self.y(y.min(self.y_max))).is_err() {
                return;
            }
        }
        let (stroke, dashes) = (colour(name), dashes(name));
        self.body += &format!("<path d='{path}' fill='none' stroke='{stroke}' stroke-width='1.6'{dashes}/>");
    }

    /// A horizontal bar of row `row` of `rows`, from `from` to `to`.
    pub fn bar(&mut self, fill: &str, (row, rows): (usize, usize), (from, to): (f64, f64), title: &str) {
        let slot = (HEIGHT - BOTTOM - TOP) / rows as f64;
        let (x, y) = (self.x(from), TOP + slot * row as f64 + slot * 0.15);
        let (width, height) = (self.x(to) - x, slot * 0.7);
        let title = escape(title);
        self.body += &format!(
            "<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' fill='{fill}'><title>{title}</title></rect>"
        );
    }

    /// Text beside row `row` of a bar chart.
    pub fn row_label(&mut self, (row, rows): (usize, usize), text: &str) {
        let slot = (HEIGHT - BOTTOM - TOP) / rows as f64;
        self.label(LEFT - 6.0, TOP + slot * (row as f64 + 0.55), "end", text);
    }

    /// The legend of series, right of the frame.
    pub fn legend(&mut self, names: &[&str]) {
        self.legend_of(&names.iter().map(|name| (colour(name), *name)).collect::<Vec<_>>());
    }

    /// The same with colours.
    pub fn legend_of(&mut self, entries: &[(&str, &str)]) {
        for (index, (colour, name)) in entries.iter().enumerate() {
            let y = TOP + 16.0 * index as f64;
            let x = WIDTH - RIGHT + 12.0;
            self.body += &format!("<rect x='{x}' y='{y}' width='10' height='10' fill='{colour}'/>");
            self.label(x + 15.0, y + 9.0, "start", name);
        }
    }

    pub fn finish(self) -> String {
        format!("<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>{}</svg>", self.body)
    }
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Text inside markup.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
