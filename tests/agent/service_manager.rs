//! What a service manager such as systemd learns about the agent, through a fake of its socket.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdUnixDatagram};

use rustix::process::Signal;
use tokio::net::UnixDatagram;

use crate::lab::Lab;
use crate::program::within;

/// Binds an abstract socket. Returns it, and its name as in `NOTIFY_SOCKET`.
fn listen() -> (UnixDatagram, String) {
    let name = format!("cachepulse-agent-test-{}", std::process::id());
    let socket = StdUnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    (UnixDatagram::from_std(socket).unwrap(), format!("@{name}"))
}

async fn next(socket: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = within("the manager is notified", socket.recv(&mut message)).await.unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

/// Returns the next message that does not feed the watchdog.
async fn next_state(socket: &UnixDatagram) -> String {
    loop {
        let message = next(socket).await;
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

#[tokio::test]
async fn the_manager_learns_that_the_agent_is_ready_reloads_stops_and_is_alive() {
    let lab = Lab::start().await;
    let config = Lab::config([lab.target("orders", "identity: managed_identity")]);
    let file = lab.file("config.yaml", &config);
    let (socket, name) = listen();
    let agent = lab.run_file(&file).env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "100000").serve().await;
    assert_eq!(next_state(&socket).await, "READY=1");
    while next(&socket).await != "WATCHDOG=1" {}

    for (content, message) in
        [(config.clone(), "configuration reloaded"), ("}".to_owned(), "configuration rejected")]
    {
        lab.file("config.yaml", &content);
        agent.signal(Signal::HUP);
        let reloading = next_state(&socket).await;
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!(next_state(&socket).await, "READY=1");
        agent.logs(message).await;
    }

    agent.signal(Signal::TERM);
    assert_eq!(next_state(&socket).await, "STOPPING=1");
    assert!(agent.ended().await.is_graceful());
}
