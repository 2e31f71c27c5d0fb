//! `crates SOCKET`: a task service of the ttrpc and containerd-shim-protos crates that knows no containers. `Wait` waits for ever,
//! as it does for a container that runs. What this costs in memory and threads is what the shim's own protocol saves.

use std::sync::Arc;

use containerd_shim_protos::ttrpc::{self, TtrpcContext};
use containerd_shim_protos::{Task, api, create_task};

struct Nothing;

impl Task for Nothing {
    fn connect(&self, _: &TtrpcContext, _: api::ConnectRequest) -> ttrpc::Result<api::ConnectResponse> {
        Ok(api::ConnectResponse { shim_pid: std::process::id(), ..Default::default() })
    }

    fn wait(&self, _: &TtrpcContext, _: api::WaitRequest) -> ttrpc::Result<api::WaitResponse> {
        loop {
            std::thread::park();
        }
    }
}

fn main() {
    let socket = std::env::args().nth(1).expect("a socket");
    let mut server = ttrpc::Server::new().bind(&format!("unix://{socket}")).expect("bind");
    server = server.register_service(create_task(Arc::new(Nothing)));
    server.start().expect("start");
    loop {
        std::thread::park();
    }
}
