//! A host of its own, whose network the test can take away: a network namespace of Linux.

use crate::common::not_run;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

/// A host behind a link. It goes when this is dropped, with its clients.
pub struct Far {
    name: String,
    clients: Vec<Child>,
    /// The near end's address.
    pub here: Ipv4Addr,
}

/// Runs `ip` with these words. Returns whether it did that.
fn ip(words: &str) -> bool {
    let mut ip = Command::new("ip");
    ip.args(words.split(' '));
    let ran = ip.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|it| it.success())
}

impl Far {
    /// Makes one; `None`, said loudly, where that is not allowed.
    pub fn new() -> Option<Self> {
        let id = std::process::id();
        let name = format!("feed-{id}");
        if !ip(&format!("netns add {name}")) {
            not_run("a client whose network is gone: no network namespace can be made here");
            return None;
        }
        // Of the addresses that are reserved for such tests.
        let net = id % 256;
        let far = Far {
            here: Ipv4Addr::new(198, 18, net as u8, 1),
            clients: Vec::new(),
            name,
        };
        let name = &far.name;
        for words in [
            format!("link add {name} type veth peer name far netns {name}"),
            format!("addr add {}/30 dev {name}", far.here),
            format!("link set {name} up"),
            format!("-n {name} addr add 198.18.{net}.2/30 dev far"),
            format!("-n {name} link set far up"),
        ] {
            assert!(ip(&words), "{words}");
        }
        Some(far)
    }

    /// Has a client there ask for the feed of a server.
    pub fn connect(&mut self, server: SocketAddr) {
        let (host, port) = (server.ip(), server.port());
        let ask = format!(
            "exec 3<>/dev/tcp/{host}/{port}; printf 'GET /events HTTP/1.0\\r\\n\\r\\n' >&3; exec cat <&3"
        );
        let mut client = Command::new("ip");
        client.args(["netns", "exec", &self.name, "bash", "-c", &ask]);
        client.stderr(Stdio::null());
        self.clients
            .push(client.stdout(Stdio::null()).spawn().unwrap());
    }

    /// Takes its network away. Nobody is told.
    pub fn vanish(&self) {
        assert!(ip(&format!("-n {} link set far down", self.name)));
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        for client in &mut self.clients {
            let _ = client.kill();
            let _ = client.wait();
        }
        // Not with the namespace, which lasts as long as what was on its way to it.
        ip(&format!("link del {}", self.name));
        ip(&format!("netns del {}", self.name));
    }
}
