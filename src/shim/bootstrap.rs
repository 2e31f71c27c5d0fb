//! What containerd runs: `start`, which leaves the shim behind; `delete`, after a shim has died; and `-info`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::Backlog;
use serde::Deserialize;

use super::fault::{Answer, Code, Fault};
use super::flags::Flags;
use super::options::Options;
use super::os::{self, Moment};
use super::protobuf::{Message, Writer, answer};
use super::publisher::{self, Publisher};
use super::runtime::{self, Runtime};
use super::service::Shim;
use super::shared::{Shared, identifier};
use super::ttrpc::{self, Connection};
use super::{console, events, logger, reactor, reaper, rootfs, sha256};

/// Where shims have their sockets, unless containerd names a directory.
const SOCKETS: &str = "/run/containerd/s";
/// Annotations that name the group of a container, the first that is there.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];
/// How much containerd may send on standard input.
const INPUT: u64 = 10 << 20;

pub fn main() -> i32 {
    let program = os::arguments::all().into_iter().next().unwrap_or_default();
    let done = os::prepare().map_err(Fault::from).and_then(|()| {
        if os::is_setuid() {
            // Whoever could run it so would be root.
            return Err(Fault::unknown(
                "it has another user's rights than its caller's: `chmod ug-s` and `setcap -r` it",
            ));
        }
        run(&program)
    });
    match done {
        Ok(()) => 0,
        Err(fault) => {
            let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
            // There is nobody else to tell.
            let _ = os::write(io::stderr().as_fd(), format!("{name}: {}\n", fault.message).as_bytes());
            1
        }
    }
}

fn run(program: &OsStr) -> Answer<()> {
    let words = os::arguments::all().into_iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let flags = Flags::parse(words).map_err(Fault::unknown)?;
    if flags.version {
        let text = format!("{}:\n  Version:  {}\n", program.to_string_lossy(), env!("CARGO_PKG_VERSION"));
        return Ok(os::write_all(io::stdout().as_fd(), text.as_bytes())?);
    }
    if flags.info {
        return info(program);
    }
    if flags.namespace.is_empty() {
        return Err(Fault::unknown("shim namespace cannot be empty"));
    }
    identifier(&flags.namespace).map_err(Fault::doing("namespace"))?;
    identifier(&flags.id).map_err(Fault::doing("id"))?;
    match flags.action.as_str() {
        "start" => start(program, &flags),
        "delete" => delete(program, &flags),
        other => Err(Fault::unknown(format!("{other:?} is neither start nor delete"))),
    }
}

fn input() -> Answer<Vec<u8>> {
    let mut input = Vec::new();
    io::stdin().lock().take(INPUT).read_to_end(&mut input).map_err(Fault::doing("failed to read stdin"))?;
    Ok(input)
}

/// What containerd says at a start: since 2.3 a BootstrapParams message on standard input, before that flags, the environment,
/// and the options alone on standard input.
#[derive(Debug, Default)]
struct Params {
    ttrpc: String,
    sockets: String,
    options: Options,
    /// The answer may be a message too.
    modern: bool,
}

impl Params {
    fn read(input: &[u8], flags: &Flags) -> Answer<Params> {
        let environment = std::env::var("TTRPC_ADDRESS").unwrap_or_default();
        let message = Message::new(input)?;
        // Both have a text in the first field: an Any its type, the parameters the id.
        if input.is_empty() || message.text(1)? != flags.id {
            let options = Options::from_any(Some(message).filter(|_| !input.is_empty()))?;
            return Ok(Params { ttrpc: environment, sockets: String::new(), options, modern: false });
        }
        let mut params = Params { modern: true, sockets: message.text(9)?.to_owned(), ..Params::default() };
        params.ttrpc = Some(message.text(5)?).filter(|address| !address.is_empty()).map_or(environment, str::to_owned);
        for extension in message.all(8)? {
            let any = Message::new(extension)?.message(1)?;
            // Others are for shims of other kinds.
            match Options::from_any(any) {
                Err(fault) if fault.code == Code::InvalidArgument => {}
                options => params.options = options?,
            }
        }
        Ok(params)
    }

    fn answer(&self, address: &str) -> Vec<u8> {
        if self.modern {
            // A plain address is one of version 2 to every containerd that does not send parameters.
            return answer(|writer| {
                writer.number(1, 3u32).text(2, address).text(3, "ttrpc");
            });
        }
        address.as_bytes().to_vec()
    }
}

/// The group of the container in the current directory: those of a pod share a shim.
fn group(id: &str) -> Answer<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    }
    let text = os::read_file(Path::new("config.json"), 64 << 20).map_err(Fault::doing("config.json"))?;
    let config: Config = serde_json::from_slice(&text).map_err(Fault::doing("config.json"))?;
    let named = GROUPS.iter().find_map(|name| config.annotations.get(*name));
    Ok(named.map_or(id, String::as_str).to_owned())
}

fn start(program: &OsStr, flags: &Flags) -> Answer<()> {
    // Descriptors that containerd was itself started with are not for containers.
    os::close_range(3, u32::MAX)?;
    logger::reserve()?;
    let params = Params::read(&input()?, flags)?;
    let group = group(&flags.id)?;
    if std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        return Err(Fault::unknown("core scheduling (sched_core) is not supported"));
    }
    let directory = PathBuf::from(if params.sockets.is_empty() { SOCKETS } else { &params.sockets });
    let key = format!("{}/{}/{group}", flags.address.trim_end_matches('/'), flags.namespace);
    let mut digest = sha256::Digest::default();
    digest.update(key.as_bytes());
    let socket = directory.join(digest.hex());
    let address = format!("unix://{}", socket.display());
    os::write_file(Path::new("address"), address.as_bytes()).map_err(Fault::doing("write the address"))?;
    let say = || os::write_all(io::stdout().as_fd(), &params.answer(&address)).map_err(Fault::from);
    let Some(listener) = listen(&directory, &socket)? else { return say() };
    let prepared = join_cgroup(&params.options.shim_cgroup).and_then(|()| adjust_oom_score());
    // By the C library, which knows then who we are: what it sends to itself reaches us.
    let forked = prepared.and_then(|()| os::fork().map_err(Fault::doing("fork")));
    match forked {
        Ok(None) => {
            let runtime = runtime::default_program(program);
            let served = serve(listener, &socket, &params.ttrpc, &flags.namespace, runtime);
            if let Err(fault) = &served {
                os::log("error", &fault.message);
            }
            os::exit(served.is_err().into())
        }
        Ok(Some(_)) => say(),
        Err(fault) => {
            remove(&socket);
            Err(fault)
        }
    }
}

/// The socket, or `None` when the shim of this group already listens there.
fn listen(directory: &Path, socket: &Path) -> Answer<Option<UnixListener>> {
    let make = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(directory);
    make.map_err(Fault::doing(directory.display()))?;
    // Containers of one pod may be started at once; the second must find the socket of the first listening.
    let lock = std::fs::File::open(directory).map_err(Fault::doing(directory.display()))?;
    os::lock(lock.as_fd(), libc::LOCK_EX).map_err(Fault::doing("lock"))?;
    let bind = || console::listen(socket, Backlog::MAXALLOWABLE);
    let what = format!("create new shim socket {}", socket.display());
    match bind() {
        Ok(listener) => Ok(Some(listener)),
        Err(Errno::EADDRINUSE) => {
            if answers(socket) {
                return Ok(None);
            }
            // It may just have gone by itself.
            remove(socket);
            bind().map(Some).map_err(Fault::doing(&what))
        }
        Err(errno) => Err(Fault::doing(&what)(errno)),
    }
}

/// Whether a shim, brisk's or containerd's, is at a socket. That one can connect does not tell: a child that a dead shim
/// had just made holds the socket until its execve. Whoever lives answers, if only that there is no such service.
fn answers(socket: &Path) -> bool {
    const PATIENCE: Duration = Duration::from_secs(2);
    let connection = match publisher::connect(&socket.to_string_lossy()) {
        Ok(connection) => connection,
        // The socket is full of others who wait: somebody must be there.
        Err(errno) => return errno == Errno::EAGAIN,
    };
    let mut request = Writer::new();
    request.text(1, "brisk").text(2, "Alive");
    if os::write_all(connection.as_fd(), &ttrpc::frame(1, ttrpc::REQUEST, &request.done())).is_err() {
        return false;
    }
    let mut polled = [os::poll::PollFd::new(connection.as_fd(), os::poll::PollFlags::POLLIN)];
    match os::poll::undisturbed(&mut polled, os::poll::within(PATIENCE)) {
        // What hangs is not ours to replace.
        Ok(false) | Err(_) => true,
        Ok(true) => matches!(os::read(connection.as_fd(), &mut [0]), Ok(1)),
    }
}

fn remove(socket: &Path) {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            os::log("warning", &format!("{}: {error}", socket.display()))
        }
        _ => {}
    }
}

fn join_cgroup(path: &str) -> Answer<()> {
    if path.is_empty() {
        return Ok(());
    }
    let below = path.trim_start_matches('/');
    let top = Path::new("/sys/fs/cgroup");
    let pid = os::getpid().to_string();
    let what = format!("failed to join cgroup {path}");
    if top.join("cgroup.controllers").exists() {
        return std::fs::write(top.join(below).join("cgroup.procs"), pid).map_err(Fault::doing(&what));
    }
    let mut joined = false;
    for hierarchy in std::fs::read_dir(top).map_err(Fault::doing(&what))? {
        let procs = hierarchy.map_err(Fault::doing(&what))?.path().join(below).join("cgroup.procs");
        if procs.exists() {
            std::fs::write(procs, &pid).map_err(Fault::doing(&what))?;
            joined = true;
        }
    }
    if joined { Ok(()) } else { Err(Fault::unknown(format!("{what}: no hierarchy has it"))) }
}

/// One more than containerd's: of the two the kernel is to kill the shim.
fn adjust_oom_score() -> Answer<()> {
    let of = |pid: &str| format!("/proc/{pid}/oom_score_adj");
    // containerd in another pid namespace cannot be asked.
    let Ok(text) = std::fs::read_to_string(of(&os::getppid().to_string())) else { return Ok(()) };
    let score: i32 = text.trim().parse().map_err(Fault::doing("get parent OOM score"))?;
    match std::fs::write(of("self"), (score + 1).min(1000).to_string()) {
        // In a user namespace the score may not be lowered, even to one that is higher than containerd's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result.map_err(Fault::doing("set shim OOM score")),
    }
}

/// The shim itself.
fn serve(listener: UnixListener, socket: &Path, ttrpc: &str, namespace: &str, runtime: String) -> Answer<()> {
    nix::unistd::setsid()?;
    let null = os::open("/dev/null", libc::O_RDWR)?;
    os::dup_onto(null.as_fd(), 0)?;
    os::dup_onto(null.as_fd(), 1)?;
    // The fifo is opened for reading too, so that a containerd that restarts finds a writer, and writing never fails.
    match os::open("log", libc::O_RDWR | libc::O_NONBLOCK) {
        Ok(log) => os::dup_onto(log.as_fd(), 2)?,
        Err(_) => os::dup_onto(null.as_fd(), 2)?,
    }
    drop(null);
    // The bundle goes with its container, the shim perhaps later.
    os::chdir(c"/")?;
    os::set_subreaper()?;
    let signals = os::signal::take_all()?;
    let sockets = socket.parent().unwrap_or(Path::new("/")).to_owned();
    let publisher = Publisher::start(ttrpc, namespace);
    let shim = Shim::new(Shared::new(namespace.to_owned(), runtime, sockets, Rc::clone(&publisher)));
    reactor::spawn(async move {
        reaper::run(signals).await;
        publisher.drain().await;
        reactor::stop();
    });
    reactor::spawn(accept(listener, shim));
    let ran = reactor::run();
    remove(socket);
    Ok(ran?)
}

async fn accept(listener: UnixListener, shim: Rc<Shim>) {
    /// What is missing may be the whole machine's, and given back by others.
    const PAUSE: Duration = Duration::from_secs(1);
    let mut failing = false;
    loop {
        // Without a descriptor for him accept(2) does not look whether there is anybody.
        let somebody = os::look(listener.as_fd()).is_ok_and(|ready| ready.contains(os::poll::PollFlags::POLLIN));
        let ready = if somebody {
            Ok(())
        } else {
            reactor::ready(listener.as_fd(), reactor::IN).await.map(|()| failing = false)
        };
        match ready.and_then(|()| console::accept(&listener)) {
            Ok(client) => {
                let shim = Rc::clone(&shim);
                reactor::spawn(Connection::serve(client.into(), move |call| Rc::clone(&shim).handle(call)));
            }
            // Somebody else's, or one that was given up.
            Err(Errno::EACCES | Errno::ECONNABORTED | Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                if !std::mem::replace(&mut failing, true) {
                    os::log("error", &format!("connections wait, for none can be taken: {errno}"));
                }
                // A descriptor of our own is given back by one of our tasks. The listener is not waited for
                // meanwhile: it is ready.
                reactor::within(PAUSE, reactor::turn()).await;
            }
        }
    }
}

/// Cleans up after a shim that has died: the container, its mounts, and the socket.
fn delete(program: &OsStr, flags: &Flags) -> Answer<()> {
    let here = std::env::current_dir()?;
    let bundle = if flags.bundle.is_empty() { here.with_file_name(&flags.id) } else { PathBuf::from(&flags.bundle) };
    let warn = |what: &str, error: &dyn std::fmt::Display| os::log("warning", &format!("{what}: {error}"));
    let options = Options::load(&bundle).map_err(Fault::doing("options"))?;
    let runtime = Runtime::new(&options, &runtime::default_program(program), &bundle, &flags.namespace);
    if let Err(error) = runtime.delete_by_force(&flags.id) {
        warn("failed to remove container", &error);
    }
    if let Err(error) = rootfs::clear(&bundle.join("rootfs")) {
        warn("failed to cleanup rootfs mount", &error);
    }
    // Of a group's shim others may be there still.
    if let Ok(address) = std::fs::read_to_string(bundle.join("address"))
        && let Some(socket) = address.trim().strip_prefix("unix://")
        && !answers(Path::new(socket))
    {
        remove(Path::new(socket));
    }
    let pid = std::fs::read_to_string(bundle.join("init.pid")).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let response = answer(|writer| {
        writer.number(1, pid.unwrap_or(0)).number(2, 128 + libc::SIGKILL.cast_unsigned());
        events::moment(writer, 3, Moment::now());
    });
    Ok(os::write_all(io::stdout().as_fd(), &response)?)
}

/// Says what this shim and its runtime are (containerd 2.x).
fn info(program: &OsStr) -> Answer<()> {
    let input = input()?;
    let any = Some(Message::new(&input)?).filter(|_| !input.is_empty());
    let options = Options::from_any(any)?;
    let runtime = match options.binary_name.as_str() {
        "" => runtime::default_program(program),
        name => name.to_owned(),
    };
    let features = Runtime::features(&runtime).map_err(Fault::doing(format_args!("failed to look up {runtime:?}")))?;
    let file = Path::new(program).file_name().map(OsString::from).unwrap_or_default();
    let name = file.to_string_lossy().replace("containerd-shim-", "io.containerd.");
    let name = name.rsplit_once('-').map_or(name.clone(), |(name, version)| format!("{name}.{version}"));
    let any_of = |writer: &mut Writer, kind: &str, value: &[u8]| {
        writer.text(1, kind).bytes(2, value);
    };
    let response = answer(|writer| {
        writer.text(1, &name).message(2, |version| {
            version.text(1, env!("CARGO_PKG_VERSION")).text(2, option_env!("BRISK_COMMIT").unwrap_or("unknown"));
        });
        if !input.is_empty() {
            writer.element(3, &input);
        }
        if let Some(features) = &features {
            let kind = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
            writer.message(4, |any| any_of(any, kind, features));
        }
    });
    Ok(os::write_all(io::stdout().as_fd(), &response)?)
}
