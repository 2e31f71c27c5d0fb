//! `memory --svg`: what containers have for themselves and what they share, as bars of one scale.

use super::look::{ContainerMemory, MemoryLook};
use crate::looks::Looks;
use crate::svg::{Svg, WIDTH, short_path};
use crate::table::cut;
use crate::units;

/// Files of a container, and of all between containers, that are drawn.
const MOST_FILES: usize = 10;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 90.0;
const LINE: f64 = 18.0;

/// The picture.
pub fn draw(look: &MemoryLook) -> String {
    let mut picture = Svg::default();
    picture.y = 28.0;
    picture.text((16.0, picture.y), "title", "Memory of containers");
    picture.y += 22.0;
    for (x, class, said) in [(16.0, "b", "private"), (110.0, "a", "shared, with whomever"), (280.0, "c", "share (PSS)")]
    {
        picture.bar((x, picture.y - 10.0), (12.0, 12.0), class, "");
        picture.text((x + 18.0, picture.y), "faint", said);
    }
    picture.text((WIDTH - 16.0, picture.y), "faint end", "resident / share");
    picture.y += 14.0;
    let largest =
        look.containers.iter().filter_map(ContainerMemory::mapped).map(|mapped| mapped.rss).max().unwrap_or(0);
    let scale = Scale { largest: largest.max(1) };
    for one in &look.containers {
        container(&mut picture, look, one, &scale);
    }
    between(&mut picture, look);
    picture.finish("Memory of containers")
}

struct Scale {
    largest: u64,
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a length in a picture")]
    fn of(&self, bytes: u64) -> f64 {
        (WIDTH - LEFT - RIGHT) * bytes.min(self.largest) as f64 / self.largest as f64
    }
}

fn container(picture: &mut Svg, look: &MemoryLook, one: &ContainerMemory, scale: &Scale) {
    let subject = &one.reading.subject;
    picture.y += 14.0;
    picture.bar((16.0, picture.y), (WIDTH - 32.0, 1.0), "rule", "");
    picture.y += 18.0;
    let level = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), units::bytes);
    let levels = &one.reading.levels;
    picture.text((16.0, picture.y), "title", &cut(&subject.id, 48, Looks { unicode: true, ..Looks::PLAIN }));
    let of_cgroup = format!(
        "processes {}; cgroup {}: cache {}, of it tmpfs {}, kernel {}",
        one.processes.len() + one.unread,
        level(levels.memory.map(|memory| memory.now)),
        level(levels.cache),
        level(levels.shmem),
        level(levels.kernel)
    );
    picture.text((WIDTH - 16.0, picture.y), "faint end", &of_cgroup);
    picture.y += LINE;
    let Some(sum) = one.mapped() else {
        picture.text((16.0, picture.y), "faint", "what its processes have mapped cannot be read");
        return;
    };
    bars(picture, scale, "all of it", sum.private, sum.shared, sum.pss);
    let there = one.files.iter().filter(|file| file.mapped.rss > 0);
    for file in there.clone().take(MOST_FILES) {
        let users = file.cache.map_or(1, |at| look.caches.all[at].users.len());
        let in_others = if users > 1 { format!(" (in {users})") } else { String::new() };
        let name = short_path(&file.path, 38) + &in_others;
        bars(picture, scale, &name, file.mapped.private, file.mapped.shared, file.mapped.pss);
    }
    let more = there.count().saturating_sub(MOST_FILES);
    if more > 0 {
        picture.text((16.0, picture.y + 12.0), "faint", &format!("{more} more"));
        picture.y += LINE;
    }
}

fn bars(picture: &mut Svg, scale: &Scale, name: &str, private: u64, shared: u64, pss: u64) {
    let y = picture.y;
    let said =
        format!("private {}, shared {}, share {}", units::bytes(private), units::bytes(shared), units::bytes(pss));
    picture.text((16.0, y + 12.0), "", name);
    picture.bar((LEFT, y + 2.0), (scale.of(private), 8.0), "b", &said);
    picture.bar((LEFT + scale.of(private), y + 2.0), (scale.of(shared), 8.0), "a", &said);
    picture.bar((LEFT, y + 11.0), (scale.of(pss), 3.0), "c", &said);
    let all = format!("{} / {}", units::bytes(private + shared), units::bytes(pss));
    picture.text((WIDTH - 16.0, y + 12.0), "end", &all);
    picture.y += LINE;
}

fn between(picture: &mut Svg, look: &MemoryLook) {
    if look.containers.len() < 2 {
        return;
    }
    picture.y += 14.0;
    picture.bar((16.0, picture.y), (WIDTH - 32.0, 1.0), "rule", "");
    picture.y += 18.0;
    picture.text((16.0, picture.y), "title", "Between them");
    picture.y += LINE;
    let mut line = |text: String| {
        picture.text((16.0, picture.y), "", &text);
        picture.y += LINE;
    };
    for set in look.copies.iter().flatten().take(MOST_FILES) {
        let path = short_path(&look.caches.all[set.caches[0]].path, 60);
        line(format!("{} copies of {path}: one would save {}", set.caches.len(), units::bytes(set.saves)));
    }
    let shared = look.shared();
    for at in shared.iter().take(MOST_FILES) {
        let cache = &look.caches.all[*at];
        let path = short_path(&cache.path, 60);
        line(format!("shared by {}: {path}, {} in all", cache.users.len(), units::bytes(cache.pss)));
    }
    if look.copies.is_none() {
        line("whether files are copies of each other cannot be read".to_owned());
    } else if shared.is_empty() && look.copies.iter().flatten().next().is_none() {
        line("no file is shared, and none is there twice".to_owned());
    }
}
