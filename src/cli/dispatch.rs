//! From a parsed command to the call that does it, and from its result to text.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::{
    EventsArgs, ListArgs, MountsAction, MountsArgs, PoolAction, PoolArgs, PsArgs, SpecArgs, UpdateArgs, WaitArgs,
};
use super::filter::ListFormat;
use super::output::Audience;
use super::put::Format;
use super::verbs::Request;
use super::{check, completion, features, insight, list, man, output, plan};
use crate::compose::{ReportRow, compose};
use crate::container;
use crate::container::options::{Global, LimitChange, NewPool, Update};
use crate::error::{Context, Origins, Result, SaidBy, Stage, printable};
use crate::spec::{self, mounts::Mount, resources::Resources};
use crate::sys;

/// Does it; the exit status.
pub fn dispatch(global: &Global, request: &Request) -> Result<u8> {
    let done = match request {
        Request::Run(args) if args.pool.is_some() => return container::pool::run(global, args),
        Request::Run(args) => return container::run(global, args),
        Request::Pool(args) => return pool(global, args),
        Request::Create(args) => return container::create(global, args),
        Request::Restart(args) => return container::restart(global, args),
        Request::Exec(args) => return container::exec(global, args),
        Request::Restore(args) => return container::restore(global, args),
        Request::Check(args) => return check::check(global, args),
        Request::Wait(args) => return wait(global, args),
        Request::Stats(_)
        | Request::Top(_)
        | Request::Inspect(_)
        | Request::Diff(_)
        | Request::Memory(_)
        | Request::Trace(_)
        | Request::Record(_) => return insight::execute(),
        Request::Plan(args) if args.is_drawn() || plan::is_saved(&args.bundle) => return insight::execute(),
        Request::Start(args) => container::start(global, args),
        Request::Checkpoint(args) => container::checkpoint(global, args),
        Request::Delete(args) => container::delete(global, args),
        Request::Kill(args) => container::kill(global, args),
        Request::Pause(id) => container::pause(global, id),
        Request::Resume(id) => container::resume(global, id),
        Request::Update(args) => update(global, args),
        Request::State(id) => output::print(&output::pretty(&container::state(global, id)?)?),
        Request::List(args) => list(global, args),
        Request::Ps(args) => ps(global, args),
        Request::Events(args) => events(global, args),
        Request::Features(()) => output::print(&output::pretty(&features::document(sys::seccomp::probe()))?),
        Request::Spec(args) => write_spec(args),
        Request::Completion(shell) => output::print(&completion::script(*shell)),
        Request::Man(dir) => write_pages(dir),
        Request::Mounts(args) => mounts(global, args),
        Request::Plan(args) => plan::plan(global, args, None),
    };
    done.map(|()| 0)
}

/// What timeout(1) exits with.
const TIMED_OUT: u8 = 124;

/// The status is printed, as by docker and podman: as our own it could not be told from a failure.
fn wait(global: &Global, args: &WaitArgs) -> Result<u8> {
    let WaitArgs { id, timeout } = args;
    match container::wait(global, id, *timeout)? {
        Some(outcome) => output::print(&format!("{}\n", outcome.exit_status)).map(|()| 0),
        None => Ok(TIMED_OUT),
    }
}

fn list(global: &Global, args: &ListArgs) -> Result<()> {
    let ListArgs { format, filters, quiet } = args;
    if *quiet && filters.is_empty() {
        let (names, read) = container::names(global)?;
        output::print(&names.into_iter().fold(String::new(), |text, name| text + &name + "\n"))?;
        return read;
    }
    let (mut shown, read) = container::list(global)?;
    shown.retain(|view| filters.iter().all(|filter| list::holds(filter, view)));
    output::print(&match format {
        _ if *quiet => shown.iter().fold(String::new(), |text, view| text + &view.id + "\n"),
        ListFormat::Table => output::table(&shown),
        ListFormat::Json => output::compact(&shown)?,
        ListFormat::Fields(fields) => list::fields(fields, &shown),
    })?;
    read
}

fn ps(global: &Global, args: &PsArgs) -> Result<()> {
    let PsArgs { id, format, options } = args;
    let pids = container::pids(global, id)?;
    match format {
        Format::Json => output::print(&output::compact(&pids)?),
        Format::Table => output::print_lines(&output::filter_ps(&container::ps(options)?, &pids)?),
    }
}

fn pool(global: &Global, args: &PoolArgs) -> Result<u8> {
    let PoolArgs { action, name, bundle, size, format } = args;
    let name = name.as_deref().unwrap_or_default();
    let done = match action {
        PoolAction::Create => {
            let bundle = bundle.clone().unwrap_or_else(|| ".".into());
            let new = NewPool { name: name.to_owned(), bundle, size: size.unwrap_or(1) };
            return container::pool::create(global, &new);
        }
        PoolAction::Fill => return container::pool::fill(global, name),
        PoolAction::Drain => container::pool::drain(global, name),
        PoolAction::Delete => container::pool::delete(global, name),
        PoolAction::Stats => output::print(&output::pretty(&container::pool::stats(global, name)?)?),
        PoolAction::List => match format {
            Format::Table => output::print(&output::pools(&container::pool::list(global)?)),
            Format::Json => output::print(&output::compact(&container::pool::list(global)?)?),
        },
    };
    done.map(|()| 0)
}

fn mounts(global: &Global, args: &MountsArgs) -> Result<()> {
    let MountsArgs { action, id, file } = args;
    let list: Vec<Mount> = spec::load_json(file, global.warn)?;
    let done = match action {
        MountsAction::Add => container::add_mounts(global, id, &list),
        MountsAction::Remove => container::remove_mounts(global, id, &list),
    };
    done.said_by(|| Origins::of_file("mounts", file.to_string_lossy()))
}

fn events(global: &Global, args: &EventsArgs) -> Result<()> {
    let EventsArgs { id, interval, stats } = args;
    if *stats {
        return output::print(&output::compact(&container::stats(global, id)?)?);
    }
    container::events(global, id, *interval, sys::fs::STDOUT, &mut |event| {
        let audience = output::write(&output::compact(event)?)?;
        Ok(if audience == Audience::Gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

fn update(global: &Global, args: &UpdateArgs) -> Result<()> {
    let UpdateArgs {
        ids,
        files,
        // `UpdateArgs::resources`.
        memory: _,
        cpu: _,
        block_io: _,
        pids: _,
        l3_cache_schema,
        mem_bw_schema,
        device_rules,
        force,
        // `UpdateArgs::transfer`.
        amounts: _,
        steps: _,
        interval: _,
        dry_run: _,
        format,
    } = args;
    if let Some(transfer) = args.transfer() {
        if *format == Format::Json {
            // What was moved cannot be moved again to be told of.
            output::check_open()?;
        }
        let rows = container::move_limits(global, &transfer)?;
        return match format {
            Format::Json => output::print(&output::pretty(&output::transfer(&transfer, &rows))?),
            Format::Table if transfer.dry_run => output::print(&output::steps(&transfer, &rows)),
            Format::Table => Ok(()),
        };
    }
    if !files.is_empty() && args.resources() != Resources::default() {
        (global.warn)(
            "update: the limits are those of --resources: others on the command line are left out, as with runc",
        );
    }
    let same = |id: &String, (resources, origins): &(Resources, Origins)| LimitChange {
        id: id.clone(),
        resources: resources.clone(),
        origins: origins.clone(),
    };
    let changes = match files.as_slice() {
        [] => {
            let all = (args.resources(), args.origins());
            ids.iter().map(|id| same(id, &all)).collect()
        }
        [file] => {
            let all = read_resources(file, global.warn)?;
            ids.iter().map(|id| same(id, &all)).collect()
        }
        files => {
            let each = ids.iter().zip(files);
            each.map(|(id, file)| Ok(same(id, &read_resources(file, global.warn)?))).collect::<Result<_>>()?
        }
    };
    let update = Update {
        changes,
        l3_cache_schema: l3_cache_schema.clone(),
        mem_bw_schema: mem_bw_schema.clone(),
        device_rules: *device_rules,
        force: *force,
    };
    container::update(global, &update)
}

/// linux.resources as JSON; `-` is standard input.
fn read_resources(file: &Path, warn: &dyn Fn(&str)) -> Result<(Resources, Origins)> {
    let (name, resources) = match file.to_str() {
        Some("-") => ("standard input".into(), spec::read_json(std::io::stdin(), "standard input", warn)?),
        _ => (file.to_string_lossy(), spec::load_json(file, warn)?),
    };
    Ok((resources, Origins::of_file("linux.resources", name)))
}

fn write_spec(args: &SpecArgs) -> Result<()> {
    let SpecArgs { bundle, file, outline, program, with } = args;
    let name = file.clone().unwrap_or_else(|| PathBuf::from("config.json"));
    let Some(program) = program else {
        return container::write_spec(bundle.as_deref(), &name, outline);
    };
    let report = container::compose_bundle(bundle.as_deref(), &name, outline, &compose(program, with)?)?;
    // A row is a line, whatever is in a file's name.
    let line = |row: &ReportRow| printable(&format!("{:<6} {} ({})", row.taken.word(), row.what, row.why)) + "\n";
    output::print(&report.iter().map(line).collect::<String>())
}

fn write_pages(dir: &Path) -> Result<()> {
    man::pages().into_iter().try_for_each(|(name, text)| {
        let path = dir.join(name);
        std::fs::write(&path, text).at(Stage::Args, || format!("write {}", path.display()))
    })
}
