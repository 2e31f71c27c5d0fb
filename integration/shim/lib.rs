//! A shim under test: a bundle, something that takes its events as containerd would, and a client.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use containerd_shim_protos::protobuf::{Message, well_known_types::any::Any};
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::ttrpc::{self, TtrpcContext, context};
use containerd_shim_protos::{Client, Events, TaskClient, api, create_events};
use serde_json::{Value, json};

/// How long anything may take that happens at once.
pub const SOON: Duration = Duration::from_secs(20);

pub const NAMESPACE: &str = "brisk-shim-tests";

/// The program under test, and the runtime it is to call.
pub fn program(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| panic!("${variable} names the program to test")))
}

/// Waits until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// An event, as it came: namespace, topic, type and message; and when.
#[derive(Clone, Debug)]
pub struct Told {
    pub namespace: String,
    pub topic: String,
    pub event: Any,
    pub at: Instant,
}

impl Told {
    /// The message, which must be of this type.
    pub fn message<M: Message>(&self) -> M {
        M::parse_from_bytes(&self.event.value).unwrap()
    }
}

/// The events that have come, in order.
#[derive(Clone, Default)]
pub struct Listener(Arc<(Mutex<Vec<Told>>, Condvar)>);

impl Events for Listener {
    fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<api::Empty> {
        let at = Instant::now();
        let envelope = request.envelope.unwrap();
        let event = envelope.event.unwrap();
        let told = Told { namespace: envelope.namespace.clone(), topic: envelope.topic.clone(), event, at };
        self.0.0.lock().unwrap().push(told);
        self.0.1.notify_all();
        Ok(api::Empty::new())
    }
}

impl Listener {
    /// Starts to listen at the socket. As containerd does, it may be stopped and started again.
    pub fn serve(&self, socket: &Path) -> ttrpc::Server {
        let _ = fs::remove_file(socket);
        let server = ttrpc::Server::new().bind(&format!("unix://{}", socket.display())).unwrap();
        let mut server = server.register_service(create_events(Arc::new(self.clone())));
        server.start().unwrap();
        server
    }

    pub fn all(&self) -> Vec<Told> {
        self.0.0.lock().unwrap().clone()
    }

    /// The first event of a topic for which `wanted` holds.
    pub fn first(&self, topic: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        let end = Instant::now() + SOON;
        let mut events = self.0.0.lock().unwrap();
        loop {
            if let Some(told) = events.iter().find(|told| told.topic == topic && wanted(told)) {
                return told.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such event of {topic} in {events:?}");
            events = self.0.1.wait_timeout(events, left).unwrap().0;
        }
    }
}

/// A container to be made.
pub struct TaskBundle {
    pub id: String,
    pub path: PathBuf,
}

impl TaskBundle {
    pub fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path.join("config.json")).unwrap()).unwrap()
    }

    pub fn set_config(&self, config: &Value) {
        fs::write(self.path.join("config.json"), config.to_string()).unwrap();
    }

    /// Changes config.json.
    pub fn with(self, change: impl FnOnce(&mut Value)) -> TaskBundle {
        let mut config = self.config();
        change(&mut config);
        self.set_config(&config);
        self
    }

    pub fn fifo(&self, name: &str) -> String {
        let path = self.path.join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A running shim.
pub struct Shim {
    pub dir: PathBuf,
    pub events: Listener,
    pub server: Option<ttrpc::Server>,
    pub address: String,
    pub client: TaskClient,
    pub pid: i32,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory of its own.
pub fn directory() -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(format!("/run/t{}-{number}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    dir
}

/// What `wait` waits for.
pub fn context() -> context::Context {
    context::with_timeout(SOON.as_nanos() as i64)
}

/// A bundle below `dir` whose process is `args` in a tree with busybox.
pub fn bundle(dir: &Path, id: &str, args: &[&str]) -> TaskBundle {
    let path = dir.join(id);
    fs::create_dir(&path).unwrap();
    let rootfs = path.join("rootfs");
    for sub in ["bin", "proc", "dev", "tmp"] {
        fs::create_dir_all(rootfs.join(sub)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "cat", "echo", "true", "head", "stty", "dd", "tty"] {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    let mounts = json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] },
    ]);
    let namespaces = json!([{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }]);
    let config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": process(args),
        "mounts": mounts,
        "linux": { "namespaces": namespaces, "cgroupsPath": format!("/{}/{id}", cgroups()) },
    });
    fs::write(path.join("config.json"), config.to_string()).unwrap();
    TaskBundle { id: id.to_owned(), path }
}

/// The parent of all cgroups of this run.
pub fn cgroups() -> String {
    std::env::var("BRISK_CGROUPS").unwrap_or_else(|_| format!("brisk-shim-tests-{}", std::process::id()))
}

/// The `process` of a configuration.
pub fn process(args: &[&str]) -> Value {
    json!({ "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } })
}

/// An Any of containerd's.
pub fn any(kind: &str, value: Vec<u8>) -> Any {
    Any { type_url: kind.to_owned(), value, ..Default::default() }
}

/// Options that name the runtime under test.
pub fn options() -> Any {
    options_with(program("BRISK").to_str().unwrap())
}

/// Options that name a runtime.
pub fn options_with(runtime: &str) -> Any {
    let options = containerd_shim_protos::shim::oci::Options { binary_name: runtime.to_owned(), ..Default::default() };
    any("containerd.runc.v1.Options", options.write_to_bytes().unwrap())
}

/// The command that containerd calls.
pub fn command(dir: &Path, bundle: &Path, id: &str, action: &str) -> Command {
    let mut command = Command::new(program("SHIM"));
    command.args(["-namespace", NAMESPACE, "-address"]).arg(dir.join("c.sock"));
    command.args(["-publish-binary", "/none", "-id", id, "-bundle"]).arg(bundle).arg(action);
    command.env("TTRPC_ADDRESS", dir.join("c.sock.ttrpc")).current_dir(bundle).stdin(Stdio::null());
    command
}

/// Runs `start` and returns the address it says.
pub fn start_address(dir: &Path, bundle: &TaskBundle) -> String {
    address_of(command(dir, &bundle.path, &bundle.id, "start"))
}

fn address_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Shim {
    /// Starts one for the bundle.
    pub fn start(dir: &Path, bundle: &TaskBundle) -> Shim {
        Shim::start_by(dir, command(dir, &bundle.path, &bundle.id, "start"))
    }

    /// Starts one by a command of [`command`]'s.
    pub fn start_by(dir: &Path, command: Command) -> Shim {
        let events = Listener::default();
        let server = events.serve(&dir.join("c.sock.ttrpc"));
        let address = address_of(command);
        let client = TaskClient::new(Client::connect(&address).unwrap());
        let connect = client.connect(context(), &api::ConnectRequest::new()).unwrap();
        let pid = connect.shim_pid.cast_signed();
        Shim { dir: dir.to_owned(), events, server: Some(server), address, client, pid }
    }

    /// Another connection to it.
    pub fn connect(&self) -> TaskClient {
        TaskClient::new(Client::connect(&self.address).unwrap())
    }

    pub fn create(&self, bundle: &TaskBundle, change: impl FnOnce(&mut api::CreateTaskRequest)) -> ttrpc::Result<u32> {
        let mut request = api::CreateTaskRequest {
            id: bundle.id.clone(),
            bundle: bundle.path.to_str().unwrap().to_owned(),
            options: Some(options()).into(),
            ..Default::default()
        };
        change(&mut request);
        self.client.create(context(), &request).map(|response| response.pid)
    }

    pub fn start_process(&self, id: &str, exec: &str) -> ttrpc::Result<u32> {
        let request = api::StartRequest { id: id.to_owned(), exec_id: exec.to_owned(), ..Default::default() };
        self.client.start(context(), &request).map(|response| response.pid)
    }

    pub fn exec(
        &self,
        id: &str,
        exec: &str,
        args: &[&str],
        change: impl FnOnce(&mut api::ExecProcessRequest),
    ) -> ttrpc::Result<()> {
        let spec =
            any("types.containerd.io/opencontainers/runtime-spec/1/Process", process(args).to_string().into_bytes());
        let mut request = api::ExecProcessRequest {
            id: id.to_owned(),
            exec_id: exec.to_owned(),
            spec: Some(spec).into(),
            ..Default::default()
        };
        change(&mut request);
        self.client.exec(context(), &request).map(drop)
    }

    pub fn kill(&self, id: &str, exec: &str, signal: i32) -> ttrpc::Result<()> {
        let mut request = api::KillRequest { id: id.to_owned(), exec_id: exec.to_owned(), ..Default::default() };
        request.signal = signal.cast_unsigned();
        self.client.kill(context(), &request).map(drop)
    }

    pub fn wait(&self, id: &str, exec: &str) -> ttrpc::Result<u32> {
        let request = api::WaitRequest { id: id.to_owned(), exec_id: exec.to_owned(), ..Default::default() };
        self.client.wait(context(), &request).map(|response| response.exit_status)
    }

    pub fn delete(&self, id: &str, exec: &str) -> ttrpc::Result<api::DeleteResponse> {
        let request = api::DeleteRequest { id: id.to_owned(), exec_id: exec.to_owned(), ..Default::default() };
        self.client.delete(context(), &request)
    }

    pub fn state(&self, id: &str, exec: &str) -> ttrpc::Result<api::StateResponse> {
        let request = api::StateRequest { id: id.to_owned(), exec_id: exec.to_owned(), ..Default::default() };
        self.client.state(context(), &request)
    }

    /// Runs a container to its end and returns its status.
    pub fn run(&self, bundle: &TaskBundle) -> u32 {
        self.create(bundle, |_| ()).unwrap();
        self.start_process(&bundle.id, "").unwrap();
        self.wait(&bundle.id, "").unwrap()
    }

    /// Numbers of the shim: open descriptors, threads, children, and kB of anonymous memory.
    pub fn usage(&self) -> (usize, usize, usize, u64) {
        let proc = PathBuf::from(format!("/proc/{}", self.pid));
        let count = |name: &str| fs::read_dir(proc.join(name)).unwrap().count();
        let children = fs::read_to_string(proc.join(format!("task/{}/children", self.pid))).unwrap();
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kilobytes = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
        (count("fd"), count("task"), children.split_whitespace().count(), kilobytes)
    }

    /// Whether the process is still there.
    pub fn lives(&self) -> bool {
        lives(self.pid)
    }

    /// Asks it to end, and waits for that.
    pub fn shutdown(mut self) {
        let _ = self.client.shutdown(context(), &api::ShutdownRequest::new());
        until("the shim ends", || (!self.lives()).then_some(()));
        assert!(!Path::new(self.address.strip_prefix("unix://").unwrap()).exists(), "the socket is left");
        if let Some(server) = self.server.take() {
            server.shutdown();
        }
    }
}

/// Whether a process is there and no zombie.
pub fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Reads a fifo to its end in a thread.
pub fn reader(path: &str) -> std::thread::JoinHandle<Vec<u8>> {
    let mut file = open_reader(path);
    std::thread::spawn(move || {
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        text
    })
}

/// Opens a fifo to be read, without waiting for a writer.
pub fn open_reader(path: &str) -> fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
    // Until somebody writes, a read would say that the fifo is at its end.
    let keeper = fs::OpenOptions::new().write(true).open(path).unwrap();
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    KEEPERS.lock().unwrap().push((path.to_owned(), keeper));
    file
}

static KEEPERS: Mutex<Vec<(String, fs::File)>> = Mutex::new(Vec::new());

/// From now on the fifo ends when the shim closes it.
pub fn only_the_shim_writes(path: &str) {
    KEEPERS.lock().unwrap().retain(|(kept, _)| kept != path);
}

/// Makes a program of the text.
pub fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
