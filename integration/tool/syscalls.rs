//! Names of system calls, from libc's own numbers, for whatever architecture this is built for.

macro_rules! names {
    ($list:ident: $($name:ident => $number:ident,)*) => {
        /// Numbers with names; a call that is not listed shows as its number.
        const $list: &[(libc::c_long, &str)] = &[$((libc::$number, stringify!($name)),)*];
    };
}

include!("syscall_names.rs");

/// The name of a system call.
pub fn name(nr: u64) -> String {
    let known = NAMES.iter().chain(LEGACY).find(|(number, _)| u64::try_from(*number).is_ok_and(|number| number == nr));
    known.map_or_else(|| format!("sys_{nr}"), |(_, name)| (*name).to_owned())
}
