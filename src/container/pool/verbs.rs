//! What is done with a pool as a whole.

use std::time::Duration;

use serde::Serialize;

use super::fill as filling;
use super::fill::{remove, remove_orphans};
use super::inherited::{self, Inheritance};
use super::store::{Definition, Pool, fits, names};
use crate::container::lookup::Container;
use crate::container::options::{Global, NewPool};
use crate::error::{Context, Result, Stage};
use crate::proc;
use crate::spec::annotations;
use crate::state::{Dir, Lock, ProcessId, Wait};
use crate::sys::process;

/// How long whoever claims a member may hold it before a `drain` gives up: that ends with the start of its program.
const CLAIMED: Duration = Duration::from_secs(20);

/// A pool, as `list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "docs/PREPARED.md describes them")]
pub struct PoolView {
    pub name: String,
    pub bundle: String,
    pub size: u32,
    pub waiting: usize,
}

/// A pool, as `stats` shows it. What the kernel does not tell is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "docs/PREPARED.md describes them")]
pub struct PoolStats {
    #[serde(flatten)]
    pub pool: PoolView,
    pub claimed: usize,
    pub stale: usize,
    pub process_bytes: u64,
    pub kernel_bytes: Option<u64>,
}

/// Makes a pool and fills it; the exit status. Where that fails nothing is left.
pub fn create(global: &Global, args: &NewPool) -> Result<u8> {
    let NewPool { name, bundle, size } = args;
    let what = || format!("find the bundle {}", bundle.display());
    let dir = std::path::absolute(bundle).at(Stage::Bundle, what)?;
    let all = inherited::all(global)?;
    inherited::refuse_what_cannot_be_compared(&all)?;
    let definition = Definition::new(global, dir, *size, all);
    let spec = filling::prepare(&definition.outside(global), &definition)?;
    let inherited = inherited::kept(definition.inherited, &spec, global.cgroups);
    let definition = Definition { inherited, ..definition };
    if spec.root.as_ref().is_some_and(|root| !root.readonly) && annotations::overlay(&spec)?.is_none() {
        (global.warn)(
            "the root of the bundle can be written, and what one job writes there the next one finds: \
             root.readonly, or an overlay (`spec --overlay tmpfs`), keeps them apart",
        );
    }
    let missing = Pool::missing_directory(global)?;
    let own = process::getpid();
    // What failed in a keeper is told by it, and taken away by us.
    let is_ours = |filled: &Result<u8>| process::getpid() == own && !matches!(filled, Ok(0));
    let filled = Pool::claim(global, name).and_then(|(pool, lock)| {
        let filled = pool.define(&definition).and_then(|()| filling::fill(global, &pool, &definition));
        if is_ours(&filled) {
            end(global, &pool, lock).unwrap_or_else(|failure| (global.warn)(&failure.to_string()));
        }
        filled
    });
    if is_ours(&filled) {
        // Unless somebody else has made something in it by now.
        drop(missing.map(std::fs::remove_dir));
    }
    filled
}

/// Makes as many members wait as the pool is to have, in place of those that do not fit any more; the exit status.
pub fn fill(global: &Global, name: &str) -> Result<u8> {
    let pool = Pool::find(global, name)?;
    let prepare = |definition: &Definition| filling::prepare(&definition.outside(global), definition);
    // Before the lock: this may start brisk again.
    prepare(&pool.defined()?)?;
    let _lock = pool.lock(Wait::Forever)?;
    let definition = pool.defined()?;
    inherited::refuse_others(&definition.inherited, &prepare(&definition)?, global)?;
    remove_orphans(&definition.outside(global), &pool)?;
    filling::fill(global, &pool, &definition)
}

/// Deletes every member that waits.
pub fn drain(global: &Global, name: &str) -> Result<()> {
    let pool = Pool::find(global, name)?;
    let _lock = pool.lock(Wait::Forever)?;
    empty(global, &pool, &pool.defined()?)
}

fn empty(global: &Global, pool: &Pool, definition: &Definition) -> Result<()> {
    let inside = definition.inside(global, pool);
    for member in pool.members()? {
        // One that is being claimed is a container by then.
        remove(&inside, pool, &member, Wait::Within(CLAIMED), |_| Ok(false))?;
    }
    remove_orphans(&definition.outside(global), pool)
}

/// Deletes a pool. Containers whose program runs are containers as any other.
pub fn delete(global: &Global, name: &str) -> Result<()> {
    let pool = Pool::find(global, name)?;
    let lock = pool.lock(Wait::Forever)?;
    end(global, &pool, lock)
}

fn end(global: &Global, pool: &Pool, _lock: Lock) -> Result<()> {
    // One that was never defined has no members of another driver's.
    let definition = pool.definition()?.unwrap_or_else(|| Definition::new(global, "/".into(), 0, Inheritance::new()));
    empty(global, pool, &definition)?;
    pool.dir.remove()
}

/// Shows all pools.
pub fn list(global: &Global) -> Result<Vec<PoolView>> {
    let mut views = Vec::new();
    for name in names(global)? {
        let Some(pool) = Pool::look_up(global, &name)? else { continue };
        // One that is being made or deleted is none.
        let Some(definition) = pool.definition()? else { continue };
        views.push(view(&pool, &definition)?.0);
    }
    Ok(views)
}

/// A pool, and those of its members that do not fit.
fn view(pool: &Pool, definition: &Definition) -> Result<(PoolView, Vec<Container>, usize)> {
    let (mut waiting, mut stale) = (Vec::new(), 0);
    for name in pool.members()? {
        match pool.member(&name) {
            Ok(Some(member)) if fits(definition, &member).unwrap_or(false) => waiting.push(member),
            // Claimed, deleted, or not finished.
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => stale += 1,
        }
    }
    let bundle = definition.bundle.to_string_lossy().into_owned();
    let view = PoolView { name: pool.name.clone(), bundle, size: definition.size, waiting: waiting.len() };
    Ok((view, waiting, stale))
}

/// What a pool has, and what it costs.
pub fn stats(global: &Global, name: &str) -> Result<PoolStats> {
    let pool = Pool::find(global, name)?;
    let definition = pool.defined()?;
    let (view, waiting, stale) = view(&pool, &definition)?;
    let (mut process_bytes, mut kernel_bytes) = (0, None);
    for Container { record, .. } in &waiting {
        let keeper = record.member.as_ref().map(|member| member.keeper);
        for ProcessId { pid, .. } in record.init.into_iter().chain(keeper) {
            process_bytes += proc::status::resident(pid).at(Stage::State, || format!("read /proc/{pid}/status"))?;
        }
    }
    for member in &waiting {
        let Some(cgroup) = member.cgroup()? else { continue };
        if let Some(bytes) = cgroup.kernel_memory()? {
            *kernel_bytes.get_or_insert(0) += bytes;
        }
    }
    Ok(PoolStats { pool: view, claimed: claimed(global, &pool)?, stale, process_bytes, kernel_bytes })
}

/// How many containers were this pool's, and are there still.
fn claimed(global: &Global, pool: &Pool) -> Result<usize> {
    let ids = global.root.ids()?;
    let records = ids.iter().filter_map(|id| Dir::find(&global.root, id).ok()??.find_record().ok()?);
    Ok(records.filter(|record| record.member.as_ref().is_some_and(|member| member.pool == pool.name)).count())
}
