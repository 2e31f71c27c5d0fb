//! `top`: what containers use, as it changes.

use std::cmp::Ordering;
use std::io::{stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use brisk::cli::args::{SortKey, TopArgs};
use brisk::cli::filter::ListFilter;
use brisk::cli::output;
use brisk::cli::put::{Format, Word};
use brisk::container::options::Global;
use brisk::error::{Context, Result, Stage};
use brisk::sys::poll::{self, PollFd, PollFlags};
use brisk::sys::signal;

use crate::containers::Finder;
use crate::figures::{Look, Reading};
use crate::looks::{Audience, Looks, Tone, write};
use crate::screen::{Keystroke, Screen, keys};
use crate::stats::{Growing, Shown};
use crate::table::{Align, Cell, Column, cut, lines, number};
use crate::{json, units};

/// Shows them until somebody has seen enough; the exit status.
pub fn top(global: &Global<'_>, args: &TopArgs) -> Result<u8> {
    let TopArgs { ids, interval, sort, filters, once, format, plain } = args;
    let search = Finder::new(global, ids)?;
    let looks = Looks::of_stdout();
    let looks = if *plain { looks.plain() } else { looks };
    let mut ui = Ui { sort: *sort, given: filters.clone(), interval: *interval, ..Ui::default() };
    let first = Look::at(search.look_for_all(filters)?, None);
    if looks.screen && *format == Format::Table && !once {
        return live(&search, first, &mut ui, looks);
    }
    output::check_open()?;
    let stdout = stdout();
    let mut before = first;
    let mut next = Instant::now();
    loop {
        next += *interval;
        // Asked for nothing, it tells that whoever reads has gone (poll(2)).
        let mut reader = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        if poll::undisturbed(&mut reader, Some(next)).at(Stage::Console, || "wait")? {
            return Ok(0);
        }
        let mut look = Look::at(search.look(filters)?, Some(&before));
        sort_rows(&mut look.rows, ui.sort, ui.order);
        let text = match format {
            Format::Json => json::line(&json::look(&look, json::Rated::Yes))?,
            Format::Table => {
                look.problems.told.iter().for_each(|problem| (global.warn)(problem));
                let end = if *once { "\n" } else { "\n\n" };
                table(&look.rows, looks).join("\n") + end
            }
        };
        if write(&text)? == Audience::Gone {
            return Ok(0);
        }
        if *once {
            return search.all_are_shown(&look.subjects(), &look.problems).map(|()| 0);
        }
        before = look;
    }
}

/// What somebody at the terminal has asked for.
#[derive(Clone, Debug, Default)]
struct Ui {
    sort: SortKey,
    order: Order,
    /// The filters of the command line.
    given: Vec<ListFilter>,
    /// What was typed.
    filter: String,
    typing: bool,
    help: bool,
    /// How many lines are above the screen.
    above: usize,
    interval: Duration,
}

/// Which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Usual,
    Reversed,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Draw,
    Resume,
    LookAgain,
    Stop,
    Quit,
}

impl Ui {
    /// All filters; none of what was typed, where that is no filter (yet).
    fn filters(&self) -> Vec<ListFilter> {
        let typed = Some(self.filter.as_str()).filter(|text| !text.is_empty()).and_then(ListFilter::parse);
        self.given.iter().cloned().chain(typed).collect()
    }

    fn press(&mut self, key: &Keystroke, page: usize) -> After {
        if self.typing {
            match key {
                Keystroke::Char(c) => self.filter.push(*c),
                Keystroke::Erase => drop(self.filter.pop()),
                Keystroke::Enter => self.typing = false,
                Keystroke::Escape => (self.typing, self.filter) = (false, String::new()),
                Keystroke::Quit => return After::Quit,
                Keystroke::Stop => return After::Stop,
                Keystroke::Up | Keystroke::Down | Keystroke::PageUp | Keystroke::PageDown => {}
            }
            return After::LookAgain;
        }
        match key {
            Keystroke::Quit | Keystroke::Char('q') => return After::Quit,
            Keystroke::Stop => return After::Stop,
            Keystroke::Char(' ') | Keystroke::Enter => return After::LookAgain,
            Keystroke::Char('/') => (self.typing, self.help) = (true, false),
            Keystroke::Char('?' | 'h') => self.help = !self.help,
            Keystroke::Char('r') => {
                self.order = if self.order == Order::Usual { Order::Reversed } else { Order::Usual }
            }
            Keystroke::Char(c) => {
                if let Some((_, key, _)) = SORTS.iter().find(|(letter, _, _)| letter == c) {
                    self.sort = *key;
                }
            }
            Keystroke::Up => self.above = self.above.saturating_sub(1),
            Keystroke::Down => self.above += 1,
            Keystroke::PageUp => self.above = self.above.saturating_sub(page),
            Keystroke::PageDown => self.above += page,
            Keystroke::Escape if self.help => self.help = false,
            Keystroke::Escape => {
                self.filter.clear();
                return After::LookAgain;
            }
            Keystroke::Erase => {}
        }
        After::Draw
    }
}

/// The keys that sort.
const SORTS: &[(char, SortKey, &str)] = &[
    ('c', SortKey::Cpu, "CPU"),
    ('m', SortKey::Memory, "memory"),
    ('p', SortKey::Pids, "tasks"),
    ('i', SortKey::Io, "bytes read and written"),
    ('t', SortKey::Throttled, "throttling"),
    ('o', SortKey::Oom, "OOM kills"),
    ('w', SortKey::Pressure, "pressure: who waits"),
    ('n', SortKey::Name, "name"),
];

fn live(search: &Finder<'_>, mut look: Look, ui: &mut Ui, looks: Looks) -> Result<u8> {
    let signals = signal::take_all().at(Stage::Signal, || "take the signals")?;
    if let Some(signal) = Screen::await_turn()? {
        return Ok(ended(signal));
    }
    let mut screen = Screen::enter(&signals)?;
    let mut next = Instant::now() + ui.interval;
    loop {
        // Whoever has begun us may have taken the terminal without a word.
        if !Screen::is_ours()
            && let Some(signal) = screen.resume()?
        {
            return Ok(ended(signal));
        }
        sort_rows(&mut look.rows, ui.sort, ui.order);
        let (height, width) = Screen::size();
        let picture = picture(&look, ui, height, Looks { width: Some(width), ..looks });
        if screen.show(&picture)? == Audience::Gone {
            return Ok(0);
        }
        let after = match wait(&signals, &screen, next)? {
            Woken::Time => After::LookAgain,
            Woken::HangUp => return Ok(0),
            Woken::Signals(signals) => match told(&signals) {
                Told::End(signal) => return Ok(ended(signal)),
                Told::Go(after) => after,
            },
            Woken::Keys if !Screen::is_ours() => After::Draw,
            Woken::Keys => match keys()? {
                None => return Ok(0),
                Some(keys) => keys.iter().map(|key| ui.press(key, height)).fold(After::Draw, heavier),
            },
        };
        match after {
            After::Quit => return Ok(0),
            After::Draw => {}
            After::Resume => {
                if let Some(signal) = screen.resume()? {
                    return Ok(ended(signal));
                }
            }
            After::Stop => {
                drop(screen);
                signal::stop_group(libc::SIGTSTP).at(Stage::Signal, || "stop")?;
                if let Some(signal) = Screen::await_turn()? {
                    return Ok(ended(signal));
                }
                screen = Screen::enter(&signals)?;
            }
            After::LookAgain => {
                // Keys do not shorten what rates are measured over to nothing.
                let due = Instant::now() >= next;
                let now = Look::at(search.look(&ui.filters())?, Some(&look));
                look = if due { now } else { keep_rates(now, look) };
                while next <= Instant::now() {
                    next += ui.interval;
                }
            }
        }
    }
}

/// The exit status of who was ended by this signal.
fn ended(signal: i32) -> u8 {
    128u8.saturating_add(u8::try_from(signal).unwrap_or(0))
}

/// The containers of now. Those that were there before keep the figures of then, from which the next rates are measured.
fn keep_rates(now: Look, before: Look) -> Look {
    let known = |row: &Reading| {
        before.rows.iter().find(|old| (&old.subject.id, &old.subject.root) == (&row.subject.id, &row.subject.root))
    };
    let rows = now.rows.into_iter().map(|row| known(&row).cloned().unwrap_or(row)).collect();
    Look { at_ns: before.at_ns, rows, problems: now.problems }
}

fn heavier(one: After, other: After) -> After {
    let weight = |after| match after {
        After::Draw => 0,
        After::Resume => 1,
        After::LookAgain => 2,
        After::Stop => 3,
        After::Quit => 4,
    };
    if weight(one) > weight(other) { one } else { other }
}

/// What ended a wait.
enum Woken {
    Time,
    Keys,
    /// Of the terminal.
    HangUp,
    Signals(Vec<i32>),
}

fn wait(signals: &OwnedFd, screen: &Screen<'_>, next: Instant) -> Result<Woken> {
    let (stdin, stdout) = (stdin(), stdout());
    let mut fds =
        vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(stdout.as_fd(), PollFlags::empty())];
    if screen.has_keys() {
        fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
    }
    poll::undisturbed(&mut fds, Some(next)).at(Stage::Console, || "wait for keys")?;
    let has = |index: usize| fds.get(index).and_then(PollFd::any) == Some(true);
    if has(0) {
        let arrived = signal::pending(signals.as_fd()).at(Stage::Signal, || "read the signals")?;
        return Ok(Woken::Signals(arrived.into_iter().flatten().map(signal::Pending::signal).collect()));
    }
    Ok(match (has(1), has(2)) {
        (true, _) => Woken::HangUp,
        (_, true) => Woken::Keys,
        _ => Woken::Time,
    })
}

/// What signals ask for.
enum Told {
    End(i32),
    Go(After),
}

fn told(signals: &[i32]) -> Told {
    let asks = |wanted: &[i32]| signals.iter().copied().find(|signal| wanted.contains(signal));
    match asks(&signal::ASKS_TO_END) {
        Some(signal) => Told::End(signal),
        None if asks(&[libc::SIGTSTP]).is_some() => Told::Go(After::Stop),
        // By SIGSTOP, of which we are not told: who continues us has had the terminal meanwhile.
        None if asks(&[libc::SIGCONT]).is_some() => Told::Go(After::Resume),
        // SIGWINCH: the picture is drawn for the new size.
        None => Told::Go(After::Draw),
    }
}

fn sort_rows(rows: &mut [Reading], sort: SortKey, order: Order) {
    #[expect(clippy::cast_precision_loss, reason = "what is shown as the same may stand in any order")]
    let float = |number: Option<u64>| number.map(|number| number as f64);
    let key = |row: &Reading| match sort {
        SortKey::Cpu => row.rates.cpus,
        SortKey::Memory => float(row.levels.memory.map(|memory| memory.now)),
        SortKey::Pids => float(row.levels.pids.map(|pids| pids.now)),
        SortKey::Io => row.rates.read.map(|read| read + row.rates.written.unwrap_or(0.0)),
        SortKey::Throttled => row.rates.throttled,
        SortKey::Oom => float(row.totals.oom_kills),
        SortKey::Pressure => {
            let pressure = &row.levels.pressure;
            let all = [&pressure.cpu, &pressure.memory, &pressure.io];
            all.into_iter().flatten().map(|psi| psi.some.avg10).max_by(f64::total_cmp)
        }
        SortKey::Name => None,
    };
    rows.sort_by(|one, other| {
        // The most first, and what is not known last.
        let by_key = match (key(one), key(other)) {
            (Some(one), Some(other)) => other.total_cmp(&one),
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        let by_name = || (&one.subject.id, &one.subject.root).cmp(&(&other.subject.id, &other.subject.root));
        let order_of = if by_key == Ordering::Equal { by_name() } else { by_key };
        if order == Order::Reversed { order_of.reverse() } else { order_of }
    });
}

/// What a terminal of this size shows. It is scrolled to its end at most.
fn picture(look: &Look, ui: &mut Ui, height: usize, looks: Looks) -> Vec<String> {
    let width = looks.width.unwrap_or(usize::MAX);
    let running = look.rows.iter().filter(|row| row.subject.init.is_some()).count();
    let sort =
        SortKey::VALUES.iter().zip(SortKey::WORDS).find(|(value, _)| **value == ui.sort).map_or("", |(_, word)| word);
    let order = if ui.order == Order::Reversed { " reversed" } else { "" };
    let title = format!("brisk top: {} containers, {running} running, by {sort}{order}", look.rows.len());
    let mut picture = vec![looks.paint(Tone::Title, &cut(&title, width, looks)), status(look, ui, looks, width)];
    let room = height.saturating_sub(picture.len() + 1);
    let mut table = if ui.help { help(looks, width) } else { table(&look.rows, looks) };
    let head = if ui.help { Vec::new() } else { table.drain(..1).collect() };
    let rows = room.saturating_sub(head.len());
    let above = ui.above.min(table.len().saturating_sub(rows));
    // However often a key was pressed at the end, the other way leads back at once.
    ui.above = above;
    let below = table.len().saturating_sub(above + rows);
    picture.extend(head);
    picture.extend(table.into_iter().skip(above).take(rows));
    picture.truncate(height.saturating_sub(1));
    picture.resize(height.saturating_sub(1), String::new());
    let keys = "q quit  ? help  / filter  r reverse  c m p i t o w n sort";
    let more = if above + below > 0 { format!("{above} above, {below} below  ") } else { String::new() };
    picture.push(looks.paint(Tone::Faint, &cut(&(more + keys), width, looks)));
    picture
}

/// The line below the title: what is filtered, and what could not be read.
fn status(look: &Look, ui: &Ui, looks: Looks, width: usize) -> String {
    if ui.typing || !ui.filter.is_empty() {
        let known = ui.filter.is_empty() || ListFilter::parse(&ui.filter).is_some();
        let cursor = if ui.typing { "_" } else { "" };
        let note = if known { "" } else { "  no such field" };
        return cut(&format!("filter: {}{cursor}{note}", ui.filter), width, looks);
    }
    match look.problems.told.as_slice() {
        [] => String::new(),
        [first, others @ ..] => {
            let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            let line = brisk::error::printable(&(first.clone() + &more));
            looks.paint(Tone::Warning, &cut(&line, width, looks))
        }
    }
}

fn help(looks: Looks, width: usize) -> Vec<String> {
    let sorts = SORTS.iter().map(|(letter, _, what)| format!("{letter}        sort by {what}"));
    let others = [
        "r        the other way round",
        "/        show only names with a part, or FIELD=VALUE, FIELD~PART;",
        "         fields are id, status, bundle, owner, runtime, annotation.NAME",
        "Escape   show all",
        "Space    look now",
        "arrows   scroll",
        "q        quit",
    ];
    sorts.chain(others.map(str::to_owned)).map(|line| cut(&line, width, looks)).collect()
}

const COLUMNS: &[Column] = &[
    Column { title: "ID", spare: 0, least: 12, side: Align::Left },
    Column { title: "RUNTIME", spare: 9, least: 0, side: Align::Left },
    Column { title: "STATUS", spare: 5, least: 7, side: Align::Left },
    wide("CPU%", 0, 6),
    wide("MEMORY", 0, 6),
    wide("LIMIT", 2, 5),
    wide("MEM%", 3, 5),
    wide("PIDS", 1, 5),
    wide("READ/s", 4, 6),
    wide("WRITE/s", 4, 7),
    wide("THROTTLED%", 6, 0),
    wide("OOM", 3, 4),
    number("CPU WAIT%", 7),
    number("MEM WAIT%", 8),
    number("IO WAIT%", 8),
];

const fn wide(title: &'static str, spare: u8, least: usize) -> Column {
    Column { title, spare, least, side: Align::Right }
}

fn table(rows: &[Reading], looks: Looks) -> Vec<String> {
    let cells: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            let shown = Shown { row, looks };
            let rates = &row.rates;
            let cpu = shown.known(rates.cpus.map(units::percent));
            let (read, written) =
                (shown.known(rates.read.map(units::rate)), shown.known(rates.written.map(units::rate)));
            let throttled = shown.known(rates.throttled.map(units::percent));
            let held = rates.throttled.is_some_and(|share| share >= 0.05);
            let throttled = if held { throttled.toned(Tone::Warning) } else { throttled };
            shown.cells(Growing { cpu, read, written, throttled })
        })
        .collect();
    lines(COLUMNS, &cells, looks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::tests::{look, view};

    #[test]
    fn a_picture_fits_the_terminal() {
        let mut look = look();
        look.problems.told = vec!["x: bad \x1b[2J".to_owned(), "y".to_owned()];
        sort_rows(&mut look.rows, SortKey::Cpu, Order::Usual);
        for (width, height) in [(40, 6), (80, 24), (160, 12)] {
            let looks = Looks { unicode: width > 40, width: Some(width), ..Looks::PLAIN };
            let mut ui = Ui { interval: Duration::from_secs(1), above: usize::from(width == 40), ..Ui::default() };
            let lines = picture(&look, &mut ui, height, looks);
            assert_eq!(lines.len(), height);
            assert!(lines.iter().all(|line| line.chars().count() <= width && !line.contains('\x1b')), "{lines:?}");
            view(&format!("top-{width}.txt"), &(lines.join("\n") + "\n"));
        }
        for (height, width) in [(1, 1), (2, 3), (3, 200), (9, 1), (9, 5), (9, 10), (9, 17)] {
            let lines = picture(&look, &mut Ui::default(), height, Looks { width: Some(width), ..Looks::PLAIN });
            assert_eq!(lines.len(), height);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
        }
    }

    #[test]
    fn colours_are_orders_to_the_terminal_and_nothing_else() {
        let looks = Looks { screen: true, colours: true, unicode: true, width: Some(80) };
        let with = picture(&look(), &mut Ui::default(), 10, looks).join("\n");
        let without = picture(&look(), &mut Ui::default(), 10, Looks { colours: false, ..looks }).join("\n");
        assert!(with.contains("\x1b[1;31m"), "{with}");
        let mut plain = with;
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[1;31m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, without);
    }

    #[test]
    fn it_is_scrolled_to_its_end_at_most() {
        let (look, looks) = (look(), Looks { width: Some(80), ..Looks::PLAIN });
        let mut ui = Ui::default();
        let whole = picture(&look, &mut ui, 24, looks);
        for height in [1, 5, 6, 24] {
            for _ in 0..50 {
                ui.press(&Keystroke::PageDown, height);
                picture(&look, &mut ui, height, looks);
            }
            let last = picture(&look, &mut ui, height, looks);
            assert!(height < 5 || last.contains(&whole[5]), "{height} {last:#?}");
            for _ in 0..3 {
                ui.press(&Keystroke::Up, height);
                picture(&look, &mut ui, height, looks);
            }
            assert_eq!(ui.above, 0, "{height}");
        }
    }

    #[test]
    fn rows_are_sorted_by_what_is_known() {
        let mut rows = look().rows;
        for (sort, order, first) in [
            (SortKey::Cpu, Order::Usual, "web"),
            (SortKey::Name, Order::Usual, "0e55"),
            (SortKey::Name, Order::Reversed, "web"),
            (SortKey::Memory, Order::Reversed, "rootless"),
        ] {
            sort_rows(&mut rows, sort, order);
            assert!(rows[0].subject.id.starts_with(first), "{sort:?} {order:?}");
        }
    }

    #[test]
    fn keys_change_what_is_shown() {
        let mut ui = Ui::default();
        assert_eq!(ui.press(&Keystroke::Char('m'), 10), After::Draw);
        assert_eq!(ui.sort, SortKey::Memory);
        for c in "/status=run".chars() {
            ui.press(&Keystroke::Char(c), 10);
        }
        assert_eq!((ui.filters().len(), ui.typing), (1, true));
        assert_eq!(ui.press(&Keystroke::Enter, 10), After::LookAgain);
        assert_eq!(ui.press(&Keystroke::Char('q'), 10), After::Quit);
        ui.press(&Keystroke::Escape, 10);
        assert!(ui.filters().is_empty());
        assert_eq!(ui.press(&Keystroke::Quit, 10), After::Quit);
    }
}
