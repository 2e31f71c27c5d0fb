//! The subordinate ids of a user (subuid(5), subgid(5)), and whether the programs that map them are there. Reads only; runs in
//! the parent.

use serde::{Deserialize, Serialize};

use super::programs::find_program;
use crate::error::{Context, Result, Stage};
use crate::proc::file;
use crate::proc::passwd::Users;

/// What an ordinary user may map besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SubIds {
    /// Of /etc/subuid.
    pub uids: Vec<SubRange>,
    /// Of /etc/subgid.
    pub gids: Vec<SubRange>,
    /// Both newuidmap(1) and newgidmap(1) are there.
    pub helpers: bool,
}

impl SubIds {
    /// The subordinate ids of `uid`.
    pub fn read(uid: u32) -> Result<SubIds> {
        // A user that only a directory service knows has sub-ids by number.
        let users = Users::of_host().at(Stage::Host, || "read /etc/passwd")?;
        let name = users.name(uid);
        let ranges = |path| Ok(parse_sub_ids(&text(path)?, name, uid));
        let helpers = ["newuidmap", "newgidmap"].iter().all(|helper| find_program(helper).is_some());
        Ok(SubIds { uids: ranges("/etc/subuid")?, gids: ranges("/etc/subgid")?, helpers })
    }

    /// Whether they can be mapped.
    pub fn usable(&self) -> bool {
        self.helpers && !self.uids.is_empty() && !self.gids.is_empty()
    }
}

/// A file that need not be there. The names of others in it need not be text.
fn text(path: &str) -> Result<String> {
    match file::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        result => Ok(String::from_utf8_lossy(&result.at(Stage::Host, || format!("read {path}"))?).into_owned()),
    }
}

/// Ids that a user may map through newuidmap(1): a line of /etc/subuid or /etc/subgid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "named in the line above")]
pub struct SubRange {
    pub start: u32,
    pub count: u32,
}

/// Reads /etc/subuid or /etc/subgid for one user: lines `NAME:START:COUNT`, where NAME is the user's login
/// name or number (both files name *users*). Lines that make no sense are skipped, as newuidmap(1) does.
pub fn parse_sub_ids(text: &str, name: Option<&str>, uid: u32) -> Vec<SubRange> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().splitn(3, ':');
            let owner = fields.next()?;
            if Some(owner) != name && owner != number {
                return None;
            }
            let range = SubRange { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
            (range.count > 0 && range.start.checked_add(range.count).is_some()).then_some(range)
        })
        .collect()
}
