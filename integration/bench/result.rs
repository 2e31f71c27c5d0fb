//! What experiments produce; the reports know these shapes and nothing of the experiments.

use serde::Serialize;

/// All that a bench has found, so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    pub outcomes: Vec<Outcome>,
    /// `experiment: error` of those that could not be had.
    pub failures: Vec<String>,
    /// How long each experiment took.
    pub seconds: Vec<(String, f64)>,
    /// What is missing because the bench was interrupted.
    pub cut: Option<String>,
}

/// One value or one list of values of one runtime.
#[derive(Clone, Debug, Serialize)]
pub struct Series<T> {
    pub name: String,
    pub data: T,
}

/// One experiment's outcome.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Outcome {
    /// Times of one thing, in milliseconds.
    Latency(Table<Vec<f64>>),
    /// Medians of the parts of one thing, in milliseconds.
    Phases(Table<Vec<(String, f64)>>),
    /// A time per container, in the order they were made.
    Curve(Table<Vec<f64>>),
    /// Plain figures, one row per quantity.
    Figures(Table<Vec<Figure>>),
    /// What this machine cannot show, and why.
    Absent { id: String, reason: String },
}

/// A titled set of series.
#[derive(Clone, Debug, Serialize)]
pub struct Table<T> {
    pub id: String,
    pub title: String,
    pub note: String,
    pub series: Vec<Series<T>>,
}

/// A figure with its name and unit.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub what: String,
    pub unit: &'static str,
    pub value: f64,
}

impl Figure {
    pub fn new(what: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { what: what.into(), unit, value }
    }
}

impl<T> Table<T> {
    pub fn new(id: &str, title: &str, note: &str) -> Self {
        Self { id: id.into(), title: title.into(), note: note.into(), series: Vec::new() }
    }

    pub fn add(&mut self, name: &str, data: T) {
        self.series.push(Series { name: name.into(), data });
    }
}
