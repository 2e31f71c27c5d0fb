//! The progress bar on standard error; silent when that is not a terminal, save for one line per experiment.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// One bar, redrawn at most ten times a second and never inside a measured interval.
pub struct Progress {
    title: String,
    total: usize,
    done: usize,
    start: Instant,
    drawn: Option<Instant>,
    terminal: bool,
}

impl Progress {
    pub fn new(title: &str, total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { title: title.into(), total: total.max(1), done: 0, start: Instant::now(), drawn: None, terminal }
    }

    pub fn step(&mut self) {
        self.done = (self.done + 1).min(self.total);
        let due = self.drawn.is_none_or(|last| last.elapsed() > Duration::from_millis(100));
        if self.terminal && due {
            self.draw('\r');
            self.drawn = Some(Instant::now());
        }
    }

    fn draw(&self, end: char) {
        const WIDTH: usize = 30;
        let filled = WIDTH * self.done / self.total;
        let bar: String = (0..WIDTH).map(|cell| if cell < filled { '█' } else { '·' }).collect();
        let seconds = self.start.elapsed().as_secs_f64();
        let left = match self.done {
            0 => String::new(),
            done if done == self.total => " ".repeat(18),
            done => format!(", {:.0} s to go   ", seconds / done as f64 * (self.total - done) as f64),
        };
        eprint!("{:<36} {bar} {:>5}/{:<5} {seconds:6.1} s{left}{end}", self.title, self.done, self.total);
        if std::io::stderr().flush().is_err() {
            // A closed standard error is no reason to stop measuring.
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.draw('\n');
    }
}
